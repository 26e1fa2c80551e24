"""Events from files: CSV, JSON lines, or an Avro container. One dict per event, in file order."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import fastavro

from scorer.core.errors import ConfigError
from scorer.core.schema import Node

Event = Mapping[str, Any]


def read_events(path: Path, root: Node | None) -> Iterator[Event]:
    """The events of a file, told by its ending: .csv, .jsonl or .avro, the first two also with .gz behind.

    Args:
        path: the file.
        root: the event's schema; CSV cells are read as its types, an empty cell of a nullable field as null.

    Raises:
        ConfigError: the file cannot be read, or its ending is none of these, or CSV comes without a schema.
    """
    kind = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    try:
        if kind == ".avro":
            with path.open("rb") as container:
                yield from fastavro.reader(container)  # type: ignore[misc]  # a container of records
        elif kind == ".jsonl":
            with _lines(path) as lines:
                yield from (json.loads(line) for line in lines if line.strip())
        elif kind == ".csv" and root is not None:
            with _lines(path) as lines:
                yield from _rows(lines, root)
        else:
            raise ConfigError(f"{path} must end in .csv, .jsonl (both also .gz) or .avro; .csv needs --schema")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def _lines(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _rows(lines: IO[str], root: Node) -> Iterator[Event]:
    head = lines.readline()
    lines.seek(0)
    delimiter = ";" if head.count(";") > head.count(",") else ","
    parsers = {name: _parser(node) for name, node in root.fields}
    for row in csv.DictReader(lines, delimiter=delimiter):
        yield {name: parsers[name](text) for name, text in row.items() if name in parsers and text is not None}


def _parser(node: Node) -> Callable[[str], Any]:
    """Reads a cell as a schema's type. What does not parse stays text, so that encoding it names the row."""
    nullable = node.nullable
    kinds = [branch.kind for branch in node.branches] if node.kind == "union" else [node.kind]
    convert: Callable[[str], Any] = str
    if _all_in(kinds, "int", "long"):
        convert = int
    elif _all_in(kinds, "int", "long", "float", "double"):
        convert = float
    elif _all_in(kinds, "boolean"):
        convert = {"true": True, "false": False, "1": True, "0": False}.__getitem__
    elif _all_in(kinds, "array", "map", "record"):
        convert = json.loads

    def parse(text: str) -> Any:
        if nullable and not text:
            return None
        try:
            return convert(text.lower() if _all_in(kinds, "boolean") else text)
        except (ValueError, KeyError):
            return text

    return parse


def _all_in(kinds: list[str], *allowed: str) -> bool:
    """Whether all types besides null are among these."""
    return all(kind in allowed for kind in kinds if kind != "null")


def container_schema(path: Path) -> str:
    """The schema that an Avro container was written with, as JSON.

    Raises:
        ConfigError: it is no Avro container.
    """
    try:
        with path.open("rb") as container:
            return json.dumps(fastavro.reader(container).writer_schema)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is no Avro container: {error}") from error
