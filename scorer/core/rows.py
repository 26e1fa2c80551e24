"""Decoded predictions as the rows of their tables, the same from Arrow columns as from records.

A value that no table can hold (a time outside the years 1 to 9999, a text with a zero character, a key that no index
takes) makes its prediction unreadable: its bytes are kept with the reason, and its neighbours become rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scorer.core.compose import PROVENANCE
from scorer.core.decode import Events
from scorer.core.letters import Author
from scorer.core.load import AT_OFFSET, AT_PARTITION, ROW, Erasure, Load, Positions, Refused, Unreadable, joined, picked
from scorer.core.packed import Array
from scorer.core.records import RecordBatch, Rejection
from scorer.core.schema import Node
from scorer.core.tables import RANK, TIMES, Column, Items, Layout, Type

ARROW: Mapping[Type, Any] = {
    Type.TEXT: pa.string(),
    Type.WHOLE: pa.int64(),
    Type.REAL: pa.float32(),
    Type.DOUBLE: pa.float64(),
    Type.BOOLEAN: pa.bool_(),
    Type.TIME: pa.timestamp("ms", "UTC"),
    Type.TIME_MICROS: pa.timestamp("us", "UTC"),
    Type.BYTES: pa.binary(),
}
TIME_MS_MIN, TIME_MS_MAX = -62_135_596_800_000, 253_402_300_799_999
"""The years 1 to 9999: what databases and their clients agree on."""
KEY_BYTES_MAX = 2500
"""Of an entity or a prediction_id: an entry of PostgreSQL's index is 2,704 bytes at most, an item's rank included."""
UNTABLED: Mapping[str, str] = {
    "time_out_of_range": "a time lies outside the years 1 to 9999",
    "nul_in_text": "a text holds a zero character, which databases do not take",
    "missing_field": "a field that every prediction has is null",
    "key_too_long": "the entity or the prediction_id is longer than 2,500 bytes",
}
"""Why a prediction that decodes is still no row; further reasons are those of records.REASONS."""


def prediction_load(
    batch: RecordBatch,
    decoded: Iterable[tuple[Events, Layout]],
    rejections: Sequence[Rejection],
    starts: Positions,
    lane: str,
) -> Load:
    """What one micro-batch of predictions comes to.

    Args:
        batch: the raw records.
        decoded: its rows by schema, each with its schema's layout.
        rejections: what did not decode.
        starts: partition to the next offset before it.
        lane: only predictions of this lane become rows.
    """
    unreadable = [_kept(batch, each.row, each.reason) for each in rejections]
    parts: list[Load] = []
    others = 0
    for events, layout in decoded:
        if not len(events):
            continue
        rows, items = _rows(events, batch, layout)
        keep = np.asarray(pc.fill_null(pc.equal(rows.column("lane"), lane), True).to_numpy())
        others += int(len(rows) - keep.sum())
        for reason, bad in _problems(rows, items, layout):
            unreadable += [_kept(batch, int(events.rows[at]), reason) for at in np.flatnonzero(bad & keep).tolist()]
            keep = keep & ~bad
        parts.append(Load(batch.topic, {}, {}, layout, *picked(rows, items, keep)))
    dead = [row for row, value in enumerate(batch.values) if value is None]
    erasures = [each for row in dead if (each := _erasure(batch, row)) is not None]
    counts = {"other_lane": others, "unreadable": len(unreadable), "tombstone": len(dead)}
    own = Load(batch.topic, starts, batch.next_offsets, unreadable=unreadable, erasures=erasures, counts=counts)
    return joined([own, *parts])


def letter_load(batch: RecordBatch, author: Author, starts: Positions) -> Load:
    """What one micro-batch of dead letters comes to; letters of others are passed over."""
    refused = [
        Refused(*letter.source, min(max(int(batch.timestamps[row]), 0), TIME_MS_MAX), letter.stage, letter.reason)
        for row, letter in author.letters(batch)
    ]
    counts = {"rejection": len(refused), "other_letter": len(batch) - len(refused)}
    return Load(batch.topic, starts, batch.next_offsets, refused=refused, counts=counts)


def _rows(events: Events, batch: RecordBatch, layout: Layout) -> tuple[pa.Table, dict[str, pa.Table]]:
    arrays = {each.name: _array(_reached(events, each.path), each) for each in layout.columns}
    arrays[AT_PARTITION] = pa.array(batch.partitions[events.rows], pa.int32())
    arrays[AT_OFFSET] = pa.array(batch.offsets[events.rows], pa.int64())
    return pa.table(arrays), {each.name: _items(_reached(events, each.path), each) for each in layout.items}


def _reached(events: Events, path: tuple[str, ...]) -> Any:
    """A field as an Arrow array, or as a list of values where events came by record."""
    if isinstance(events.table, list):
        return _dug(list(events.table), path)
    return _dug(events.table.column(path[0]), path[1:])


def _dug(values: Any, path: Sequence[str]) -> Any:
    if not isinstance(values, list) and _meets_union(values.type, path):
        values = values.to_pylist()
    for name in path:
        if isinstance(values, list):
            values = [None if value is None else value[name] for value in values]
        else:
            values = pc.struct_field(values, name)
    return values


def _meets_union(kind: pa.DataType, path: Sequence[str]) -> bool:
    """Whether Arrow holds a union there or on the way. It has no nulls of its own, so struct_field aborts the process,
    and nothing is cast from it."""
    for name in path:
        if pa.types.is_union(kind):
            return True
        kind = kind.field(name).type
    return bool(pa.types.is_union(kind))


def _array(values: Any, column: Column) -> pa.Array:
    """A column's values in its Arrow type; times are not judged yet."""
    if column.json is not None:
        found = values if isinstance(values, list) else values.to_pylist()
        return pa.array([None if each is None else _as_json(each, column.json) for each in found], pa.string())
    wanted = ARROW[column.type]
    if isinstance(values, list):
        return pa.array(values, pa.int64() if column.type in TIMES else wanted).cast(wanted)
    return (values.cast(pa.int64()) if column.type in TIMES else values).cast(wanted)


def _items(values: Any, items: Items) -> pa.Table:
    """The items of all arrays in order, with ROW and rank."""
    if isinstance(values, list):
        lengths = np.fromiter((0 if each is None else len(each) for each in values), np.int64, len(values))
        flat: Any = [item for each in values if each is not None for item in each]
    else:
        lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        flat = values.flatten()
    starts = np.cumsum(lengths) - lengths
    arrays = {
        ROW: pa.array(np.repeat(np.arange(len(lengths)), lengths), pa.int64()),
        RANK: pa.array(np.arange(int(lengths.sum())) - np.repeat(starts, lengths) + 1, pa.int64()),
    }
    return pa.table(arrays | {each.name: _array(_dug(flat, each.path), each) for each in items.columns})


def _problems(rows: pa.Table, items: Mapping[str, pa.Table], layout: Layout) -> list[tuple[str, Array]]:
    """Which rows cannot be stored, by reason."""
    required = [name for name in (*PROVENANCE, layout.entity) if rows.column(name).null_count]
    found = [("missing_field", rows.column(name).is_null().to_numpy()) for name in required]
    for name in (layout.entity, "prediction_id"):
        long = pc.fill_null(pc.greater(pc.binary_length(rows.column(name)), KEY_BYTES_MAX), False).to_numpy()
        if long.any():
            found.append(("key_too_long", long))
    found += _unholdable(rows, layout.columns)
    for each in layout.items:
        table = items[each.name]
        for reason, bad in _unholdable(table, each.columns):
            of_row = np.zeros(len(rows), np.bool_)
            of_row[table.column(ROW).to_numpy()[bad]] = True
            found.append((reason, of_row))
    return found


def _unholdable(table: pa.Table, columns: Iterable[Column]) -> list[tuple[str, Array]]:
    found: list[tuple[str, Array]] = []
    for each in columns:
        array = table.column(each.name).combine_chunks()
        if each.type in TIMES:
            scale = 1000 if each.type is Type.TIME_MICROS else 1
            numbers = pc.fill_null(array.cast(pa.int64()), 0).to_numpy()
            bad = (numbers < TIME_MS_MIN * scale) | (numbers >= (TIME_MS_MAX + 1) * scale)
            found.append(("time_out_of_range", bad))
        elif each.type is Type.TEXT and _has_nul(array):
            found.append(("nul_in_text", pc.fill_null(pc.match_substring(array, "\0"), False).to_numpy(False)))
    return [(reason, bad) for reason, bad in found if bad.any()]


def _has_nul(array: pa.StringArray) -> bool:
    """Whether there may be a zero character: one look at all bytes, since there hardly ever is."""
    content = array.buffers()[2]
    return content is not None and not np.frombuffer(content, np.uint8).all()


def _as_json(value: Any, node: Node) -> str:
    return json.dumps(_plain(value, node), ensure_ascii=False, sort_keys=True, default=_latin)


def _plain(value: Any, node: Node) -> Any:
    """The same whichever way it was decoded: Arrow gives maps as lists of pairs."""
    if node.kind == "map":
        return {key: _plain(each, node.branches[0]) for key, each in dict(value).items()}
    if node.kind == "array":
        return [_plain(each, node.branches[0]) for each in value]
    if node.kind == "record":
        return {name: None if value[name] is None else _plain(value[name], child) for name, child in node.fields}
    if node.kind == "union" and len(rest := [each for each in node.branches if each.kind != "null"]) == 1:
        return None if value is None else _plain(value, rest[0])
    if isinstance(value, float) and not isfinite(value):
        return str(value)  # JSON has no word for it, and databases take nothing else
    return value


def _latin(value: bytes) -> str:
    """Bytes as Avro writes them in JSON."""
    return value.decode("latin-1")


def _kept(batch: RecordBatch, row: int, reason: str) -> Unreadable:
    entity = _text(batch.keys[row])
    return Unreadable(int(batch.partitions[row]), int(batch.offsets[row]), entity, reason, batch.values[row] or b"")


def _erasure(batch: RecordBatch, row: int) -> Erasure | None:
    entity = _text(batch.keys[row])
    return None if entity is None else Erasure(int(batch.partitions[row]), int(batch.offsets[row]), entity)


def _text(key: bytes | None) -> str | None:
    """A key as text that databases take, or None."""
    if key is None or b"\0" in key:
        return None
    try:
        return key.decode()
    except UnicodeDecodeError:
        return None
