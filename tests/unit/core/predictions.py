"""Predictions made without a model, and schemas for them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from scorer.core.compose import PROVENANCE, Origin, Predictions
from scorer.core.encode import encode
from scorer.core.features import Features
from scorer.core.records import VECTOR_ROWS_MIN, Outbound, Rejection
from scorer.core.schema import WriterSchema, writer_schema
from scorer.core.strict import record_decoder
from tests.unit.core.batches import batch_of, record_schema

ORIGIN = Origin("live", "0.1.0", "onnxruntime 1", "avx512")


def features_of(rows: Sequence[int], tensors: Mapping[str, Any] | None = None) -> Features:
    """Who some rows are about: entity l<row>, event e<row>, occurred_at 1000 + row, schema 7."""
    n = len(rows)
    return Features(
        np.array(rows, dtype=np.intp),
        tensors or {},
        pa.array([f"l{row}" for row in rows], pa.string()),
        pa.array([f"e{row}" for row in rows], pa.string()),
        np.array([1000 + row for row in rows], dtype=np.int64),
        np.full(n, 7, dtype=np.int32),
    )


def predictions_of(columns: Mapping[str, Any], **constants: str | int) -> Predictions:
    """Predictions with these columns alone; keys are k0, k1 and so on, rows 10, 11 and so on."""
    n = len(next(iter(columns.values())))
    return Predictions(np.arange(10, 10 + n), columns, constants, pa.array([f"k{at}" for at in range(n)], pa.string()))


def prediction_schema(*fields: tuple[str, Any], schema_id: int = 3) -> WriterSchema:
    """A schema with all provenance fields, then these."""
    names = [("lead_id", "string"), *((name, kinds[0]) for name, kinds in PROVENANCE.items()), *fields]
    raw = {"type": "record", "name": "P", "fields": [{"name": name, "type": kind} for name, kind in names]}
    return writer_schema(schema_id, json.dumps(raw))


def listed(values: Any) -> list[Any]:
    """A column as Python values."""
    if isinstance(values, list):
        return values
    return list(values.to_pylist() if isinstance(values, pa.Array) else values.tolist())


def record_type(**fields: Any) -> dict[str, Any]:
    """An Avro record type with these fields."""
    made = [{"name": name, "type": kind} for name, kind in fields.items()]
    return {"type": "record", "name": "Item", "fields": made}


def items(n: int, codes: Any = None, scores: Any = None) -> pa.Array:
    """A column of lists: two records of code and score for each of n rows."""
    codes = pa.array([f"c{at}" for at in range(2 * n)]) if codes is None else codes
    scores = pa.array(np.arange(2 * n, dtype=np.float32)) if scores is None else scores
    flat = pa.StructArray.from_arrays([codes, scores], names=["code", "score"])
    return pa.ListArray.from_arrays(pa.array(np.arange(n + 1, dtype=np.int32) * 2), flat)


ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}
ITEM = record_type(code="string", score="float")
ITEMS = {"type": "array", "items": ITEM}
FEW, MANY = VECTOR_ROWS_MIN - 1, VECTOR_ROWS_MIN


def encoded(kind: Any, column: Any) -> tuple[Outbound, list[Rejection]]:
    """Predictions of one field a, as bytes."""
    batch = batch_of([b""] * (10 + len(column)))
    return encode(predictions_of({"a": column}), record_schema(("a", kind)), "out", batch)


def decoded(outbound: Outbound, writer: WriterSchema) -> list[Any]:
    """The records in what was encoded."""
    decode = record_decoder(writer)
    return [decode(value, 5) for value in outbound.values]
