"""What tests of sinks need: predictions made by hand, `scorer sink sql` processes, and the tables computed anew.

`tables_of` is the independent computation: plain Python over records as any subscriber gets them (kafka-python and
fastavro), with none of the sink's code.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fastavro
import numpy as np

from scorer.core.records import Closed, RecordBatch
from scorer.core.schema import WriterSchema, writer_schema
from tests.harness.events import encoder
from tests.harness.topics import shipped_schema
from tests.harness.workers import LEASH, Worker, environment

SCHEMAS = {"lead": "predictions.lead-score", "login": "predictions.recommendation"}
ENTITIES = {"lead": "lead_id", "login": "customer_id"}
ITEMS = {"lead": [], "login": ["items"]}
TIMES = ("source_timestamp", "occurred_at", "scored_at")
NEWEST = ("occurred_at", "source_timestamp", "source_partition", "source_offset")
START_MS = 1_700_000_000_000

Prediction = dict[str, Any]
Row = tuple[Any, ...]
Tables = dict[str, set[Row]]
"""Table name to its rows; a row is its columns by name, sorted by name."""


def prediction(kind: str, number: int, **more: Any) -> Prediction:
    """A prediction of the shipped schema; `more` are other values of its fields."""
    own: Prediction = {"score": 0.5, "bucket": "B"}
    if kind == "login":
        own = {"items": [{"product_code": f"P{at}", "score": 1.5 - at} for at in range(3)]}
    stream = {"lead": "events.new-lead", "login": "events.login"}[kind]
    given = {
        "event_id": f"event-{number}",
        ENTITIES[kind]: f"entity-{number}",
        **own,
        "model_name": kind,
        "model_version": "1",
        "model_sha256": "a" * 64,
        "source_topic": stream,
        "source_partition": number % 4,
        "source_offset": number // 4,
        "source_timestamp": START_MS + number,
        "source_schema_id": 1,
        "event_digest": f"{number:016x}",
        "lane": "live",
        "scorer_version": "0",
        "runtime": "onnxruntime 1",
        "cpu_class": "x86_64",
        "occurred_at": START_MS + number * 1000,
        "scored_at": START_MS + number + 5,
        **more,
    }
    if "prediction_id" not in given:
        where = f"{given['source_topic']}/{given['source_partition']}/{given['source_offset']}"
        given["prediction_id"] = f"{given['model_name']}/{given['model_version']}/{where}"
    return given


def schema_of(kind: str, schema_id: int = 1) -> WriterSchema:
    """The shipped schema of a kind's predictions."""
    return writer_schema(schema_id, json.dumps(shipped_schema(SCHEMAS[kind])))


def encoded(kind: str, predictions: Sequence[Prediction]) -> list[tuple[bytes, bytes]]:
    """Keys and values."""
    encode = encoder(1, shipped_schema(SCHEMAS[kind]))
    return [(str(each[ENTITIES[kind]]).encode(), encode(each)) for each in predictions]


def record_batch(
    records: Sequence[tuple[bytes | None, bytes | None]],
    *,
    topic: str = "predictions.x",
    first: int = 0,
    partition: int = 0,
) -> RecordBatch:
    """Records of one partition, from an offset on."""
    n = len(records)
    return RecordBatch(
        topic,
        np.full(n, partition, np.int32),
        np.arange(first, first + n, dtype=np.int64),
        np.full(n, START_MS, np.int64),
        [value for _, value in records],
        [key for key, _ in records],
        [None] * n,
        Closed.IDLE,
    )


def tables_of(base: str, kind: str, records: Sequence[Any], schemas: Mapping[int, Any]) -> Tables:
    """The tables that these raw predictions (topics.Raw) should come to, whatever their order."""
    parsed = {schema_id: fastavro.parse_schema(schema) for schema_id, schema in schemas.items()}
    entity, found = ENTITIES[kind], Tables()
    history: dict[str, Prediction] = {}
    latest: dict[str, Prediction] = {}
    for record in records:
        import io

        each: Any = fastavro.schemaless_reader(
            io.BytesIO(record.value[5:]), parsed[int.from_bytes(record.value[1:5])], None
        )
        history.setdefault(each["prediction_id"], each)
        known = latest.get(each[entity])
        if known is None or [each[name] for name in NEWEST] > [known[name] for name in NEWEST]:
            latest[each[entity]] = each
    for table, rows, key in ((base, latest, entity), (f"{base}_history", history, "prediction_id")):
        found[table] = {_row(each, ITEMS[kind]) for each in rows.values()}
        for name in ITEMS[kind]:
            found[f"{table}_{name}"] = {
                _row({key: each[key], "item_rank": rank, **item}, [])
                for each in rows.values()
                for rank, item in enumerate(each[name], 1)
            }
    return found


def _row(values: Mapping[str, Any], lists: Sequence[str]) -> Row:
    return tuple(_plain(value) for name, value in sorted(values.items()) if name not in lists)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(np.float32(value))  # PostgreSQL's clients read a real's digits as a double's
    return int(value.timestamp() * 1000 + 0.5) if isinstance(value, datetime) else value


def sqlite_tables(path: Path, names: Sequence[str]) -> Tables:
    """The same from a SQLite file."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        found = {name: connection.execute(f"SELECT * FROM {name}") for name in names}
        return {name: _rows(cursor, cursor.fetchall()) for name, cursor in found.items()}


def postgres_tables(connection: Any, names: Sequence[str]) -> Tables:
    """The same from a PostgreSQL database."""
    found: Tables = {}
    for name in names:
        cursor = connection.execute(f"SELECT * FROM {name}")
        found[name] = _rows(cursor, cursor.fetchall())
    return found


def _rows(cursor: Any, rows: Sequence[Row]) -> set[Row]:
    names = [column[0] for column in cursor.description]
    found = {
        tuple(_plain(_time(value) if name in TIMES else value) for name, value in sorted(zip(names, row, strict=True)))
        for row in rows
    }
    assert len(found) == len(rows), "a table holds two equal rows"
    return found


def _time(value: Any) -> datetime:
    if isinstance(value, str):
        assert len(value) == 24, value
        assert value.endswith("Z"), value
        return datetime.fromisoformat(value)
    assert value.tzinfo is not None
    return datetime.fromtimestamp(value.timestamp(), UTC)


@contextmanager
def sink(config: Path, stream: str, *arguments: str, port: int = 0, name: str = "sink") -> Iterator[Worker]:
    """Starts `scorer sink sql` and ends it when the block is left. `port` is where it tells its health."""
    log = config.with_name(f"{name}.log")
    command = [sys.executable, "-m", "scorer", "sink", "sql", stream, "--config", str(config), *arguments]
    with log.open("ab") as output:
        leash = subprocess.Popen(
            [sys.executable, "-I", "-S", str(LEASH), *command, "--set", f"sink.port={port or -1}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            cwd=config.parent,
            env=environment(),
        )
    assert leash.stdout is not None
    started = Worker(config, [port], log, int(leash.stdout.readline()), leash)
    try:
        yield started
    finally:
        started.end()
