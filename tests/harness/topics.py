"""Topics, schemas and records for tests, by clients and code that are not the scorer's.

Every test has its own topics, subjects and groups, so that one broker and one registry serve all of them.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from confluent_kafka import OFFSET_END, ConsumerGroupTopicPartitions, KafkaException, Producer
from confluent_kafka import TopicPartition as Position
from confluent_kafka.admin import AdminClient, NewTopic
from kafka import KafkaConsumer, TopicPartition

PARTITIONS = 4
DEPLOYMENTS = "scorer.deployments"
WAIT_S_MAX = 60.0
ROOT = Path(__file__).parents[2]

Headers = list[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class Raw:
    """A record as Kafka holds it; `timestamp` in milliseconds."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one stream, made for one test."""

    events: str
    predictions: str
    letters: str


def make_deployments(kafka: str, copies: int = 1) -> None:
    """Makes the topic of deployments: one for all tests of a broker, whose groups tell their entries apart."""
    admin = AdminClient(_client(kafka))  # kept: a client that is gone cancels what is under way
    with suppress(KafkaException):
        admin.create_topics([NewTopic(DEPLOYMENTS, 1, copies)], operation_timeout=30)[DEPLOYMENTS].result(WAIT_S_MAX)


@contextmanager
def stream_topics(kafka: str, *, delete: bool = True, copies: int = 1, **settings: str) -> Iterator[Topics]:
    """Makes the topics of a stream under names that no other test has, and deletes them when the block is left.

    `settings` are the output topic's, with underscores for dots. `delete` is off for a broker that ends with its test.
    `copies` is the replication factor.
    """
    mark = uuid.uuid4().hex[:12]
    made = Topics(f"events.{mark}", f"predictions.{mark}", f"events.{mark}.dead-letter")
    own = {name.replace("_", "."): value for name, value in settings.items()}
    admin = AdminClient(_client(kafka))
    wanted = [
        NewTopic(made.events, PARTITIONS, copies),
        NewTopic(made.predictions, PARTITIONS, copies, config=own),
        NewTopic(made.letters, PARTITIONS, copies),
    ]
    for future in admin.create_topics(wanted, operation_timeout=30).values():
        future.result(WAIT_S_MAX)
    make_deployments(kafka, copies)
    try:
        yield made
    finally:
        if delete:
            delete_topics(kafka, made.events, made.predictions, made.letters)


def delete_topics(kafka: str, *names: str) -> None:
    """Deletes topics; those that are not there are an error."""
    admin = AdminClient(_client(kafka))  # kept: a client that is gone cancels what is under way
    for future in admin.delete_topics(list(names), operation_timeout=30).values():
        future.result(WAIT_S_MAX)


def emptied(kafka: str, topic: str) -> None:
    """Deletes all that a topic holds, as retention does in time: transactions' markers as well."""
    admin = AdminClient(_client(kafka))  # kept: a client that is gone cancels what is under way
    for future in admin.delete_records([Position(topic, number, OFFSET_END) for number in range(PARTITIONS)]).values():
        future.result(WAIT_S_MAX)


def fresh_group() -> str:
    """A consumer group's prefix that no other test has."""
    return f"test-{uuid.uuid4().hex[:8]}"


def shipped_schema(name: str) -> dict[str, Any]:
    """A schema of the schemas/ folder."""
    schema: dict[str, Any] = json.loads((ROOT / "schemas" / f"{name}.avsc").read_text(encoding="utf-8"))
    return schema


def register(registry: str, topic: str, schema: Any, compatibility: str = "") -> int:
    """Registers the schema of a topic's values and returns its id; sets the subject's compatibility if given."""
    if topic != DEPLOYMENTS:  # each time: the next registry may have the port of one that is gone
        register(registry, DEPLOYMENTS, shipped_schema(DEPLOYMENTS), "FULL_TRANSITIVE")
    subject = f"{topic}-value"
    schema_id = int(ask(f"{registry}/subjects/{subject}/versions", {"schema": json.dumps(schema)})["id"])
    if compatibility:
        ask(f"{registry}/config/{subject}", {"compatibility": compatibility}, "PUT")
    return schema_id


def register_shipped(registry: str, topics: Topics, events: str, predictions: str) -> int:
    """Registers the shipped schemas for a stream's topics. Returns the id of the event's."""
    register(registry, topics.predictions, shipped_schema(predictions), "FULL_TRANSITIVE")
    return register(registry, topics.events, shipped_schema(events), "BACKWARD")


def ask(url: str, body: Any = None, method: str | None = None) -> Any:
    """JSON over HTTP, never through a proxy that the environment names."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=WAIT_S_MAX) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            raise AssertionError(f"{url} answers {error.code}: {error.read().decode(errors='replace')}") from error


def send(kafka: str, topic: str, messages: Iterable[Mapping[str, Any]], rate: float = 0.0) -> int:
    """Sends messages (produce()'s arguments: key, value, headers, timestamp) in order; returns how many were taken.

    `rate` paces them, in messages a second; 0 is as fast as they are taken. Keys go to partitions as Java's client
    sends them.
    """
    problems: list[str] = []
    producer = Producer({**_client(kafka), "partitioner": "murmur2_random", "linger.ms": 5, "acks": "all"})

    def delivered(error: Any, message: Any) -> None:
        if error is not None:
            problems.append(f"{message.topic()}: {error}")

    count, started_s = 0, time.monotonic()
    for message in messages:
        while True:
            try:
                producer.produce(topic, on_delivery=delivered, **message)
                break
            except BufferError:
                producer.poll(0.05)
        count += 1
        if rate and count % 20 == 0:
            producer.poll(0)
            time.sleep(max(0.0, started_s + count / rate - time.monotonic()))
    assert producer.flush(WAIT_S_MAX) == 0, "not every message was delivered"
    assert not problems, problems[:3]
    return count


@contextmanager
def sending(kafka: str, topic: str, messages: Iterable[Mapping[str, Any]], rate: float) -> Iterator[Callable[[], int]]:
    """Sends messages in the background; calling what it yields stops that and returns how many were sent."""
    enough = Event()

    def some() -> Iterator[Mapping[str, Any]]:
        for message in messages:
            if enough.is_set():
                return
            yield message

    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(send, kafka, topic, some(), rate)

        def stop() -> int:
            enough.set()
            return sent.result()

        try:
            yield stop
        finally:
            enough.set()


def committed(kafka: str, group: str, topic: str) -> dict[int, int]:
    """Partition to the next offset that a group has committed."""
    asked = ConsumerGroupTopicPartitions(group, [Position(topic, number) for number in range(PARTITIONS)])
    admin = AdminClient(_client(kafka))
    found = admin.list_consumer_group_offsets([asked], request_timeout=30)[group].result(WAIT_S_MAX)
    return {each.partition: each.offset for each in found.topic_partitions if each.offset >= 0}


def members(kafka: str, group: str) -> int:
    """How many members a group has, as the broker sees it."""
    admin = AdminClient(_client(kafka))
    described = admin.describe_consumer_groups([group], request_timeout=30)[group].result(WAIT_S_MAX)
    return len(described.members)


def forget_group(kafka: str, group: str) -> None:
    """Has Kafka forget a group once its dead are missed, as it does after offsets.retention.minutes."""
    admin, until_s = AdminClient(_client(kafka)), time.monotonic() + WAIT_S_MAX
    while True:
        try:
            admin.delete_consumer_groups([group], request_timeout=10)[group].result(10)
        except KafkaException:
            assert time.monotonic() < until_s
            time.sleep(1)
        else:
            return


def read_raw(kafka: str, topic: str, at_least: int = 0, wait_s_max: float = WAIT_S_MAX) -> list[Raw]:
    """Every record of a topic as it is stored, by partition and offset, by kafka-python.

    Reads until `at_least` have come and nothing follows them, so that records too many are seen as well.
    """
    deadline_s = time.monotonic() + wait_s_max
    consumer = KafkaConsumer(
        bootstrap_servers=kafka,
        enable_auto_commit=False,
        allow_auto_create_topics=False,
        isolation_level="read_committed",
        max_poll_records=5_000,
    )
    found: list[Raw] = []
    try:
        partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
        assert partitions, f"there is no topic {topic}"
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        while True:
            for batch in consumer.poll(timeout_ms=200).values():
                found += [_raw(each) for each in batch]
            ends = consumer.end_offsets(partitions)
            if len(found) >= at_least and all(consumer.position(each) >= ends[each] for each in partitions):
                return sorted(found, key=lambda record: (record.partition, record.offset))
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{topic}: {len(found)} records of {at_least} after {wait_s_max:.0f} s")
    finally:
        consumer.close(autocommit=False)


def schemas_of(registry: str, records: Sequence[Raw]) -> dict[int, Any]:
    """The writers' schemas of framed records, by id, from the registry."""
    ids = {schema_id_of(record) for record in records}
    return {schema_id: json.loads(ask(f"{registry}/schemas/ids/{schema_id}")["schema"]) for schema_id in ids}


def schema_id_of(record: Raw) -> int:
    """The schema id in front of a framed value."""
    assert record.value is not None
    assert record.value[0] == 0
    return int.from_bytes(record.value[1:5])


def _client(kafka: str) -> dict[str, Any]:
    return {"bootstrap.servers": kafka, "log_level": 0}  # tests stop brokers: what clients print of it is no news


def _raw(record: Any) -> Raw:
    return Raw(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        record.key,
        record.value,
        list(record.headers),
    )
