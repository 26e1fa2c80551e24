"""scorer.toml as a list of keys and values, each with the line that it stands on.

A line is found by reading the file's headers and keys one line at a time. Where a file is written in a way that this
does not follow (a key within a multi-line value), the origin is the table's line or the file alone: lines are for
messages, values come from tomllib.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scorer.cli.keys import KAFKA_CLIENTS, kafka_key, tables
from scorer.cli.librdkafka import PROPERTIES
from scorer.core.errors import ConfigError

_HEADER = re.compile(r"\s*(\[\[?)(.+?)\]\]?\s*(?:#.*)?$")


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of the file.

    Attributes:
        key: its name with dots; streams are named, not numbered.
        value: as tomllib gives it; a table only where it is `{ file = ... }`, `{ env = ... }` or empty.
        origin: `scorer.toml:12`.
    """

    key: str
    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class Document:
    """A settings file.

    Attributes:
        entries: its keys.
        streams: each stream's name, in order, with the origin of its header.
        problems: what is wrong with the file's shape, for people.
    """

    entries: tuple[Entry, ...]
    streams: tuple[tuple[str, str], ...]
    problems: tuple[str, ...]


def read_document(path: Path) -> Document:
    """Reads a settings file.

    Raises:
        ConfigError: it cannot be read, or is not TOML.
    """
    try:
        text = path.read_text("utf-8-sig")
        content = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(
            f"the settings file {path} cannot be read: {error.strerror}; give another with --config"
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"the settings file {path} is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"the settings file {path} is not TOML: {error}") from None
    lines = key_lines(text)
    streams = content.pop("streams", [])
    entries = [Entry(key, value, _origin(path, lines, key)) for key, value in _flat("", content)]
    if not isinstance(streams, list) or not all(isinstance(stream, dict) for stream in streams):
        origin = _origin(path, lines, next((key for key in lines if key.split(".")[0] == "streams"), "streams"))
        problem = f'{origin}: streams are a list of tables: write [[streams]] and name = "..."'
        return Document(tuple(entries), (), (problem,))
    named: list[tuple[str, str]] = []
    problems: list[str] = []
    for index, stream in enumerate(streams):
        origin = _origin(path, lines, f"streams.{index}")
        name = stream.pop("name", None)
        if not isinstance(name, str):
            problems.append(f'{origin}: this stream has no name: write name = "..." below [[streams]]')
            continue
        if name in (known := dict(named)):
            problems.append(f"{origin}: there is a stream {name} already, at {known[name]}")
        named.append((name, origin))
        for key, value in _flat("", stream):
            entries.append(Entry(f"streams.{name}.{key}", value, _origin(path, lines, f"streams.{index}.{key}")))
    return Document(tuple(entries), tuple(named), tuple(problems))


def key_lines(text: str) -> dict[str, int]:
    """Where each header and key of a TOML text stands, lines from 1. Streams are numbered from 0."""
    lines: dict[str, int] = {}
    table: list[str] = []
    tables_of_list: Counter[str] = Counter()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            path = _path(f"[{header[2]}]")
            if path is None:
                continue
            table = path
            if header[1] == "[[":
                name = ".".join(path)
                table = [*path, str(tables_of_list[name])]
                tables_of_list[name] += 1
            lines.setdefault(".".join(table), number)
        elif "=" in line and (path := _path(line.partition("=")[0] + "= 0")):
            lines.setdefault(".".join(table + path), number)
    return lines


def _path(fragment: str) -> list[str] | None:
    try:
        node: Any = tomllib.loads(fragment)
    except tomllib.TOMLDecodeError:
        return None
    path = []
    while isinstance(node, dict) and node:
        name, node = next(iter(node.items()))
        path.append(name)
    return path


def _origin(path: Path, lines: Mapping[str, int], key: str) -> str:
    while key not in lines and "." in key:
        key = key.rpartition(".")[0]
    return f"{path}:{lines[key]}" if key in lines else str(path)


def _flat(prefix: str, node: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        key = f"{prefix}.{name}" if prefix else name
        if not isinstance(value, dict) or _is_reference(key, value):
            yield key, value
        elif value:
            yield from _flat(key, value)
        elif key not in tables():
            yield key, value


def _is_reference(key: str, value: dict[str, Any]) -> bool:
    """Whether a table says where a secret is, rather than being a part of a dotted name that was left unquoted."""
    if len(value) != 1 or not all(isinstance(inner, str) for inner in value.values()):
        return False
    longer = f"{key}.file"
    property_of_its_own = any(
        longer == kafka_key(name, client) for name in PROPERTIES for client in (None, *KAFKA_CLIENTS)
    )
    return not value.keys().isdisjoint({"file", "env"}) and not property_of_its_own
