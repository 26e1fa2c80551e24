"""What `scorer verify` and its like say, and topics published again with something changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro

from tests.harness.topics import PARTITIONS, Raw, register, schemas_of, send, shipped_schema
from tests.harness.workers import scorer

Change = Callable[[dict[str, Any]], None]


def told(config: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of a command."""
    ended = scorer(*arguments, "--config", str(config), "--json", cwd=config.parent)
    assert ended.returncode in (0, 8), ended.stderr
    return ended.returncode, json.loads(ended.stdout)


def changed(registry: str, record: Raw, change: Change) -> Raw:
    """A prediction with something changed in it, in the same place."""
    assert record.value is not None
    ((schema_id, schema),) = schemas_of(registry, [record]).items()
    parsed = fastavro.parse_schema(schema)
    own = fastavro.schemaless_reader(BytesIO(record.value[5:]), parsed)
    change(own)
    body = BytesIO()
    fastavro.schemaless_writer(body, parsed, own)
    return as_value(record, b"\0" + schema_id.to_bytes(4) + body.getvalue())


def as_value(record: Raw, value: bytes | None) -> Raw:
    """The same record with another value."""
    return Raw(record.topic, record.partition, record.offset, record.timestamp, record.key, value, record.headers)


def republish(kafka: str, topic: str, records: Iterable[Raw]) -> int:
    """Sends records to another topic, each to its own partition with its own time."""
    return send(kafka, topic, (_message(each) for each in records))


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
