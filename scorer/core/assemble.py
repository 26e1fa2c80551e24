"""Events to tensors, by the contract's rules. The same rules and bits whichever way an event was decoded.

A number is read as a double (or as a 64-bit integer for an integer input), checked, and rounded once to the tensor's
type. It is rejected where it is not finite, outside the contract's range, or does not fit. All numbers of a batch that
go into one tensor type are checked in one block, so that a batch of one costs few array operations.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from scorer.core.bind import Binding, Block, Padded, Slot, bind
from scorer.core.columns import Column, Field, Kind, Texts, read, text_column
from scorer.core.contract import REJECT
from scorer.core.decode import Events
from scorer.core.features import Features, merged, nothing
from scorer.core.packed import Array, as_type, packed, side_by_side, wide_enough
from scorer.core.records import RecordBatch, Rejection, Stage
from scorer.core.signature import Interface

FUTURE_MS_MAX = 24 * 3600 * 1000
_PER_MS = {"micros": 1_000, "nanos": 1_000_000}

Problems = dict[int, tuple[str, str]]
"""Position in the part -> reason code and detail; the first problem of an event is kept."""


def assemble(events: list[Events], batch: RecordBatch, interface: Interface) -> tuple[Features, list[Rejection]]:
    """Makes the tensors of a batch in offset order, whatever writer schemas its events have."""
    parts: list[Features] = []
    rejections: list[Rejection] = []
    for part in events:
        if len(part):
            features, problems = _part(part, batch, bind(interface, part.schema))
            parts.append(features)
            rejections += [Rejection(int(part.rows[at]), Stage.ASSEMBLE, *problems[at]) for at in sorted(problems)]
    return merged(parts, interface), rejections


def _part(events: Events, batch: RecordBatch, binding: Binding | str) -> tuple[Features, Problems]:
    n = len(events)
    problems: Problems = {}
    if isinstance(binding, str):
        problems = dict.fromkeys(range(n), ("wrong_type", f"schema id {events.schema.id}: {binding}"))
        return nothing(), problems
    tensors: dict[str, Array] = {}
    for block in binding.blocks:
        clean = _fill_clean(block, events)
        if clean is None and block.text:
            tensors.update(_texts(block, events, problems))
            continue
        filled = _cast(_fill(block, events, problems) if clean is None else clean, block, problems)
        if block.single is not None:
            tensors.update(zip(block.single, filled.reshape((-1, n, 1)), strict=True))
            continue
        for name, start, stop, shape in block.inputs:
            part = filled[start:stop]
            tensors[name] = part.T.copy() if stop - start > 1 else part.reshape((n, *shape))
    for padded in binding.padded:
        tensors[padded.name] = _pad(padded, events, problems)
    entity = _identity(events, binding.entity, problems)
    event_id = _identity(events, binding.event_id, problems)
    occurred_at = _occurred_at(events, binding.occurred_at, batch.timestamps[events.rows], problems)
    schema_ids = np.empty(n, dtype=np.int32)
    schema_ids.fill(events.schema.id)
    features = Features(events.rows, tensors, entity, event_id, occurred_at, schema_ids)
    if not problems:
        return features, problems
    return features.take(np.array([at for at in range(n) if at not in problems], dtype=np.intp)), problems


def _fill(block: Block, events: Events, problems: Problems) -> Array:
    """The block's numbers, [slots, n], before the cast to the tensor's type."""
    work = np.empty((len(block.slots), len(events)), dtype=block.work)
    nulls: list[tuple[int, npt.NDArray[np.bool_]]] = []
    for at, slot in enumerate(block.slots):
        if slot.field.kind is None:
            nulls.append((at, np.ones(len(events), dtype=np.bool_)))
            work[at] = block.filler
            continue
        column = read(events, slot.field)
        work[at] = _whole(column, slot, problems) if block.exact and slot.field.kind is Kind.NUMBER else column.values
        if column.null is not None:
            nulls.append((at, column.null))
    if block.bounded:
        _check(work, block, nulls, problems)
    for at, null in nulls:
        slot = block.slots[at]
        if slot.missing == REJECT:
            _note(problems, null, "missing_field", f"{slot.label} is absent or null")
        else:
            work[at, null] = slot.missing
    return work


def _fill_clean(block: Block, events: Events) -> Array | None:
    """The same, of texts too, in one step a record, for blocks in which nothing is wrong; None where something may be.

    Small batches come this way: for one record it takes a third of the time of going column by column.
    """
    if block.pick is None or not isinstance(events.table, list):
        return None
    rows = [block.pick(record) for record in events.table]
    for at, row in enumerate(rows):
        if None in row:
            rows[at] = tuple(fill if value is None else value for value, fill in zip(row, block.fills, strict=True))
            if None in rows[at]:
                return None
    work = np.ascontiguousarray(np.array(rows, dtype=block.work).T)
    if block.bounded and not ((work >= block.lowest) & (work <= block.highest)).all():
        return None
    return work


def _texts(block: Block, events: Events, problems: Problems) -> dict[str, Array]:
    """The tensors of a block of texts, each of the type that its own texts need (packed.py)."""
    n = len(events)
    tensors: dict[str, Array] = {}
    for name, start, stop, shape in block.inputs:
        columns = [_text(block, at, events, problems) for at in range(start, stop)]
        tensors[name] = columns[0].reshape((n, *shape)) if len(columns) == 1 else side_by_side(columns)
    return tensors


def _text(block: Block, at: int, events: Events, problems: Problems) -> Array:
    slot, fill = block.slots[at], block.fills[at]
    column = None if slot.field.kind is None else read(events, slot.field)
    null = np.ones(len(events), dtype=np.bool_) if column is None else column.null
    values = packed([""]).repeat(len(events)) if column is None else column.values
    if null is None:
        return values
    if fill is None:
        _note(problems, null, "missing_field", f"{slot.label} is absent or null")
        return values
    given = packed([fill])
    dtype = wide_enough([values, given])
    return np.where(null, as_type(given, dtype), as_type(values, dtype))


def _check(work: Array, block: Block, nulls: list[tuple[int, npt.NDArray[np.bool_]]], problems: Problems) -> None:
    """Finds numbers that are not finite or out of range; fillers at nulls are not looked at."""
    inside = (work >= block.lowest) & (work <= block.highest)
    if inside.all():
        return
    for at, null in nulls:
        inside[at] |= null
    for at in np.flatnonzero(~inside.all(axis=1)).tolist():
        slot, outside = block.slots[at], ~inside[at]
        endless = outside & ~np.isfinite(work[at])
        _note(problems, endless, "non_finite", f"{slot.label} is NaN or infinite")
        _note(problems, outside & ~endless, "out_of_range", f"{slot.label} is outside {_shown(block, at)}")


def _cast(work: Array, block: Block, problems: Problems) -> Array:
    """Rounds once to the tensor's type; finds what does not fit."""
    if block.text or block.dtype == work.dtype:
        return work
    if block.exact:
        info = np.iinfo(block.dtype)
        unfit = (work < info.min) | (work > info.max)
        cast = work.astype(block.dtype)
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            cast = work.astype(block.dtype)
        unfit = np.isinf(cast)
        if unfit.any():
            unfit &= np.isfinite(work)
    if unfit.any():
        for at in np.flatnonzero(unfit.any(axis=1)).tolist():
            _note(problems, unfit[at], "out_of_range", f"{block.slots[at].label} does not fit {block.dtype}")
    return cast


def _whole(column: Column, slot: Slot, problems: Problems) -> Array:
    """Floating-point numbers for an integer input: whole ones within 64 bits, all others are rejected."""
    values = column.values
    with np.errstate(invalid="ignore"):
        fits = (np.floor(values) == values) & (values >= -(2.0**63)) & (values < 2.0**63)
    null = column.null if column.null is not None else np.zeros(len(values), dtype=np.bool_)
    unfit = ~fits & ~null
    _note(problems, unfit & ~np.isfinite(values), "non_finite", f"{slot.label} is NaN or infinite")
    _note(problems, unfit, "out_of_range", f"{slot.label} is not a whole number of 64 bits")
    return np.where(fits, values, 0.0).astype(np.int64)


def _pad(padded: Padded, events: Events, problems: Problems) -> Array:
    """A padded array, [n, length]: longer ones are cut, shorter ones padded."""
    n, slot, block = len(events), padded.block.slots[0], padded.block
    pad = packed([padded.pad]) if block.text else np.array([padded.pad], dtype=block.dtype)
    if slot.field.kind is None:
        _note(problems, np.ones(n, dtype=np.bool_), "missing_field", f"{slot.label} is absent or null")
        return pad.repeat(n * padded.length).reshape(n, padded.length)
    column = read(events, slot.field)
    assert column.lengths is not None
    if column.null is not None:
        _note(problems, column.null, "missing_field", f"{slot.label} is absent or null")
    items, kept = column.values, np.minimum(column.lengths, padded.length)
    if (column.lengths > padded.length).any():
        starts = np.cumsum(column.lengths) - column.lengths
        items = items[np.arange(len(items)) - np.repeat(starts, column.lengths) < padded.length]
    filled = np.arange(padded.length) < kept[:, None]
    of_items: Problems = {}
    if column.null_items:
        null = np.array([item is None for item in items], dtype=np.bool_)
        _note(of_items, null, "missing_field", f"{slot.label} holds a null item")
        items = np.where(null, block.filler, items)
    if block.exact and slot.field.kind is Kind.NUMBER:
        items = _whole(Column(items.astype(np.float64), None), slot, of_items)
    work = (items if block.text else items.astype(block.work, copy=False)).reshape(1, -1)
    if block.bounded:
        _check(work, block, [], of_items)
    cast = _cast(work, block, of_items)[0]
    out = np.empty((n, padded.length), dtype=wide_enough([pad, cast]) if block.text else block.dtype)
    out.fill(as_type(pad, out.dtype)[0])  # np.full takes four times as long
    out[filled] = as_type(cast, out.dtype)
    for at in sorted(of_items):
        problems.setdefault(int(np.searchsorted(np.cumsum(kept), at, side="right")), of_items[at])
    return out


def _identity(events: Events, field: Field, problems: Problems) -> Texts:
    if field.kind is Kind.TEXT:
        values, null = text_column(events, field)
    else:
        column = read(events, field)
        values, null = [str(number) for number in column.values.tolist()], column.null
    if null is not None:
        _note(problems, null, "missing_field", f"{'.'.join(field.path)} is null")
    return values


def _occurred_at(
    events: Events, field: Field, timestamps: npt.NDArray[np.int64], problems: Problems
) -> npt.NDArray[np.int64]:
    column = read(events, field)
    label = ".".join(field.path)
    if column.null is not None:
        _note(problems, column.null, "missing_field", f"{label} is null")
    scale = _PER_MS.get(field.logical.rpartition("timestamp-")[2], 1)
    values: npt.NDArray[np.int64] = column.values if scale == 1 else column.values // scale
    ahead = (values > timestamps + FUTURE_MS_MAX) & (timestamps >= 0)  # -1: the record has no timestamp to compare with
    if ahead.any():
        _note(problems, ahead, "in_future", f"{label} is more than a day ahead of the record's timestamp")
    return values


def _note(problems: Problems, where: Any, reason: str, detail: str) -> None:
    for at in np.flatnonzero(where).tolist():
        problems.setdefault(at, (reason, detail))


def _shown(block: Block, at: int) -> str:
    return f"[{block.lowest[at, 0]:g}, {block.highest[at, 0]:g}]"
