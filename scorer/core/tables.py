"""What tables a prediction's schema comes to: generic rules, nothing about any one model.

A field becomes a column of its name; nested records are flattened with `_`; an array becomes a child table with the
rank of each item; what no column can hold (maps, unions of several types, arrays in arrays) becomes JSON text.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from scorer.core.compose import PROVENANCE
from scorer.core.errors import ContractError
from scorer.core.schema import Node

BASE_LENGTH_MAX = 36
"""Of a table's name: PostgreSQL cuts names at 63 bytes, and child tables and views add their own to it."""
ORDER = ("occurred_at", "source_timestamp", "source_partition", "source_offset")
"""The newest prediction of an entity is the greatest by these; equal ones are the same."""
RANK, VALUE = "item_rank", "value"
"""Columns of a child table: the item's place from 1, and the item itself where it is no record."""
RESERVED = frozenset({RANK, "prediction_id"})


class Type(StrEnum):
    """What a column holds."""

    TEXT = "text"
    WHOLE = "whole number"
    REAL = "single precision number"
    DOUBLE = "double precision number"
    BOOLEAN = "boolean"
    TIME = "time in ms"
    TIME_MICROS = "time in us"
    BYTES = "bytes"


NUMBERS = frozenset({Type.WHOLE, Type.REAL, Type.DOUBLE})
TIMES = frozenset({Type.TIME, Type.TIME_MICROS})
_PLAIN = {
    "string": Type.TEXT,
    "enum": Type.TEXT,
    "int": Type.WHOLE,
    "long": Type.WHOLE,
    "float": Type.REAL,
    "double": Type.DOUBLE,
    "boolean": Type.BOOLEAN,
    "bytes": Type.BYTES,
    "fixed": Type.BYTES,
}
_TIMES = {"timestamp-millis": Type.TIME, "timestamp-micros": Type.TIME_MICROS}


@dataclass(frozen=True, slots=True)
class Column:
    """A column and where its values are found.

    Attributes:
        name: in the table.
        path: names from the record (of an item: from the item) down; () is the item itself.
        type: what it holds.
        json: the type that is written as JSON text, or None where the column holds the value itself.
    """

    name: str
    path: tuple[str, ...]
    type: Type
    json: Node | None = None


@dataclass(frozen=True, slots=True)
class Items:
    """A child table: one row for each item of an array."""

    name: str
    path: tuple[str, ...]
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """The tables of one prediction's schema.

    Attributes:
        entity: the column that says whom the prediction is about, which is the record's key.
        columns: of one prediction, in the schema's order.
        items: its arrays.
    """

    entity: str
    columns: tuple[Column, ...]
    items: tuple[Items, ...]

    @property
    def labels(self) -> list[str]:
        """Text that the model gave out, such as a bucket."""
        return [each.name for each in self._outputs() if each.type is Type.TEXT and each.json is None]

    @property
    def numbers(self) -> list[str]:
        """Numbers that the model gave out, such as a score."""
        return [each.name for each in self._outputs() if each.type in NUMBERS]

    def _outputs(self) -> Iterator[Column]:
        return (each for each in self.columns if each.name not in PROVENANCE and each.name != self.entity)


def layout(root: Node, entity: str) -> Layout:
    """The tables of a prediction's schema.

    Raises:
        ContractError: two fields come to one column or two arrays to one table, or a field that every prediction has
            is missing.
    """
    columns: list[Column] = []
    items: list[Items] = []
    _flatten(root, (), columns, items)
    names = {each.name for each in columns}
    lacking = [name for name in (*PROVENANCE, entity) if name not in names]
    if lacking:
        raise ContractError(f"the prediction's schema lacks {', '.join(lacking)}, or has them as no plain field")
    for where, given in (("", columns), *((f"{each.name}[] ", list(each.columns)) for each in items)):
        twice = _twice(given)
        twice += sorted(name for each in given if where and (name := each.name.lower()) in {*RESERVED, entity.lower()})
        if twice:
            raise ContractError(f"two fields of the prediction's schema come to one column: {where}{', '.join(twice)}")
    if twice := _twice(items):
        raise ContractError(f"two arrays of the prediction's schema come to one table: {', '.join(twice)}")
    return Layout(entity, tuple(columns), tuple(items))


def _twice(named: Iterable[Column | Items]) -> list[str]:
    """Names that occur more than once; for a database, upper and lower case may be the same."""
    counted = Counter(each.name.lower() for each in named)
    return sorted(name for name, count in counted.items() if count > 1)


def grown(known: Layout, new: Layout) -> Layout:
    """The layout that holds both; columns that both have are as `new` says."""
    if known is new:
        return known
    items = {each.name: each for each in known.items}
    for each in new.items:
        before = items.get(each.name)
        items[each.name] = (
            each if before is None else Items(each.name, each.path, _united(before.columns, each.columns))
        )
    return Layout(new.entity, _united(known.columns, new.columns), tuple(items.values()))


def table_name(topic: str, lane: str = "") -> str:
    """The table of a prediction topic: `predictions.lead-score` is `lead_score`, of a lane `lane_<lane>_lead_score`."""
    name = f"lane_{lane}_" if lane else ""
    name = re.sub(r"[^a-z0-9_]", "_", f"{name}{topic.removeprefix('predictions.')}".lower())
    if name[0].isdigit():
        name = f"t_{name}"
    if len(name) <= BASE_LENGTH_MAX:
        return name
    return f"{name[: BASE_LENGTH_MAX - 9]}_{hashlib.sha256(f'{lane}/{topic}'.encode()).hexdigest()[:8]}"


def _flatten(node: Node, path: tuple[str, ...], columns: list[Column], items: list[Items]) -> None:
    for name, child in node.fields:
        here, kind = (*path, name), _without_null(child)
        if kind.kind == "record":
            _flatten(kind, here, columns, items)
        elif kind.kind == "array":
            items.append(Items("_".join(here), here, _item_columns(kind.branches[0])))
        elif kind.kind != "null":
            columns.append(_column("_".join(here), here, kind))


def _item_columns(item: Node) -> tuple[Column, ...]:
    kind = _without_null(item)
    if kind.kind != "record":
        return (_column(VALUE, (), kind),)
    return tuple(_fields_of_item(kind, ()))


def _fields_of_item(node: Node, path: tuple[str, ...]) -> Iterator[Column]:
    for name, child in node.fields:
        here, kind = (*path, name), _without_null(child)
        if kind.kind == "record":
            yield from _fields_of_item(kind, here)
        elif kind.kind != "null":
            yield _column("_".join(here), here, kind)


def _column(name: str, path: tuple[str, ...], node: Node) -> Column:
    found = _TIMES.get(node.logical) if node.kind == "long" else None
    found = found or _PLAIN.get(node.kind)
    return Column(name, path, found) if found else Column(name, path, Type.TEXT, node)


def _without_null(node: Node) -> Node:
    if node.kind != "union":
        return node
    rest = [branch for branch in node.branches if branch.kind != "null"]
    return rest[0] if len(rest) == 1 else Node("null") if not rest else node


def _united(known: tuple[Column, ...], new: tuple[Column, ...]) -> tuple[Column, ...]:
    names = {each.name: each for each in known}
    names.update({each.name: each for each in new})
    return tuple(names.values())
