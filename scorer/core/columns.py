"""One field of decoded events as a numpy column, the same from Arrow as from records.

A field path binds to a schema once (`bind_field`); reading is then a few array operations for a whole batch. The rules
look at Avro's own types: int and long are whole numbers, float and double are numbers, enum and string are text.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from scorer.core.decode import Events
from scorer.core.packed import Array, packed
from scorer.core.schema import Node

Texts: TypeAlias = Any
"""Texts that are only carried along: an Arrow array of strings, or a list where events came by record. Turning one into
the other costs small batches a third of their time, and large ones a Python string per event."""


class Kind(StrEnum):
    """What a column holds."""

    WHOLE = "whole number"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TEXT = "text"


_KINDS = {
    "int": Kind.WHOLE,
    "long": Kind.WHOLE,
    "float": Kind.NUMBER,
    "double": Kind.NUMBER,
    "boolean": Kind.BOOLEAN,
    "string": Kind.TEXT,
    "enum": Kind.TEXT,
}
_DTYPES: dict[Kind, Any] = {Kind.WHOLE: np.int64, Kind.NUMBER: np.float64, Kind.BOOLEAN: np.bool_, Kind.TEXT: object}
_FILLS: dict[Kind, Any] = {Kind.WHOLE: 0, Kind.NUMBER: 0.0, Kind.BOOLEAN: False, Kind.TEXT: ""}


@dataclass(frozen=True, slots=True)
class Field:
    """A field path bound to a schema.

    Attributes:
        path: names from the root down.
        kind: what it holds, or what its items hold; None if the schema has no such field.
        array: whether it is an array of such items.
        logical: Avro's logical type, or "".
        union: whether Arrow holds it as a union, since it has several types besides null.
    """

    path: tuple[str, ...]
    kind: Kind | None
    array: bool = False
    logical: str = ""
    union: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """Values of one field for n events.

    Attributes:
        values: int64, float64, bool or texts (object, or packed.packed) [n], or the flat items of all arrays.
        null: bool [n], or None if no value is null. Values at nulls are fillers.
        lengths: int64 [n], the number of items per event, for arrays only.
        null_items: whether an item is null; such items are None.
    """

    values: Array
    null: npt.NDArray[np.bool_] | None
    lengths: npt.NDArray[np.int64] | None = None
    null_items: bool = False


def bind_field(root: Node, path: str) -> Field | str:
    """Finds a path in a schema. Returns what was found, or for people why it can feed nothing.

    An absent field binds (kind None): the contract's `missing` decides. Paths lead through records only.
    """
    names = tuple(path.split("."))
    node: Node = root
    for depth, name in enumerate(names):
        node, _ = _without_null(node)
        if node.kind != "record":
            return f"{'.'.join(names[:depth])} is {_article(node.kind)}, so {path} is not a field in it"
        child = node.child(name)
        if child is None:
            return Field(names, None)
        node = child
    node, union = _without_null(node)
    array = node.kind == "array"
    item, item_union = _without_null(node.branches[0]) if array else (node, union)
    kind = _kind(item)
    if kind is None:
        return f"{path} is {_article(node.kind if not array else 'array of ' + item.kind)}, which cannot feed a model"
    return Field(names, kind, array, item.logical, union or item_union)


def read(events: Events, field: Field) -> Column:
    """The column of a bound field that the schema has (kind is not None)."""
    assert field.kind is not None
    first, *rest = field.path
    if isinstance(events.table, list):
        return _from_values(_dig([record[first] for record in events.table], rest), field)
    array = events.table.column(first)
    if field.union:
        # As Python values from the top: Arrow's unions have no nulls of their own, so struct_field aborts the process.
        return _from_values(_dig(array.to_pylist(), rest), field)
    for name in rest:
        array = pc.struct_field(array, name)
    if not field.array:
        return _from_arrow(array, field.kind)
    null = array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    items = array.flatten()
    if items.null_count:
        return Column(np.array(items.to_pylist(), dtype=object), null, lengths, null_items=True)
    return Column(_numpy(items, field.kind), null, lengths)


def text_column(events: Events, field: Field) -> tuple[Texts, npt.NDArray[np.bool_] | None]:
    """A text field as it came, as an Arrow array or a list of strings, and its nulls."""
    if isinstance(events.table, list) or field.union:
        column = read(events, field)
        return column.values.tolist(), column.null
    array = events.table.column(field.path[0])
    for name in field.path[1:]:
        array = pc.struct_field(array, name)
    if pa.types.is_dictionary(array.type):
        array = array.cast(pa.string())
    null = array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None
    return (array if null is None else pc.fill_null(array, "")), null


def taken(texts: Texts, indices: npt.NDArray[np.intp]) -> Texts:
    """Those texts, in that order."""
    return [texts[at] for at in indices.tolist()] if isinstance(texts, list) else texts.take(pa.array(indices))


def listed(texts: Texts) -> list[str]:
    """The texts as Python strings."""
    return texts if isinstance(texts, list) else list(texts.to_pylist())


def as_bytes(texts: Texts) -> list[bytes]:
    """The texts in UTF-8."""
    if isinstance(texts, list):
        return [text.encode() for text in texts]
    return list(texts.cast(pa.binary()).to_numpy(zero_copy_only=False).tolist())


def _from_arrow(array: pa.Array, kind: Kind) -> Column:
    null = None
    if array.null_count:
        null = array.is_null().to_numpy(zero_copy_only=False)
        if pa.types.is_dictionary(array.type):
            words = pa.concat_arrays([array.dictionary, pa.array([_FILLS[kind]], pa.string())])
            array = pa.DictionaryArray.from_arrays(pc.fill_null(array.indices, len(array.dictionary)), words)
        else:
            array = pc.fill_null(array, pa.scalar(_FILLS[kind], array.type))
    return Column(_numpy(array, kind), null)


def _numpy(array: pa.Array, kind: Kind) -> Array:
    if kind is Kind.TEXT:  # each distinct text is looked at once, not once per event
        coded = array.dictionary_encode()
        values: Array = packed(coded.dictionary.to_pylist()).take(coded.indices.to_numpy())
        return values
    with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one, as in fastavro
        numbers: Array = array.to_numpy(zero_copy_only=False).astype(_DTYPES[kind], copy=False)
    return numbers


def _from_values(values: list[Any], field: Field) -> Column:
    assert field.kind is not None
    null = None
    if None in values:
        null = np.fromiter((value is None for value in values), np.bool_, len(values))
        filler: Any = [] if field.array else _FILLS[field.kind]
        values = [filler if value is None else value for value in values]
    if not field.array:
        return Column(_column(values, field.kind), null)
    lengths = np.fromiter(map(len, values), np.int64, len(values))
    flat = [item for items in values for item in items]
    null_items = None in flat
    return Column(np.array(flat, dtype=object) if null_items else _column(flat, field.kind), null, lengths, null_items)


def _column(values: list[Any], kind: Kind) -> Array:
    if kind is Kind.TEXT:
        column = np.empty(len(values), dtype=object)
        column[:] = values
        return column
    return np.array(values, dtype=_DTYPES[kind])


def _dig(values: list[Any], names: list[str]) -> list[Any]:
    for name in names:
        values = [None if value is None else value[name] for value in values]
    return values


def _without_null(node: Node) -> tuple[Node, bool]:
    """The type besides null, and whether it is one of several (then the widest of them)."""
    if node.kind != "union":
        return node, False
    rest = [branch for branch in node.branches if branch.kind != "null"]
    if len(rest) == 1 and len(node.branches) == 2:
        return rest[0], False
    kinds = {_kind(branch) for branch in rest}
    if kinds == {Kind.WHOLE, Kind.NUMBER}:
        return Node("double"), True
    if len(kinds) == 1 and None not in kinds:
        return rest[0], True
    return node, True


def _kind(node: Node) -> Kind | None:
    return _KINDS.get(node.kind)


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aei' else 'a'} {kind}"
