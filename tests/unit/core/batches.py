"""Schemas, batches and decoded events, made in a line or two for a test."""

from __future__ import annotations

import json
from collections.abc import Sequence
from io import BytesIO
from typing import Any, Literal

import fastavro
import numpy as np

from scorer.core.decode import Events, by_column
from scorer.core.records import Closed, Headers, RecordBatch, Rejection
from scorer.core.schema import WriterSchema, writer_schema
from scorer.core.strict import record_decoder
from scorer.core.wire import PREFIX_BYTES, prefix

Way = Literal["by record", "by column"]
WAYS: tuple[Way, Way] = ("by record", "by column")

IDENTITY = (("event_id", "string"), ("lead_id", "string"), ("occurred_at", "long"))
"""Fields that every event of these tests begins with."""


def record_schema(*fields: tuple[str, Any], schema_id: int = 1, name: str = "R") -> WriterSchema:
    """A writer schema with these fields."""
    raw = {"type": "record", "name": name, "fields": [{"name": field, "type": kind} for field, kind in fields]}
    return writer_schema(schema_id, json.dumps(raw))


def event_schema(*fields: tuple[str, Any], schema_id: int = 1) -> WriterSchema:
    """A writer schema of events: identity first, then these fields."""
    return record_schema(*IDENTITY, *fields, schema_id=schema_id)


def event(number: int = 0, /, **fields: Any) -> dict[str, Any]:
    """An event's record, with an identity made of a number."""
    return {"event_id": f"e{number}", "lead_id": f"l{number}", "occurred_at": 1000 + number, **fields}


def framed(schema: WriterSchema, record: dict[str, Any]) -> bytes:
    """A record in the wire format, written by fastavro."""
    out = BytesIO()
    out.write(prefix(schema.id))
    fastavro.schemaless_writer(out, schema.parsed, record)
    return out.getvalue()


def batch_of(
    values: Sequence[bytes | None],
    *,
    partitions: Sequence[int] | None = None,
    offsets: Sequence[int] | None = None,
    timestamps: Sequence[int] | None = None,
    headers: Sequence[Headers | None] | None = None,
) -> RecordBatch:
    """A batch of one partition, offsets from 100 on, timestamps from 5,000 on."""
    n = len(values)
    return RecordBatch(
        "events",
        np.array([0] * n if partitions is None else partitions, dtype=np.int32),
        np.array(range(100, 100 + n) if offsets is None else offsets, dtype=np.int64),
        np.array(range(5000, 5000 + n) if timestamps is None else timestamps, dtype=np.int64),
        list(values),
        [None] * n,
        [None] * n if headers is None else headers,
        Closed.FULL,
    )


def events_of(schema: WriterSchema, records: Sequence[dict[str, Any]], way: Way) -> tuple[Events, RecordBatch]:
    """Records, written and decoded again, one way or the other."""
    values = [framed(schema, record) for record in records]
    decode = record_decoder(schema)
    table = by_column(values, schema) if way == "by column" else [decode(value, PREFIX_BYTES) for value in values]
    assert table is not None
    return Events(np.arange(len(values)), schema, table), batch_of(values)


def reasons(rejections: list[Rejection]) -> dict[int, str]:
    """Row to reason code."""
    assert len({rejection.row for rejection in rejections}) == len(rejections)
    return {rejection.row: rejection.reason for rejection in rejections}
