"""Files that people hand over: events as CSV, JSON lines or an Avro container, and texts such as schemas.

Events come one dict each, in file order. Whatever is wrong with a file is a ConfigError that names the file and, where
there are lines, the line.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TextIO

import fastavro

from scorer.core.avsc import bare
from scorer.core.errors import ConfigError, ContractError
from scorer.core.schema import Node, WriterSchema, writer_schema

Event = Mapping[str, Any]

NAMES_MAX = 10
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}
_TEXT = "utf-8-sig"  # spreadsheets begin their CSV with a byte order mark


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        ConfigError: it cannot be read or is no UTF-8.
    """
    try:
        return path.read_text(encoding=_TEXT)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {_why(error)}") from error


def read_schema(path: Path, schema_id: int) -> WriterSchema:
    """The Avro schema in a file, under an id that the caller chooses.

    Raises:
        ConfigError: the file cannot be read.
        ContractError: it holds no schema that is admitted.
    """
    try:
        return writer_schema(schema_id, read_text(path))
    except ContractError as error:
        raise ContractError(f"{path}: {error}") from error


def open_text(path: Path) -> TextIO:
    """Opens a file of text, one that ends with .gz as well; a byte order mark is left out, ends of lines stay.

    Raises:
        OSError: it cannot be opened.
    """
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding=_TEXT, newline="")
    return path.open(encoding=_TEXT, newline="")


def read_events(path: Path, root: Node | None, seen: set[str]) -> Iterator[Event]:
    """The events of a file, told by its ending: .csv, .jsonl or .avro, the first two also with .gz behind.

    Args:
        path: the file.
        root: the event's schema; CSV cells are read as its types, an empty cell of a nullable field as null.
        seen: the names that the file's columns and objects have are put into it, for `unmatched`.

    Raises:
        ConfigError: the file cannot be read, or a row of CSV has more cells than there are columns, or the file's
            ending is none of these, or CSV comes without a schema.
    """
    kind = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if kind not in (".csv", ".jsonl", ".avro") or (kind, path.suffix) == (".avro", ".gz"):
        raise ConfigError(f"{path} must end in .csv or .jsonl (both also .gz), or in .avro")
    if kind == ".csv" and root is None:
        raise ConfigError(f"{path} needs the event's schema: give --schema EVENT.avsc")
    try:
        yield from _events(path, kind, root, seen)
    except ConfigError:
        raise
    except Exception as error:  # zlib, csv and fastavro each raise types of their own
        raise ConfigError(f"{path} cannot be read: {_why(error)}") from error


def unmatched(path: Path, root: Node, seen: set[str]) -> list[str]:
    """For people, where names of a file and of the schema differ: a misspelt one would be scored as missing.

    Args:
        path: the file, for the lines.
        root: the event's schema.
        seen: what `read_events` has seen.
    """
    known = [name for name, _ in root.fields]
    told = {
        "left out, as the schema does not have them": sorted(seen.difference(known)),
        "null or their default in every event, as the file does not have them": [
            name for name in known if seen and name not in seen
        ],
    }
    return [f"{path}: {what}: {_listed(names)}" for what, names in told.items() if names]


def container_schema(path: Path) -> str:
    """The schema that an Avro container was written with, as JSON.

    Raises:
        ConfigError: it cannot be read or is no Avro container.
    """
    try:
        with path.open("rb") as container:
            return json.dumps(fastavro.reader(container).writer_schema)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {_why(error)}") from error
    except Exception as error:  # a broken header makes fastavro raise many types
        raise ConfigError(f"{path} is no Avro container: {_why(error)}") from error


def _events(path: Path, kind: str, root: Node | None, seen: set[str]) -> Iterator[Event]:
    if kind == ".avro":
        with path.open("rb") as container:
            yield from _records(container)
        return
    with open_text(path) as lines:
        csv_root = root if kind == ".csv" else None
        yield from _objects(lines, path, seen) if csv_root is None else _rows(lines, csv_root, path, seen)


def _records(container: IO[bytes]) -> Iterator[Event]:
    """The records without logical types, as they are on the wire: a time may be none that Python knows."""
    blocks = fastavro.block_reader(container)
    layout = fastavro.parse_schema(bare(blocks.writer_schema))
    for block in blocks:
        for _ in range(block.num_records):
            yield fastavro.schemaless_reader(block.bytes_, layout, None)  # type: ignore[attr-defined, misc]


def _objects(lines: IO[str], path: Path, seen: set[str]) -> Iterator[Event]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            event = json.loads(line)
        except ValueError as error:
            raise ConfigError(f"{path} line {number} is no JSON: {error}") from error
        if not isinstance(event, dict):
            raise ConfigError(f"{path} line {number} is no JSON object of an event's fields")
        seen.update(event)
        yield event


def _rows(lines: IO[str], root: Node, path: Path, seen: set[str]) -> Iterator[Event]:
    head = lines.readline()
    lines.seek(0)
    delimiter = ";" if head.count(";") > head.count(",") else ","
    parsers = {name: _parser(node) for name, node in root.fields}
    rows = csv.DictReader(lines, delimiter=delimiter)
    header = rows.fieldnames or ()
    if not parsers.keys() & set(header):
        first = ", ".join(header[:5]) or "nothing"
        raise ConfigError(
            f"{path} has no column of the schema in its first line: {first}; wanted: {', '.join(parsers)}"
        )
    seen.update(header)
    for row in rows:
        surplus = row.pop(None, None)  # DictReader's key for cells behind the last column
        if surplus and any(surplus):
            raise ConfigError(
                f"{path} line {rows.line_num} has {len(header) + len(surplus)} cells, and the first line names "
                f"{len(header)} columns"
            )
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
        convert = _boolean
    elif _all_in(kinds, "array", "map", "record"):
        convert = json.loads
    numeric = convert in (int, float)

    def parse(text: str) -> Any:
        if nullable and not text:
            return None
        if numeric and "_" in text:  # a digit separator to Python, and to nobody who writes CSV
            return text
        try:
            return convert(text)
        except (ValueError, KeyError):
            return text

    return parse


def _boolean(text: str) -> bool:
    return _BOOLEANS[text.lower()]


def _all_in(kinds: list[str], *allowed: str) -> bool:
    """Whether all types besides null are among these."""
    return all(kind in allowed for kind in kinds if kind != "null")


def _listed(names: list[str]) -> str:
    more = len(names) - NAMES_MAX
    return ", ".join(name or '""' for name in names[:NAMES_MAX]) + (f" and {more} more" if more > 0 else "")


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or f"it ends too early ({type(error).__name__})"
