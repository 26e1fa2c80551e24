"""Avro schemas as a resolved tree, and which of them are admitted as writer schemas.

A schema comes from a registry and is untrusted. What is admitted can be decoded in bounded time and memory: no
recursion, no array whose items may take zero bytes (a map's items carry a key), few fields that take no bytes, bounded
size and depth, both counted with references resolved. Logical types are kept as notes on the node and stripped before
decoding, so that the bytes decide what a value is and a writer that adds a logical type changes nothing for a model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import fastavro
import pyarrow as pa

from scorer.core.avsc import bare, field_names, full_name, size_of, symbols_of
from scorer.core.errors import ContractError
from scorer.core.records import VECTOR_ROWS_MIN, VECTOR_ROWS_MIN_REPEATED

SCHEMA_BYTES_MAX = 1 << 20
DEPTH_MAX = 32
NODES_MAX = 20_000
FREE_FIELDS_MAX = 8
"""How many fields of records may take no bytes at all, such as a plain null: each makes a value out of nothing."""
VALUES_PER_BYTE_MAX = 32
"""Decoded by column, a value of another branch takes its place in each column below a union, null included, as long as
the union's own: at 32 longs for a byte that takes 280 bytes for each byte read; by record small records take 200."""

PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})


@dataclass(frozen=True, slots=True)
class Node:
    """One type of a schema, references resolved.

    Attributes:
        kind: an Avro type name: a primitive, record, enum, array, map, union or fixed.
        fields: (name, node) of a record; ("item", node) of an array or map; ("", node) of each union branch.
        symbols: of an enum.
        size: of a fixed, in bytes.
        logical: the logical type, or "".
    """

    kind: str
    fields: tuple[tuple[str, Node], ...] = ()
    symbols: tuple[str, ...] = ()
    size: int = 0
    logical: str = ""

    @property
    def branches(self) -> tuple[Node, ...]:
        """The types of a union, an array's item, or a record's fields."""
        return tuple(node for _, node in self.fields)

    @property
    def nullable(self) -> bool:
        """Whether null is a value of this type."""
        return self.kind == "null" or (self.kind == "union" and any(b.kind == "null" for b in self.branches))

    def child(self, name: str) -> Node | None:
        """The field of that name, or None."""
        return next((node for key, node in self.fields if key == name), None)


@dataclass(frozen=True, eq=False)
class WriterSchema:
    """An admitted schema, ready to decode with. Compared and hashed by identity: one object per registry id.

    Attributes:
        id: the registry's id.
        text: the schema as JSON: layout and defaults, without logical types and docs.
        root: its tree; always a record.
    """

    id: int
    text: str
    root: Node

    @cached_property
    def parsed(self) -> Any:
        """The schema in fastavro's prepared form."""
        return fastavro.parse_schema(json.loads(self.text))

    @cached_property
    def by_index(self) -> tuple[str, dict[str, pa.StringArray]]:
        """The same layout with the record's own enums as what they are on the wire, ints, and those enums' symbols.

        Between bytes and columns each symbol is looked up once for every value: of a lead's ten enums, which is 0.7 us.
        Where an enum lies deeper, its name may be used anywhere, so such a schema is left as it is.
        """
        own = {name: _enum(node) for name, node in self.root.fields}
        symbols = {name: pa.array(node.symbols, pa.string()) for name, node in own.items() if node is not None}
        if len(symbols) < sum(node.kind == "enum" for _, node in walk(self.root)):
            return self.text, {}
        raw = json.loads(self.text)
        for at, (name, node) in enumerate(self.root.fields):
            if name in symbols:
                kinds = ["null" if branch.kind == "null" else "int" for branch in node.branches]
                raw["fields"][at] = {"name": name, "type": kinds or "int"}
        return json.dumps(raw), symbols

    @cached_property
    def repeats(self) -> bool:
        """Whether a record may hold any number of items."""
        return any(node.kind in ("array", "map") for _, node in walk(self.root))

    @cached_property
    def column_rows_min(self) -> int:
        """From so many rows on, records of this schema are decoded and encoded by column."""
        return VECTOR_ROWS_MIN_REPEATED if self.repeats else VECTOR_ROWS_MIN

    @cached_property
    def column_bytes_min(self) -> int:
        """How many bytes the records of a batch must have in the mean to be decoded by column; 0 where all have."""
        return 0 if _is_dense(self.root) else -(-_values(self.root) // VALUES_PER_BYTE_MAX)

    @cached_property
    def by_record_only(self) -> str | None:
        """Path and type of the first field that keeps this schema from being decoded by column, or None."""
        return next((f"{path} ({why})" for path, node in walk(self.root) if (why := _obstacle(node))), None)


def writer_schema(schema_id: int, text: str) -> WriterSchema:
    """Admits a schema.

    Raises:
        ContractError: the text is no valid schema, not a record, recursive, too deep or too large, or has arrays of
            items that may take zero bytes.
    """
    if len(text) > SCHEMA_BYTES_MAX:
        raise ContractError(f"schema {schema_id} has {len(text)} characters, more than {SCHEMA_BYTES_MAX}")
    try:
        raw = json.loads(text)
        layout = bare(raw)
        fastavro.parse_schema(layout)
        root = _resolve(raw, "", {}, 0)
    except ContractError as error:
        raise ContractError(f"schema {schema_id} {error}") from error
    except Exception as error:  # whatever a hostile text makes the parsers raise, RecursionError included
        raise ContractError(f"schema {schema_id} is no valid Avro schema: {type(error).__name__}: {error}") from error
    problem = _problem(root)
    if problem:
        raise ContractError(f"schema {schema_id} {problem}")
    return WriterSchema(schema_id, json.dumps(layout), root)


def walk(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """Every node below and including this one, with its field path; items of arrays and maps end in []."""
    yield path, node
    for name, child in node.fields:
        step = {"array": "[]", "map": "[]", "union": ""}.get(node.kind, f".{name}" if path else name)
        yield from walk(child, path + step)


def _problem(root: Node) -> str | None:
    """Why a schema is not admitted, or None."""
    if root.kind != "record":
        return f"is of type {root.kind}; events and predictions are records"
    nodes, depth = _extent(root, {})
    if nodes > NODES_MAX:  # first, since all that follows visits every node
        return f"has {nodes} types when its references are resolved, more than {NODES_MAX}"
    if depth > DEPTH_MAX:
        return f"is nested deeper than {DEPTH_MAX} when its references are resolved"
    free = 0
    for path, node in walk(root):
        if node.kind == "array" and _bytes_min(node.branches[0]) == 0:
            return f"is a bomb: items of {path} may take zero bytes, so a few bytes fill memory"
        free += node.kind == "record" and sum(_bytes_min(child) == 0 for child in node.branches)
    return f"has {free} fields that take no bytes, more than {FREE_FIELDS_MAX}" if free > FREE_FIELDS_MAX else None


def _extent(node: Node, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """How many nodes a tree has and how deep it is. Shared parts are measured once, as there may be 2^n paths."""
    found = known.get(id(node))
    if found is None:
        parts = [_extent(child, known) for child in node.branches]
        found = 1 + sum(nodes for nodes, _ in parts), 1 + max((depth for _, depth in parts), default=-1)
        known[id(node)] = found
    return found


def _resolve(raw: Any, namespace: str, names: dict[str, Node | None], depth: int) -> Node:
    """The tree of a schema that fastavro takes. Raises ContractError where fastavro is too lax."""
    if depth > DEPTH_MAX:
        raise ContractError(f"is nested deeper than {DEPTH_MAX}")
    if isinstance(raw, str):
        return _named(raw, namespace, names)
    if isinstance(raw, list):
        return Node("union", tuple(("", _resolve(b, namespace, names, depth + 1)) for b in raw))
    kind, logical = raw["type"], str(raw.get("logicalType", ""))
    if kind in PRIMITIVES:
        return Node(kind, logical=logical)
    if kind in ("array", "map"):
        item = raw["items" if kind == "array" else "values"]
        return Node(kind, (("item", _resolve(item, namespace, names, depth + 1)),), logical=logical)
    full, space = full_name(raw, namespace)
    if kind == "enum":
        node = Node("enum", symbols=symbols_of(raw["symbols"], full))
    elif kind == "fixed":
        node = Node("fixed", size=size_of(raw["size"], full), logical=logical)
    else:
        names[full] = None
        given = field_names(raw["fields"], full)
        types = (_resolve(f["type"], space, names, depth + 1) for f in raw["fields"])
        node = Node("record", tuple(zip(given, types, strict=True)))
    names[full] = node
    return node


def _named(name: str, namespace: str, names: dict[str, Node | None]) -> Node:
    if name in PRIMITIVES:
        return Node(name)
    full = name if "." in name or not namespace else f"{namespace}.{name}"
    found = names[full]
    if found is None:
        raise ContractError(f"is recursive: {full} contains itself")
    return found


def _enum(node: Node) -> Node | None:
    """The enum that a field is, null aside, or None."""
    kinds = [branch.kind for branch in node.branches] if node.kind == "union" else []
    found = node.branches[kinds.index("enum")] if sorted(kinds) == ["enum", "null"] else node
    return found if found.kind == "enum" and found.symbols else None


def _bytes_min(node: Node) -> int:
    """The fewest bytes that a value of this type can take."""
    if node.kind == "null":
        return 0
    if node.kind == "record":
        return sum(_bytes_min(child) for child in node.branches)
    if node.kind == "fixed":
        return node.size
    return {"float": 4, "double": 8}.get(node.kind, 1)


def _obstacle(node: Node) -> str:
    """Why pyruhvro 0.4 cannot decode this node in bounded memory, or "".

    It panics on bytes and fixed and refuses records without fields.
    """
    if node.kind in ("bytes", "fixed") or (node.kind == "record" and not node.fields):
        return node.kind
    if node.kind in ("array", "map") and not _is_dense(node.branches[0]):
        return f"{node.kind} of wide unions"
    return ""


def _is_dense(node: Node) -> bool:
    """Whether the bytes of a record or an item bound what it takes as columns, whichever branches its unions have."""
    return _values(node) <= VALUES_PER_BYTE_MAX * _bytes_min(node)


def _values(node: Node) -> int:
    """In how many columns each value of this type takes a place; what it holds in arrays and maps pays for itself."""
    if node.kind in ("record", "union"):
        return sum(map(_values, node.branches))
    return int(node.kind != "null")
