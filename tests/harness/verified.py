"""What `scorer verify` and its like say, and topics published again with something changed."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from tests.harness.bundles import lead_bundle
from tests.harness.lead_stream import LeadStream, lead_stream
from tests.harness.topics import PARTITIONS, WAIT_S_MAX, Raw, read_raw, register, schemas_of, send, shipped_schema
from tests.harness.workers import scorer, worker

SECOND_BOUNDS = "A = 0.4, B = 0.2, C = 0.05, D = 0.0"
EACH = 300
"""Leads before the deployment, and behind it."""
BAD, TOMBSTONES = 5, 3


@dataclass(frozen=True, slots=True)
class Lived:
    """A stream that was scored, by `second` from a boundary on, and whose worker has ended."""

    stream: LeadStream
    config: Path
    second: Path
    predictions: list[Raw]


@contextmanager
def lived(kafka: str, registry: str, folder: Path, *, each: int = EACH) -> Iterator[Lived]:
    """Lets a worker score so many leads, what is none, a deployment, and so many more."""
    second = lead_bundle(folder, "2", SECOND_BOUNDS)
    with lead_stream(kafka, registry, folder) as it:
        config = it.settings()
        with worker(config) as started:
            started.wait_ready()
            it.send(each)
            it.send_values([b"no lead"] * BAD)
            it.send_values([None] * TOMBSTONES)
            it.predictions(each)
            ended = scorer("deploy", "lead", str(second), "--why", "better", "--config", str(config), cwd=folder)
            assert ended.returncode == 0, ended.stderr
            started.until(lambda: started.events("deployment.ready"), "ready for the second")
            it.send(each, seed=2)
            it.predictions(2 * each)
            it.letters(BAD)
            started.signal(signal.SIGTERM)
            assert started.wait() == 0
        yield Lived(it, config, second, read_raw(kafka, it.topics.predictions, 2 * each))


Change = Callable[[dict[str, Any]], None]


def told(config: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of a command."""
    ended = scorer(*arguments, "--config", str(config), "--json", cwd=config.parent)
    assert ended.returncode in (0, 8), ended.stderr
    return ended.returncode, json.loads(ended.stdout)


def decoded(registry: str, record: Raw) -> dict[str, Any]:
    """A prediction's fields."""
    assert record.value is not None
    ((_, schema),) = schemas_of(registry, [record]).items()
    own: Any = fastavro.schemaless_reader(BytesIO(record.value[5:]), fastavro.parse_schema(schema))
    return dict(own)


def changed(registry: str, record: Raw, change: Change) -> Raw:
    """A prediction with something changed in it, in the same place."""
    ((schema_id, schema),) = schemas_of(registry, [record]).items()
    own = decoded(registry, record)
    change(own)
    body = BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(schema), own)
    return as_value(record, b"\0" + schema_id.to_bytes(4) + body.getvalue())


def as_value(record: Raw, value: bytes | None) -> Raw:
    """The same record with another value."""
    return Raw(record.topic, record.partition, record.offset, record.timestamp, record.key, value, record.headers)


def republish(kafka: str, topic: str, records: Iterable[Raw]) -> int:
    """Sends records to another topic, each to its own partition with its own time."""
    return send(kafka, topic, (_message(each) for each in records))


def make_topic(kafka: str, name: str) -> None:
    """Makes a topic, also where one of that name is still being deleted."""
    admin = AdminClient({"bootstrap.servers": kafka})
    deadline_s = time.monotonic() + WAIT_S_MAX
    while True:
        try:
            return admin.create_topics([NewTopic(name, PARTITIONS, 1)])[name].result(WAIT_S_MAX)
        except KafkaException:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.2)


def outlet(registry: str, topic: str) -> None:
    """Makes a topic known as one of lead scores."""
    register(registry, topic, shipped_schema("predictions.lead-score"))


def without(found: Sequence[Raw], at: int) -> list[Raw]:
    """All but one."""
    return [*found[:at], *found[at + 1 :]]


def _message(record: Raw) -> Mapping[str, Any]:
    return {
        "key": record.key,
        "value": record.value,
        "partition": record.partition % PARTITIONS,
        "timestamp": record.timestamp,
    }
