"""Avro schemas as a resolved tree, and which of them are admitted as writer schemas.

A schema comes from a registry and is untrusted. What is admitted can be decoded in bounded time and memory: no
recursion, no array whose items may take zero bytes (a map's items carry a key), bounded size. Logical types are kept
as notes on the node and stripped before decoding, so that the bytes decide what a value is and a writer that adds a
logical type changes nothing for a model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import fastavro

from scorer.core.errors import ContractError

SCHEMA_BYTES_MAX = 1 << 20
DEPTH_MAX = 32
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
        text: the schema as JSON, without logical types and docs.
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
    def by_record_only(self) -> str | None:
        """Path and type of the first field that keeps this schema from being decoded by column, or None."""
        return next((f"{path} ({node.kind})" for path, node in walk(self.root) if not _columnar(node)), None)


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
        fastavro.parse_schema(raw)
    except Exception as error:
        raise ContractError(f"schema {schema_id} is no valid Avro schema: {type(error).__name__}: {error}") from error
    root = _resolve(raw, "", {}, schema_id, 0)
    if root.kind != "record":
        raise ContractError(f"schema {schema_id} is of type {root.kind}; events and predictions are records")
    for path, node in walk(root):
        if node.kind == "array" and _bytes_min(node.branches[0]) == 0:
            raise ContractError(f"schema {schema_id}: items of {path} may take zero bytes, so a few bytes fill memory")
    return WriterSchema(schema_id, json.dumps(_bare(raw)), root)


def walk(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """Every node below and including this one, with its field path; items of arrays and maps end in []."""
    yield path, node
    for name, child in node.fields:
        step = {"array": "[]", "map": "[]", "union": ""}.get(node.kind, f".{name}" if path else name)
        yield from walk(child, path + step)


def _resolve(raw: Any, namespace: str, names: dict[str, Node | None], schema_id: int, depth: int) -> Node:
    if depth > DEPTH_MAX:
        raise ContractError(f"schema {schema_id} is nested deeper than {DEPTH_MAX}")
    if isinstance(raw, str):
        return _named(raw, namespace, names, schema_id)
    if isinstance(raw, list):
        return Node("union", tuple(("", _resolve(b, namespace, names, schema_id, depth + 1)) for b in raw))
    kind, logical = raw["type"], str(raw.get("logicalType", ""))
    if isinstance(kind, (dict, list)) or kind not in PRIMITIVES | {"record", "error", "enum", "array", "map", "fixed"}:
        return _resolve(kind, namespace, names, schema_id, depth + 1)
    if kind in PRIMITIVES:
        return Node(kind, logical=logical)
    if kind in ("array", "map"):
        item = raw["items" if kind == "array" else "values"]
        return Node(kind, (("item", _resolve(item, namespace, names, schema_id, depth + 1)),), logical=logical)
    full, space = _full_name(raw, namespace)
    if kind == "enum":
        node = Node("enum", symbols=tuple(raw["symbols"]))
    elif kind == "fixed":
        node = Node("fixed", size=int(raw["size"]), logical=logical)
    else:
        names[full] = None
        fields = ((f["name"], _resolve(f["type"], space, names, schema_id, depth + 1)) for f in raw["fields"])
        node = Node("record", tuple(fields))
    names[full] = node
    return node


def _named(name: str, namespace: str, names: dict[str, Node | None], schema_id: int) -> Node:
    if name in PRIMITIVES:
        return Node(name)
    full = name if "." in name or not namespace else f"{namespace}.{name}"
    found = names.get(full)
    if found is None:
        raise ContractError(f"schema {schema_id} is recursive: {full} contains itself")
    return found


def _full_name(raw: dict[str, Any], namespace: str) -> tuple[str, str]:
    """The full name of a named type, and the namespace for what it contains."""
    name = str(raw["name"])
    space = name.rpartition(".")[0] if "." in name else str(raw.get("namespace", namespace))
    short = name.rpartition(".")[2]
    return (f"{space}.{short}" if space else short), space


def _bare(raw: Any) -> Any:
    """The schema without logical types (the bytes decide) and without docs (less to hash)."""
    if isinstance(raw, list):
        return [_bare(branch) for branch in raw]
    if not isinstance(raw, dict):
        return raw
    kept = {key: value for key, value in raw.items() if key not in ("logicalType", "doc", "precision", "scale")}
    for key in ("type", "items", "values"):
        if key in kept:
            kept[key] = _bare(kept[key])
    if isinstance(kept.get("fields"), list):
        kept["fields"] = [_bare(f) for f in kept["fields"]]
    return kept


def _bytes_min(node: Node) -> int:
    """The fewest bytes that a value of this type can take."""
    if node.kind == "null":
        return 0
    if node.kind == "record":
        return sum(_bytes_min(child) for child in node.branches)
    if node.kind == "fixed":
        return node.size
    return {"float": 4, "double": 8}.get(node.kind, 1)


def _columnar(node: Node) -> bool:
    """Whether pyruhvro 0.4 can decode this node; it panics on bytes and fixed and refuses records without fields."""
    if node.kind in ("bytes", "fixed"):
        return False
    return not (node.kind == "record" and not node.fields)
