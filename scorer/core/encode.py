"""Predictions to bytes in the registry's wire format. Small batches by record (fastavro), large ones by column.

Both give the same bytes; a prediction that its schema cannot hold is a rejection, its neighbours are encoded.
"""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyruhvro

from scorer.core.compose import Constant, Predictions, Values
from scorer.core.records import Headers, Outbound, RecordBatch, Rejection, Stage
from scorer.core.schema import Node, WriterSchema
from scorer.core.wire import prefix

COLUMN_ROWS_MIN = 12
"""From this many rows on, predictions are encoded by column. Measured: docs/why.md."""

TRACE_HEADERS = frozenset({"traceparent", "tracestate"})

_ARROW = {
    "string": pa.string(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "enum": pa.string(),
}


def encode(
    predictions: Predictions, writer: WriterSchema, topic: str, batch: RecordBatch, trace: bool = False
) -> tuple[Outbound, list[Rejection]]:
    """Encodes n predictions.

    Args:
        predictions: the columns.
        writer: the prediction's schema.
        topic: the output topic.
        batch: for the headers that are carried over.
        trace: whether to carry over `traceparent` and `tracestate`.
    """
    rows = predictions.rows
    rejections: list[Rejection] = []
    values = _by_column(predictions, writer) if len(predictions) >= COLUMN_ROWS_MIN else None
    keys: list[bytes] = predictions.keys.cast(pa.binary()).to_numpy(zero_copy_only=False).tolist()
    if values is None:
        encoded, rejections = _by_record(predictions, writer)
        good = np.array([at for at, value in enumerate(encoded) if value is not None], dtype=np.intp)
        values = [value for value in encoded if value is not None]
        rows, keys = rows[good], [keys[at] for at in good.tolist()]
    headers = [_traced(batch.headers[row]) for row in rows.tolist()] if trace else None
    return Outbound(topic, rows, keys, values, headers), rejections


def _by_column(predictions: Predictions, writer: WriterSchema) -> list[bytes] | None:
    """All values, or None where a field does not convert or the schema is by record only."""
    if writer.by_record_only is not None:
        return None
    n = len(predictions)
    try:
        arrays = [_arrow(_take(predictions, name), node, n) for name, node in writer.root.fields]
        table = pa.RecordBatch.from_arrays(arrays, names=[name for name, _ in writer.root.fields])
        (bodies,) = pyruhvro.serialize_record_batch(table, writer.text, 1)
        framed = pc.binary_join_element_wise(pa.scalar(prefix(writer.id), pa.binary()), bodies, b"")
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # a Rust panic arrives as PanicException, which is no Exception
        return None
    values: list[bytes] = framed.to_numpy(zero_copy_only=False).tolist()
    return values


def _arrow(values: Values | Constant | None, node: Node, n: int) -> pa.Array:
    kind = _arrow_type(node)
    if isinstance(values, (str, int)):
        return _repeated(values, kind, n) if isinstance(values, str) else pa.repeat(pa.scalar(values, kind), n)
    if values is None:
        return pa.nulls(n, kind)
    array = values if isinstance(values, pa.Array) else pa.array(values)
    return array if array.type == kind else array.cast(kind)


@lru_cache(maxsize=256)
def _repeated(value: str, kind: pa.DataType, n: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, kind), n)


def _arrow_type(node: Node) -> pa.DataType:
    if node.kind == "union":
        return _arrow_type(next(branch for branch in node.branches if branch.kind != "null"))
    if node.kind == "array":
        return pa.list_(_arrow_type(node.branches[0]))
    if node.kind == "record":
        return pa.struct([(name, _arrow_type(child)) for name, child in node.fields])
    return _ARROW[node.kind]


def _by_record(predictions: Predictions, writer: WriterSchema) -> tuple[list[bytes | None], list[Rejection]]:
    lists = {
        name: (values.to_pylist() if isinstance(values, pa.Array) else list(values.tolist()))
        if not isinstance(values, list)
        else values
        for name, values in predictions.columns.items()
    }
    names = [name for name, _ in writer.root.fields]
    first = {name: predictions.constants.get(name) for name in names}
    varying = [name for name in names if name in lists]
    encoded: list[bytes | None] = []
    rejections: list[Rejection] = []
    head, parsed = prefix(writer.id), writer.parsed
    for at in range(len(predictions)):
        record = {**first, **{name: lists[name][at] for name in varying}}
        body = BytesIO()
        body.write(head)
        try:
            fastavro.schemaless_writer(body, parsed, record, strict=True)
            encoded.append(body.getvalue())
        except Exception as error:  # fastavro raises many types; the message may quote the payload
            encoded.append(None)
            row = int(predictions.rows[at])
            rejections.append(Rejection(row, Stage.ENCODE, "unencodable", f"fastavro: {type(error).__name__}"))
    return encoded, rejections


def _take(predictions: Predictions, name: str) -> Any:
    found = predictions.columns.get(name)
    return predictions.constants.get(name) if found is None else found


def _traced(headers: Headers | None) -> Headers:
    return [(key, value) for key, value in headers or [] if key in TRACE_HEADERS]
