"""What one or more micro-batches of a prediction topic come to in tables, as Arrow columns.

Every row keeps its place in the topic (`AT_PARTITION`, `AT_OFFSET`), so that a sink can leave out what it has already.
Values that no table can hold are kept as bytes with a reason, and their neighbours are written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from scorer.core.packed import Array
from scorer.core.tables import ORDER, Layout, grown

AT_PARTITION, AT_OFFSET, ROW = "__partition", "__offset", "__row"
Positions = Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A value that is no row: where it was, whom it is about if its key says so, why, and its bytes."""

    partition: int
    offset: int
    entity: str | None
    reason: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Erasure:
    """A tombstone: everything about the entity before it goes."""

    partition: int
    offset: int
    entity: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A dead letter's position in the source topic, and why it is one. `timestamp` is the event's, in ms."""

    partition: int
    offset: int
    timestamp: int
    stage: str
    reason: str


@dataclass(frozen=True, slots=True)
class Load:
    """What is written in one transaction.

    Attributes:
        topic: where it was read.
        starts: partition to the next offset before it; the database must have come at least so far.
        next_offsets: partition to the next offset after it.
        layout: of the rows; None where no prediction has been seen.
        rows: the predictions.
        items: by child table; ROW is the index in `rows`.
        unreadable, erasures, refused: what else was in it.
        counts: records by kind, for metrics.
    """

    topic: str
    starts: Positions
    next_offsets: Positions
    layout: Layout | None = None
    rows: pa.Table | None = None
    items: Mapping[str, pa.Table] = field(default_factory=dict)
    unreadable: Sequence[Unreadable] = ()
    erasures: Sequence[Erasure] = ()
    refused: Sequence[Refused] = ()
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many records it stands for, as far as they make work."""
        rows = 0 if self.rows is None else len(self.rows)
        return rows + len(self.unreadable) + len(self.erasures) + len(self.refused)


def joined(loads: Sequence[Load]) -> Load:
    """Several loads of one topic, in the order in which they were read, as one."""
    if len(loads) == 1:
        return loads[0]
    starts: dict[int, int] = {}
    ends: dict[int, int] = {}
    counts: dict[str, int] = {}
    for each in loads:
        for partition, offset in each.starts.items():
            starts.setdefault(partition, offset)
        for partition, offset in each.next_offsets.items():
            ends[partition] = max(offset, ends.get(partition, 0))
        for kind, count in each.counts.items():
            counts[kind] = counts.get(kind, 0) + count
    full = [each for each in loads if each.rows is not None and len(each.rows)]
    rows, items = _joined_rows(full)
    return Load(
        loads[0].topic,
        starts,
        ends,
        reduce(grown, layouts) if (layouts := [each.layout for each in loads if each.layout]) else None,
        rows,
        items,
        [one for each in loads for one in each.unreadable],
        [one for each in loads for one in each.erasures],
        [one for each in loads for one in each.refused],
        counts,
    )


def _joined_rows(loads: list[Load]) -> tuple[pa.Table | None, dict[str, pa.Table]]:
    if len(loads) <= 1:
        return (loads[0].rows, dict(loads[0].items)) if loads else (None, {})
    items: dict[str, list[pa.Table]] = {}
    start = 0
    for each in loads:
        assert each.rows is not None
        for name, table in each.items.items():
            shifted = pc.add(table.column(ROW), start)
            items.setdefault(name, []).append(table.set_column(table.schema.get_field_index(ROW), ROW, shifted))
        start += len(each.rows)
    rows = _together([each.rows for each in loads if each.rows is not None])
    return rows, {name: _together(tables) for name, tables in items.items()}


def _together(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables one below the other. A field that is a text in one of them is one in all, which Arrow alone refuses."""
    text = pa.string()
    texts = {each.name for table in tables for each in table.schema if each.type == text}
    fitting = [
        table.cast(pa.schema([each.with_type(text) if each.name in texts else each for each in table.schema]))
        for table in tables
    ]
    return pa.concat_tables(fitting, promote_options="permissive")


def without(load: Load, positions: Positions) -> Load:
    """A load without what lies below these positions."""
    if all(positions.get(partition, 0) <= start for partition, start in load.starts.items()):
        return load

    def ahead(each: Any) -> bool:
        return bool(each.offset >= positions.get(each.partition, 0))

    rows, items = load.rows, load.items
    if rows is not None:
        floors = np.array([positions.get(p, 0) for p in range(max(load.next_offsets) + 1)], np.int64)
        keep = rows.column(AT_OFFSET).to_numpy() >= floors[rows.column(AT_PARTITION).to_numpy()]
        rows, items = picked(rows, items, keep)
    return replace(
        load,
        rows=rows,
        items=items,
        unreadable=[each for each in load.unreadable if ahead(each)],
        erasures=[each for each in load.erasures if ahead(each)],
    )


def once(load: Load) -> Load:
    """A load in which every prediction_id is there once, the first of each."""
    if load.rows is None or not len(load.rows):
        return load
    ids = load.rows.column("prediction_id").combine_chunks()
    codes = ids.dictionary_encode()
    if len(codes.dictionary) == len(ids):
        return load
    _, first = np.unique(codes.indices.to_numpy(), return_index=True)
    keep = np.zeros(len(ids), np.bool_)
    keep[first] = True
    return kept(load, keep)


def kept(load: Load, keep: npt.NDArray[np.bool_]) -> Load:
    """A load with these predictions alone."""
    assert load.rows is not None
    rows, items = picked(load.rows, load.items, keep)
    return replace(load, rows=rows, items=items)


def outlived(load: Load) -> tuple[npt.NDArray[np.bool_], dict[str, Erasure]]:
    """Which predictions come after the last tombstone of their entity in their partition (all, without any)."""
    assert load.rows is not None
    keep = np.ones(len(load.rows), np.bool_)
    last = {(each.entity, each.partition): each for each in load.erasures}
    if last and load.layout is not None:
        entities = load.rows.column(load.layout.entity)
        named = pa.array(sorted({each.entity for each in load.erasures}), pa.string())
        for at in np.flatnonzero(pc.is_in(entities, value_set=named).to_numpy()).tolist():
            dead = last.get((entities[at].as_py(), load.rows.column(AT_PARTITION)[at].as_py()))
            keep[at] = dead is None or load.rows.column(AT_OFFSET)[at].as_py() > dead.offset
    return keep, {each.entity: each for each in load.erasures}


def newest(load: Load) -> npt.NDArray[np.intp]:
    """The indices of the newest prediction of each entity; of equal ones the first."""
    assert load.rows is not None
    assert load.layout is not None
    entities = load.rows.column(load.layout.entity).combine_chunks().dictionary_encode()
    codes: Array = entities.indices.to_numpy()
    if len(entities.dictionary) == len(codes):
        return np.arange(len(codes))
    keys = [_sortable(load.rows.column(name)) for name in ORDER]
    order = np.lexsort((-np.arange(len(codes)), *reversed(keys), codes))
    ordered = codes[order]
    last = np.append(ordered[1:] != ordered[:-1], True)
    found: npt.NDArray[np.intp] = np.sort(order[last])
    return found


def _sortable(column: Any) -> Array:
    array = column.combine_chunks()
    numbers: Array = array.cast(pa.int64()).to_numpy()
    return numbers


def picked(rows: pa.Table, items: Mapping[str, pa.Table], keep: Array) -> tuple[pa.Table, dict[str, pa.Table]]:
    """Those rows (bool mask [n]) and their items, numbered anew."""
    if keep.all():
        return rows, dict(items)
    numbers = np.cumsum(keep) - 1
    found = {}
    for name, table in items.items():
        of = table.column(ROW).to_numpy()
        there = table.filter(pa.array(keep[of]))
        anew = pa.array(numbers[of[keep[of]]], pa.int64())
        found[name] = there.set_column(there.schema.get_field_index(ROW), ROW, anew)
    return rows.filter(pa.array(keep)), found
