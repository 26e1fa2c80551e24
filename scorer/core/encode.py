"""Predictions to bytes in the registry's wire format. Small batches by record (fastavro), large ones by column.

Both give the same bytes; a prediction that its schema cannot hold is a rejection, its neighbours are encoded. What a
schema holds is checked here: fastavro writes 1.5 into an int as 1, and pyruhvro a null into a string as "". A whole
number fits float and double; nothing else changes its sort on the way, and numbers must be finite.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from math import inf
from operator import call
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyruhvro

from scorer.core.columns import as_bytes
from scorer.core.compose import Constant, Predictions, Values
from scorer.core.records import Headers, Outbound, RecordBatch, Rejection, Stage
from scorer.core.schema import Node, WriterSchema
from scorer.core.strict import INT_MAX, INT_MIN
from scorer.core.wire import prefix

FLOAT_END = 2.0**128 - 2.0**103
"""From here on, a double rounds to an infinite float."""

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
    values = _by_column(predictions, writer) if len(predictions) >= writer.column_rows_min else None
    keys = as_bytes(predictions.keys)
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
        if not node.nullable:
            raise ValueError("nothing to write")
        return pa.nulls(n, kind)
    texts = pa.string() if isinstance(values, list) else None
    array = values if isinstance(values, pa.Array) else pa.array(values, texts)
    if array.type != kind:
        if not _converts(array.type, kind):
            raise TypeError(f"{array.type} is not written as {kind}")
        array = array.cast(kind)
    _demand(array, node)
    return array


def _converts(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether values keep their sort: what else Arrow would convert goes by record, and is rejected there."""
    is_ = pa.types
    if is_.is_list(wanted):
        return is_.is_list(found) and _converts(found.value_type, wanted.value_type)
    if is_.is_struct(wanted):
        same = is_.is_struct(found) and [f.name for f in found] == [f.name for f in wanted]
        return same and all(_converts(f.type, w.type) for f, w in zip(found, wanted, strict=True))
    if is_.is_floating(wanted):
        return bool(is_.is_integer(found) or is_.is_floating(found))
    return bool(found == wanted or (is_.is_integer(wanted) and is_.is_integer(found)))


def _demand(array: pa.Array, node: Node) -> None:
    """Raises ValueError where an array holds a null or an infinite number that its schema has no place for."""
    if array.null_count and not node.nullable:
        raise ValueError("null in a field that is not nullable")
    node = _of_union(node)
    if node.kind == "array":
        _demand(array.flatten(), node.branches[0])
    elif node.kind == "record":
        for at, child in enumerate(node.branches):
            _demand(array.field(at), child)
    elif pa.types.is_floating(array.type) and not pc.all(pc.is_finite(array)).as_py():
        raise ValueError("a number is not finite")


@lru_cache(maxsize=256)
def _repeated(value: str, kind: pa.DataType, n: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, kind), n)


def _arrow_type(node: Node) -> pa.DataType:
    node = _of_union(node)
    if node.kind == "array":
        return pa.list_(_arrow_type(node.branches[0]))
    if node.kind == "record":
        return pa.struct([(name, _arrow_type(child)) for name, child in node.fields])
    return _ARROW[node.kind]


def _of_union(node: Node) -> Node:
    if node.kind != "union":
        return node
    return next(branch for branch in node.branches if branch.kind != "null")


def _by_record(predictions: Predictions, writer: WriterSchema) -> tuple[list[bytes | None], list[Rejection]]:
    n, names, columns = len(predictions), [], []
    unfit: dict[int, str] = {}
    for name, kind, holds in _fields(writer):
        values = predictions.columns.get(name)
        column = [predictions.constants.get(name)] * n if values is None else _listed(values)
        names.append(name)
        columns.append(column)
        if not all(map(holds, column[:1] if values is None else column)):
            for at in (at for at, value in enumerate(column) if not holds(value)):
                unfit.setdefault(at, f"{name} does not fit {kind}")
    start = prefix(writer.id)
    encoded: list[bytes | None] = []
    rejections: list[Rejection] = []
    for at, row in enumerate(zip(*columns, strict=True)):
        body = unfit.get(at) or _record(dict(zip(names, row, strict=True)), writer, start)
        if isinstance(body, str):
            encoded.append(None)
            rejections.append(Rejection(int(predictions.rows[at]), Stage.ENCODE, "unencodable", body))
        else:
            encoded.append(body)
    return encoded, rejections


def _listed(values: Values) -> list[Any]:
    if isinstance(values, list):
        return values
    return list(values.to_pylist() if isinstance(values, pa.Array) else values.tolist())


def _record(record: dict[str, Any], writer: WriterSchema, start: bytes) -> bytes | str:
    """One prediction in the wire format, or for people why its schema cannot hold it."""
    body = BytesIO()
    body.write(start)
    try:
        fastavro.schemaless_writer(body, writer.parsed, record)
    except Exception as error:  # fastavro raises many types; the message may quote the payload
        return f"fastavro: {type(error).__name__}"
    return body.getvalue()


@lru_cache(maxsize=64)
def _fields(writer: WriterSchema) -> list[tuple[str, str, Callable[[Any], bool]]]:
    return [(name, node.kind, _holder(node)) for name, node in writer.root.fields]


def _holder(node: Node) -> Callable[[Any], bool]:
    """Whether a Python value is one of the node's, by its very type: no bool for an int, no int for a bool."""
    inner = [_holder(branch) for branch in node.branches]
    names = dict(node.fields)
    holders: dict[str, Callable[[Any], bool]] = {
        "null": lambda value: value is None,
        "boolean": lambda value: type(value) is bool,
        "int": lambda value: type(value) is int and INT_MIN <= value <= INT_MAX,
        "long": lambda value: type(value) is int and -(1 << 63) <= value < 1 << 63,
        "float": lambda value: type(value) in (float, int) and abs(value) < FLOAT_END,
        "double": lambda value: type(value) in (float, int) and abs(value) < inf,
        "string": lambda value: type(value) is str,
        "enum": lambda value: value in node.symbols,
        "array": lambda value: type(value) is list and all(map(inner[0], value)),
        "union": lambda value: any(holds(value) for holds in inner),
        "record": lambda value: (
            type(value) is dict and value.keys() <= names.keys() and all(map(call, inner, map(value.get, names)))
        ),
    }
    return holders.get(node.kind, lambda _: False)


def _take(predictions: Predictions, name: str) -> Any:
    found = predictions.columns.get(name)
    return predictions.constants.get(name) if found is None else found


def _traced(headers: Headers | None) -> Headers:
    return [(key, value) for key, value in headers or [] if key in TRACE_HEADERS]
