"""A model's rehearsal before it serves: its golden rows must come out, whatever their batch-mates.

Bit for bit is promised on the runtime and CPU class that the card names; elsewhere golden rows hold within the
contract's relative tolerance. Batch invariance is bit for bit everywhere: it is about one machine at one time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import fastavro
import numpy as np

from scorer.core.assemble import assemble
from scorer.core.compose import Origin, compose
from scorer.core.decode import decode
from scorer.core.errors import ContractError
from scorer.core.features import Features
from scorer.core.model import Model, predict
from scorer.core.packed import Array
from scorer.core.records import Closed, RecordBatch, Rejection, Rows
from scorer.core.schema import WriterSchema
from scorer.core.wire import prefix, split_frames

ROWS = (1, 2, 3, 7, 64)
_ORIGIN = Origin("rehearsal", "", "", "")


@dataclass(frozen=True, slots=True)
class Golden:
    """One golden row: an event, and the prediction's output fields that it must give."""

    event: Mapping[str, Any]
    expect: Mapping[str, Any]


def golden_rows(model: Model) -> list[Golden]:
    """The bundle's golden rows.

    Raises:
        ContractError: golden.jsonl is empty or not one {"event": ..., "expect": ...} a line.
    """
    place = f"{model.bundle.place}: golden.jsonl"
    rows = []
    for number, line in enumerate(model.bundle.files["golden.jsonl"].decode("utf-8-sig").split("\n"), 1):
        if not line.strip():
            continue
        try:
            raw = json.loads(line)
        except ValueError as error:
            raise ContractError(f"{place} line {number} is no JSON: {error}") from error
        if not isinstance(raw, dict) or not all(isinstance(raw.get(key), dict) for key in ("event", "expect")):
            raise ContractError(f'{place} line {number} is not of the form {{"event": {{...}}, "expect": {{...}}}}')
        rows.append(Golden(raw["event"], raw["expect"]))
    if not rows:
        advice = f"write them with: scorer model golden {model.bundle.place} --events MADE_UP.jsonl --schema EVENT.avsc"
        raise ContractError(f"{place} has no rows; a model without them cannot be told from a broken one; {advice}")
    return rows


def golden_problems(model: Model, schema: WriterSchema, exact: bool) -> list[str]:
    """Golden rows that do not come out. `exact` asks for equal bits, else the contract's tolerance holds."""
    rows = golden_rows(model)
    tolerance = 0.0 if exact else model.contract.tolerance_relative
    try:
        found = outcomes(model, schema, [row.event for row in rows])
    except ContractError as error:
        return [str(error)]
    problems = []
    for at, (row, values) in enumerate(zip(rows, found, strict=True), 1):
        for field in dict.fromkeys((*values, *row.expect)):
            if field not in values:
                problems.append(f"golden row {at} expects {field}, which is no output of the contract")
            elif field not in row.expect:
                problems.append(f"golden row {at} does not say what to expect of {field}")
            elif not _equal(values[field], row.expect[field], tolerance):
                problems.append(f"golden row {at}: {field} is {values[field]!r}, expected {row.expect[field]!r}")
    return problems


def outcomes(model: Model, schema: WriterSchema, events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the model makes of some events: the prediction's output fields of each.

    Raises:
        ContractError: one of them is no event of the schema, or is rejected.
    """
    batch = _events_batch(events, schema)
    features, rejections = _features(batch, schema, model)
    outputs, kept, unscorable = predict(model, features.tensors, features.rows)
    if rejections or unscorable:
        first = (rejections + unscorable)[0]
        raise ContractError(f"golden row {first.row + 1} is rejected: {first.stage}, {first.reason}: {first.detail}")
    try:
        columns = compose(features.take(kept), outputs, batch, model, origin=_ORIGIN, now_ms=0).columns
    except (IndexError, ValueError) as error:  # widths that the ONNX file leaves open, and the contract has wrong
        shapes = ", ".join(f"{name} {array.shape}" for name, array in outputs.items())
        raise ContractError(f"the outputs do not fit the contract's [outputs]: {shapes}: {error}") from error
    fields = [rule.field for rule in model.contract.outputs]
    for rule in model.contract.outputs:
        if rule.source and columns[rule.field].ndim > 1:
            width = columns[rule.field].shape[1]
            raise ContractError(f"[outputs.{rule.field}] {rule.source} has {width} columns; say which column")
    lists = [_listed(columns[field]) for field in fields]
    return [dict(zip(fields, values, strict=True)) for values in zip(*lists, strict=True)]


def golden_batch(model: Model, schema: WriterSchema, rows: int) -> RecordBatch:
    """The golden rows' events as records, repeated to so many rows."""
    events = [row.event for row in golden_rows(model)]
    return _events_batch([events[at % len(events)] for at in range(rows)], schema)


def _listed(values: Any) -> list[Any]:
    """A column as Python values; float32 as the double of the same value."""
    if isinstance(values, list):
        return values
    return list(values.to_pylist() if hasattr(values, "to_pylist") else values.tolist())


def invariance_problems(model: Model, schema: WriterSchema, rows_max: int) -> list[str]:
    """Whether rows give the same bits alone, in batches of several sizes, permuted, and beside an outlier."""
    if model.contract.one_by_one:
        return []
    batch = _events_batch([row.event for row in golden_rows(model)], schema)
    features, _ = _features(batch, schema, model)
    if not len(features):
        return ["no golden row can be assembled, so the model cannot be rehearsed"]
    singly = [np.array([at]) for at in range(len(features))]
    alone = [_bits(model, {name: t[at] for name, t in features.tensors.items()}, at)[0] for at in singly]
    problems = _refused_batches(model, features)
    for size in (*ROWS, rows_max):
        order = np.arange(size) % len(features)
        for name, indices in (("in order", order), ("permuted", np.roll(order[::-1], 3))):
            problems += _differing(model, features, indices, alone, where=f"in a batch of {size}, {name}")
    problems += _outlier_problems(model, features, alone)
    return problems[:3]


def _refused_batches(model: Model, features: Features) -> list[str]:
    """A batch that the model refuses is served row by row: right, and far slower than anybody would expect."""
    order = np.arange(len(features) + 1) % len(features)
    try:
        found = model.session.run(list(model.wanted), {name: t[order] for name, t in features.tensors.items()})
    except Exception as error:  # ONNX Runtime's own errors share no base class
        why = str(error).splitlines()[0]
    else:
        shapes = {name: array.shape for name, array in zip(model.wanted, found, strict=True)}
        wrong = [f"{name} is {shape}" for name, shape in shapes.items() if shape[:1] != order.shape]
        if not wrong:
            return []
        why = ", ".join(wrong)
    return [f"a batch of {len(order)} golden rows fails ({why}); set one_by_one = true, or export an open batch axis"]


def _outlier_problems(model: Model, features: Features, alone: list[bytes]) -> list[str]:
    """Beside a row whose floating-point numbers are blown up nearly as far as their type allows."""
    order = np.append(0, np.arange(len(features)))
    tensors = {name: tensor[order] for name, tensor in features.tensors.items()}
    for tensor in tensors.values():
        if tensor.dtype.kind == "f":
            tensor[0] = np.sqrt(np.finfo(tensor.dtype).max)
    return _other_bits(_bits(model, tensors, order)[1:], order[1:], alone, "beside an outlier")


def _differing(model: Model, features: Features, indices: Rows, alone: list[bytes], *, where: str) -> list[str]:
    tensors = {name: tensor[indices] for name, tensor in features.tensors.items()}
    return _other_bits(_bits(model, tensors, indices), indices, alone, where)


def _other_bits(found: list[bytes], indices: Rows, alone: list[bytes], where: str) -> list[str]:
    for bits, index in zip(found, indices.tolist(), strict=True):
        if bits != alone[index]:
            return [f"golden row {index + 1} gives other bits {where} than alone; set one_by_one = true, or mend it"]
    return []


def _bits(model: Model, tensors: Mapping[str, Array], rows: Rows) -> list[bytes]:
    """What each row of a batch comes to; nothing for one that is rejected."""
    outputs, kept, _ = predict(model, tensors, rows)
    found = [b""] * len(rows)
    for position, at in enumerate(kept.tolist()):
        found[at] = _row_bits(outputs, position)
    return found


def _row_bits(outputs: Mapping[str, Any], at: int) -> bytes:
    rows = (array[at] for array in outputs.values())
    return b"|".join(
        str(row.tolist()).encode() if row.dtype.kind == "O" else row.tobytes() for row in map(np.asarray, rows)
    )


def _features(batch: RecordBatch, schema: WriterSchema, model: Model) -> tuple[Features, list[Rejection]]:
    frames = split_frames(batch.values, 1 << 30)
    events, undecodable = decode(batch, frames, {schema.id: schema})
    features, incomplete = assemble(events, batch, model.interface)
    return features, undecodable + incomplete


def _events_batch(events: Sequence[Mapping[str, Any]], schema: WriterSchema) -> RecordBatch:
    values: list[bytes | None] = []
    for number, event in enumerate(events, 1):
        body = BytesIO()
        body.write(prefix(schema.id))
        try:
            fastavro.schemaless_writer(body, schema.parsed, dict(event))
        except Exception as error:
            raise ContractError(f"golden row {number} is no event of schema {schema.id}: {error}") from error
        values.append(body.getvalue())
    n = len(values)
    stamps = np.full(n, 1 << 60, dtype=np.int64)  # far ahead, so that no golden row lies in the future
    nothing: list[Any] = [None] * n
    offsets = np.arange(n, dtype=np.int64)
    return RecordBatch("golden", np.zeros(n, np.int32), offsets, stamps, values, nothing, nothing, Closed.FULL)


def _equal(value: Any, wanted: Any, tolerance: float) -> bool:
    if isinstance(value, float) and isinstance(wanted, (int, float)) and not isinstance(wanted, bool):
        if not tolerance:
            return value.hex() == float(wanted).hex()  # 0.0 and -0.0 are equal and have other bits
        return value == wanted or abs(value - wanted) <= tolerance * max(abs(value), abs(wanted))
    if isinstance(value, list) and isinstance(wanted, list):
        pairs = zip(value, wanted, strict=False)
        return len(value) == len(wanted) and all(_equal(one, other, tolerance) for one, other in pairs)
    if isinstance(value, dict) and isinstance(wanted, dict):
        return value.keys() == wanted.keys() and all(_equal(value[key], wanted[key], tolerance) for key in value)
    return isinstance(value, bool) is isinstance(wanted, bool) and bool(value == wanted)
