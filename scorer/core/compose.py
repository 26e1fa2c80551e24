"""Outputs and provenance to the columns of the prediction's schema.

A prediction is a pure function of the event and the bundle; `lane`, the build and `scored_at` say in which run it was
made. Its id is <model>/<version>/<topic>/<partition>/<offset>: the same input and model always give the same id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scorer.core.columns import Texts
from scorer.core.contract import Contract, OutputRule
from scorer.core.features import Features
from scorer.core.model import Model
from scorer.core.packed import Array
from scorer.core.records import VECTOR_ROWS_MIN, RecordBatch, Rows

DIGEST_BYTES = 8

PROVENANCE: Mapping[str, tuple[str, ...]] = {
    "prediction_id": ("string",),
    "event_id": ("string",),
    "model_name": ("string",),
    "model_version": ("string",),
    "model_sha256": ("string",),
    "source_topic": ("string",),
    "source_partition": ("int", "long"),
    "source_offset": ("long",),
    "source_timestamp": ("long",),
    "source_schema_id": ("int", "long"),
    "event_digest": ("string",),
    "lane": ("string",),
    "scorer_version": ("string",),
    "runtime": ("string",),
    "cpu_class": ("string",),
    "occurred_at": ("long",),
    "scored_at": ("long",),
}
"""Fields that every prediction's schema has, besides the entity's, and the Avro types that they may have."""

Constant = str | int
Values: TypeAlias = Any
"""A column: an Arrow array, a numpy array or a list of strings."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who scores: the same for all predictions of a process."""

    lane: str
    scorer_version: str
    runtime: str
    cpu_class: str


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions as columns by field name.

    Attributes:
        rows: rows of the RecordBatch, [n].
        columns: what varies, each of length n. A list of records is an Arrow list of structs.
        constants: what is the same for all.
        keys: entity ids, [n].
    """

    rows: Rows
    columns: Mapping[str, Values]
    constants: Mapping[str, Constant]
    keys: Texts

    def __len__(self) -> int:
        return len(self.rows)


def compose(
    features: Features,
    outputs: Mapping[str, Array],
    batch: RecordBatch,
    model: Model,
    *,
    origin: Origin,
    now_ms: int,
) -> Predictions:
    """Makes the columns of n predictions.

    Args:
        features: who each row is about.
        outputs: ONNX output to array, first axis n.
        batch: where the rows come from.
        model: for the contract and the bundle's identity.
        origin: who scores.
        now_ms: when, milliseconds since the epoch.
    """
    contract, rows = model.contract, features.rows
    partitions, offsets = batch.partitions[rows], batch.offsets[rows]
    start = f"{contract.name}/{contract.version}/{batch.topic}"
    columns: dict[str, Values] = {
        "prediction_id": _ids(start, partitions, offsets),
        "event_id": features.event_id,
        contract.entity.rpartition(".")[2]: features.entity,
        "source_partition": partitions,
        "source_offset": offsets,
        "source_timestamp": batch.timestamps[rows],
        "source_schema_id": features.schema_ids,
        "event_digest": _digests([batch.values[row] or b"" for row in rows.tolist()]),
        "occurred_at": features.occurred_at,
    }
    for rule in contract.outputs:
        columns[rule.field] = _output(rule, outputs, contract)
    constants = _constants(model, batch.topic, origin, now_ms)
    return Predictions(rows, columns, constants, features.entity)


def _ids(start: str, partitions: Array, offsets: Array) -> Texts:
    if len(offsets) < VECTOR_ROWS_MIN:
        return [f"{start}/{p}/{o}" for p, o in zip(partitions.tolist(), offsets.tolist(), strict=True)]
    numbers = pa.array(partitions).cast(pa.string()), pa.array(offsets).cast(pa.string())
    return pc.binary_join_element_wise(pa.scalar(start), *numbers, "/")


def digest(value: bytes) -> str:
    """Tells one event's bytes from another's: BLAKE2b of 8 bytes over the record's value, in hex."""
    return hashlib.blake2b(value, digest_size=DIGEST_BYTES).hexdigest()


def _digests(values: list[bytes]) -> Texts:
    """The same of each; hex is made of all digests at once, which takes a fifth less."""
    if len(values) < VECTOR_ROWS_MIN:
        return [digest(value) for value in values]
    raw = b"".join([hashlib.blake2b(value, digest_size=DIGEST_BYTES).digest() for value in values])
    starts = np.arange(len(values) + 1, dtype=np.int32) * (2 * DIGEST_BYTES)
    return pa.StringArray.from_buffers(len(values), pa.py_buffer(starts), pa.py_buffer(raw.hex().encode()))


def _constants(model: Model, topic: str, origin: Origin, now_ms: int) -> dict[str, Constant]:
    contract = model.contract
    return {
        "model_name": contract.name,
        "model_version": contract.version,
        "model_sha256": model.bundle.sha256,
        "source_topic": topic,
        "lane": origin.lane,
        "scorer_version": origin.scorer_version,
        "runtime": origin.runtime,
        "cpu_class": origin.cpu_class,
        "scored_at": now_ms,
    }


def _output(rule: OutputRule, outputs: Mapping[str, Array], contract: Contract) -> Values:
    if rule.each:
        return _records(rule, outputs)
    if rule.of:
        scored = next(other for other in contract.outputs if other.field == rule.of)
        return _binned(rule, _column(scored, outputs))
    return _column(rule, outputs)


def _column(rule: OutputRule, outputs: Mapping[str, Array]) -> Array:
    array = outputs[rule.source]
    if rule.column is not None:
        return np.ascontiguousarray(array[:, rule.column])
    return array.reshape(len(array)) if array.ndim == 2 and array.shape[1] == 1 else array


def _binned(rule: OutputRule, scores: Array) -> Texts:
    """The label of the highest bound that a score reaches; the lowest bin takes all that is left."""
    labels, column, bounds = _bins(rule)
    reached = bounds.searchsorted(scores.astype(np.float64), side="right")
    if len(scores) < VECTOR_ROWS_MIN:
        return [labels[at] for at in reached.tolist()]
    return column.take(pa.array(reached))


@lru_cache(maxsize=64)
def _bins(rule: OutputRule) -> tuple[list[str], pa.StringArray, Array]:
    """Labels, twice, and the bounds between them, lowest first."""
    lowest_first = rule.bins[::-1]
    labels = [label for label, _ in lowest_first]
    return labels, pa.array(labels), np.array([bound for _, bound in lowest_first[1:]])


def _records(rule: OutputRule, outputs: Mapping[str, Array]) -> pa.ListArray:
    """One Arrow list of structs from ONNX outputs of shape [n, k]."""
    arrays = [outputs[source] for _, source in rule.each]
    n, k = arrays[0].shape
    flat = [pa.array(array.reshape(-1)) for array in arrays]
    items = pa.StructArray.from_arrays(flat, names=[name for name, _ in rule.each])
    return pa.ListArray.from_arrays(pa.array(np.arange(n + 1, dtype=np.int32) * k), items)
