"""Reads a whole topic with kafka-python and fastavro."""

from __future__ import annotations

import io
import json
import struct
import time
import urllib.request
from collections.abc import Callable
from functools import cache
from typing import Any

import fastavro
from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from tests.oracle.record import Isolation, Record, Schemas

PREFIX = struct.Struct(">BI")
POLL_MS = 200
REGISTRY_WAIT_S_MAX = 10.0


def read_all(
    bootstrap: str,
    topic: str,
    schemas: Schemas,
    *,
    at_least: int = 0,
    isolation: Isolation = "read_committed",
    wait_s_max: float = 60.0,
) -> list[Record]:
    """Returns every record of `topic`, by partition and offset.

    Reads from the beginning until `at_least` records have come and nothing new follows them, so that records too many
    are seen as well as records too few. Under read_committed the topic ends where the first open transaction begins.

    Args:
        bootstrap: host:port of a broker.
        topic: of predictions, or of any Avro records in Confluent's wire format.
        schemas: where the writers' schemas are.
        at_least: how many records to wait for; 0 reads what is there now.
        isolation: Kafka's isolation.level.
        wait_s_max: for all of it.

    Raises:
        TimeoutError: `at_least` records did not come in time, or the end was not reached.
        ValueError: a value is not in Confluent's wire format, or is not exactly one datum of its schema.
        LookupError: the topic is not there.
    """
    deadline_s = time.monotonic() + wait_s_max
    schema_of = _lookup(schemas)
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level=isolation,
        enable_auto_commit=False,
        allow_auto_create_topics=False,
        max_poll_records=5_000,
    )
    try:
        return _read(consumer, topic, schema_of, at_least, deadline_s)
    finally:
        consumer.close(autocommit=False)


def decode(body: bytes, schema: Any) -> Any:
    """Decodes one Avro datum that must be all of `body`."""
    stream = io.BytesIO(body)
    try:
        value = fastavro.schemaless_reader(stream, schema)
    except (EOFError, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"not a datum of its schema: {error!r}") from error
    if stream.tell() != len(body):
        raise ValueError(f"{len(body) - stream.tell()} bytes follow the datum")
    return value


def _read(
    consumer: KafkaConsumer, topic: str, schema_of: Callable[[int], Any], at_least: int, deadline_s: float
) -> list[Record]:
    partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
    if not partitions:
        raise LookupError(f"there is no topic {topic}")
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    records: list[Record] = []
    ends: dict[TopicPartition, int] = {}
    while True:
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{topic}: {len(records)} records of {at_least}; ends: {ends}")
        if all((consumer.position(each, timeout_ms=POLL_MS) or 0) >= end for each, end in ends.items()):
            seen, ends = ends, consumer.end_offsets(partitions)
            if ends == seen and len(records) >= at_least:
                return sorted(records, key=lambda record: (record["partition"], record["offset"]))
        for batch in consumer.poll(timeout_ms=POLL_MS).values():
            records.extend(_record(each, schema_of) for each in batch)


def _record(read: ConsumerRecord, schema_of: Callable[[int], Any]) -> Record:
    schema_id = value = None
    if read.value is not None:
        try:
            schema_id, value = _decode_framed(read.value, schema_of)
        except ValueError as error:
            raise ValueError(f"{read.topic}/{read.partition}/{read.offset}: {error}") from error
    return Record(
        partition=read.partition,
        offset=read.offset,
        timestamp=read.timestamp,
        key=read.key,
        headers=list(read.headers),
        schema_id=schema_id,
        value=value,
    )


def _decode_framed(framed: bytes, schema_of: Callable[[int], Any]) -> tuple[int, dict[str, Any]]:
    if len(framed) < PREFIX.size or framed[0] != 0:
        raise ValueError(f"no zero byte and schema id in front: {framed[:8]!r}")
    schema_id = PREFIX.unpack_from(framed)[1]
    return schema_id, decode(framed[PREFIX.size :], schema_of(schema_id))


def _lookup(schemas: Schemas) -> Callable[[int], Any]:
    """Returns what gives the parsed schema of an id, each id asked for once."""
    # Never through a proxy that the environment names: the registry is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def text(schema_id: int) -> str:
        if not isinstance(schemas, str):
            return schemas[schema_id]
        with opener.open(f"{schemas}/schemas/ids/{schema_id}", timeout=REGISTRY_WAIT_S_MAX) as answer:
            return str(json.load(answer)["schema"])

    return cache(lambda schema_id: fastavro.parse_schema(_without_logical_types(json.loads(text(schema_id)))))


def _without_logical_types(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_logical_types(each) for each in schema]
    if isinstance(schema, dict):
        return {name: _without_logical_types(value) for name, value in schema.items() if name != "logicalType"}
    return schema
