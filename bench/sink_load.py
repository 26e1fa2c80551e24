"""A million predictions as columns: as Kafka's records, as COPY's text, as Python's rows. The same every time."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyruhvro

from bench.stage import Stage
from scorer.core.schema import writer_schema
from scorer.core.wire import prefix

PARTITIONS = 4
ENCODE_ROWS = 50_000
ENTITY, KEY = "lead_id", "prediction_id"
TIMES = ("source_timestamp", "occurred_at", "scored_at")


def predictions(rows: int, leads: int) -> pa.Table:
    """Predictions as columns, in the order of events that came evenly to all partitions."""
    number, chance = np.arange(rows), np.random.default_rng(4)
    part, offset = number % PARTITIONS, number // PARTITIONS
    lead = number if leads >= rows else chance.integers(0, leads, rows)
    stamp = 1_700_000_000_000 + number

    def text(format_: str, *columns: Any) -> pa.Array:
        pieces = format_.split("{}")
        words = [
            each for piece, column in zip(pieces, columns, strict=False) for each in (piece, column.cast(pa.string()))
        ]
        return pc.binary_join_element_wise(*words, *pieces[len(columns) :], "")

    def same(value: str) -> pa.Array:
        return pa.array([value]).take(pa.array(np.zeros(rows, np.int64)))

    event = pa.array(number * 2_654_435_761 % 2**48)
    return pa.table(
        {
            KEY: text("lead/1/events.new-lead/{}/{}", pa.array(part), pa.array(offset)),
            "event_id": text("8c8c0b3e-7d84-5204-a686-{}", pc.utf8_lpad(event.cast(pa.string()), 12, "0")),
            ENTITY: text("lead-{}", pc.utf8_lpad(pa.array(lead).cast(pa.string()), 6, "0")),
            "score": pa.array(chance.random(rows, np.float32)),
            "bucket": pa.array(["A", "B", "C", "D"]).take(pa.array(chance.integers(0, 4, rows))),
            "model_name": same("lead"),
            "model_version": same("1"),
            "model_sha256": same("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            "source_topic": same("events.new-lead"),
            "source_partition": pa.array(part, pa.int32()),
            "source_offset": pa.array(offset, pa.int64()),
            "source_timestamp": pa.array(stamp, pa.int64()),
            "source_schema_id": pa.array(np.ones(rows, np.int32)),
            "event_digest": text("{}", pc.utf8_lpad(event.cast(pa.string()), 16, "0")),
            "lane": same("live"),
            "scorer_version": same("0.1.0"),
            "runtime": same("onnxruntime 1.32.0"),
            "cpu_class": same("x86_64-avx512"),
            "occurred_at": pa.array(stamp - 50, pa.int64()),
            "scored_at": pa.array(stamp + 5, pa.int64()),
        }
    )


def messages(stage: Stage, table: pa.Table) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values in the registry's wire format, encoded by column."""
    schema_id, text = stage.schema(stage.target)
    bare = writer_schema(schema_id, text).text
    for at in range(0, len(table), ENCODE_ROWS):
        part = table.slice(at, ENCODE_ROWS).combine_chunks()
        (bodies,) = pyruhvro.serialize_record_batch(part.to_batches()[0], bare, 1)
        head = prefix(schema_id)
        keys = part.column(ENTITY).cast(pa.binary()).to_pylist()
        yield from zip(keys, (head + body for body in bodies.to_pylist()), strict=True)


def as_csv(part: pa.Table) -> bytes:
    """Rows as COPY reads them."""
    for name in TIMES:
        times = part.column(name).cast(pa.timestamp("ms", "UTC"))
        part = part.set_column(part.schema.get_field_index(name), name, times)
    text = io.BytesIO()
    pa_csv.write_csv(part, text, pa_csv.WriteOptions(include_header=False))
    return text.getvalue()


def as_python(table: pa.Table, name: str) -> list[Any]:
    """A column as executemany takes it."""
    column = table.column(name)
    if name in TIMES:
        stamps = column.to_numpy().astype("datetime64[ms]")
        return [f"{text}Z" for text in np.datetime_as_string(stamps, unit="ms").tolist()]
    return list(column.to_pylist())
