"""Every lead and login becomes exactly one prediction, and any subscriber gets it as a plain scorer would make it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from kafka.partitioner.default import murmur2

from tests.harness.claims import bits, in_order, place, scored_once, scored_right
from tests.harness.events import LEADS, LOGINS, Events, all_events, announce, encoder, messages
from tests.harness.plain_scorer import PlainScorer
from tests.harness.topics import (
    PARTITIONS,
    ROOT,
    Raw,
    Topics,
    fresh_group,
    read_raw,
    register,
    send,
    shipped_schema,
    stream_topics,
)
from tests.harness.verified import told
from tests.harness.workers import Worker, stream, worker, write_settings
from tests.oracle import java_reader, python_reader
from tests.oracle.record import Record

pytestmark = pytest.mark.timeout(400)

WAIT_S_MAX = 150.0
KINDS = ("lead", "login")
COUNTS = {"lead": LEADS, "login": LOGINS}
EVENTS = {"lead": "events.new-lead", "login": "events.login"}
PREDICTIONS = {"lead": "predictions.lead-score", "login": "predictions.recommendation"}
BUNDLES = {"lead": "lead/1", "login": "recommend/1"}
KEYS = {"lead": "lead_id", "login": "customer_id"}

each_kind = pytest.mark.parametrize("kind", KINDS)


@dataclass(frozen=True, slots=True)
class Scored:
    """What the events of one kind came to.

    Attributes:
        topics: where.
        sent: the events.
        writer: schema id of the predictions.
        sources: the events as Kafka holds them.
        predictions: as the Python reader gets them.
        letters: the dead letters.
        began_ms, ended_ms: the clock before the first event was sent and after the last prediction was read.
        config: the settings.
    """

    topics: Topics
    sent: Events
    writer: int
    sources: list[Raw]
    predictions: list[Record]
    letters: list[Raw]
    began_ms: int
    ended_ms: int
    config: Path = Path()


@pytest.fixture(scope="module")
def scored(
    kafka: str, registry: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[dict[str, Scored]]:
    """All events of both kinds, scored by one `scorer worker` with a process for each stream."""
    folder = tmp_path_factory.mktemp("every-event")
    with ExitStack() as stack:
        topics = {kind: stack.enter_context(stream_topics(kafka)) for kind in KINDS}
        writers = {kind: _register(registry, kind, topics[kind]) for kind in KINDS}
        config = write_settings(
            folder,
            kafka=kafka,
            registry=registry,
            group=fresh_group(),
            streams=[stream(kind, BUNDLES[kind], topics[kind]) for kind in KINDS],
        )
        running = stack.enter_context(worker(config)).wait_ready()
        sent = {kind: all_events(kind) for kind in KINDS}
        announce(request, "; ".join(f"{len(each.events)} {kind}s: {each.origin}" for kind, each in sent.items()))
        found = {kind: _score(kafka, registry, topics[kind], sent[kind], writers[kind]) for kind in KINDS}
        _says_it_scored_all(running)
        yield {kind: replace(each, config=config) for kind, each in found.items()}


@each_kind
def test_every_event_becomes_exactly_one_prediction(scored: dict[str, Scored], kind: str) -> None:
    found = scored[kind]
    assert len(found.sent.events) == len(found.sources) == len(found.predictions) == COUNTS[kind]
    assert found.letters == []
    scored_once(found.predictions, found.sources)


@each_kind
def test_every_field_is_what_a_plain_scorer_makes_of_the_event(
    scored: dict[str, Scored], registry: str, kind: str
) -> None:
    found, plain = scored[kind], PlainScorer(ROOT / "models" / BUNDLES[kind])
    scored_right(found.predictions, found.sources, plain, registry)
    assert all(found.began_ms <= (record["value"] or {})["scored_at"] <= found.ended_ms for record in found.predictions)


@each_kind
def test_a_prediction_is_keyed_by_its_entity_and_lies_where_java_would_put_it(
    scored: dict[str, Scored], kind: str
) -> None:
    for record in scored[kind].predictions:
        assert record["value"] is not None
        key = record["value"][KEYS[kind]].encode()
        assert record["key"] == key
        assert record["partition"] == (murmur2(key) & 0x7FFFFFFF) % PARTITIONS
        assert (record["headers"], record["schema_id"]) == ([], scored[kind].writer)


@each_kind
def test_predictions_come_in_the_order_of_their_events(scored: dict[str, Scored], kind: str) -> None:
    in_order(scored[kind].predictions)
    assert {partition for partition, _ in map(place, scored[kind].predictions)} == set(range(PARTITIONS))


@each_kind
def test_java_s_consumer_gets_the_same_predictions_as_python_s(
    kafka: str, registry: str, scored: dict[str, Scored], kind: str
) -> None:
    found = scored[kind]
    records = java_reader.read_all(
        kafka, found.topics.predictions, registry, at_least=COUNTS[kind], wait_s_max=WAIT_S_MAX
    )
    assert len(records) == len(found.predictions)
    for java, python in zip(records, found.predictions, strict=True):
        assert bits(java) == bits(python)


@each_kind
def test_every_prediction_is_bit_equal_when_it_is_scored_again(scored: dict[str, Scored], kind: str) -> None:
    code, document = told(scored[kind].config, "verify", kind)
    assert (code, document["causes"], document["pending"]) == (0, {}, 0)
    assert document["levels"]["bit_equal"] == COUNTS[kind]
    assert document["events"] == {"prediction": COUNTS[kind]}


def _register(registry: str, kind: str, topics: Topics) -> int:
    register(registry, topics.events, shipped_schema(EVENTS[kind]), "BACKWARD")
    return register(registry, topics.predictions, shipped_schema(PREDICTIONS[kind]), "FULL_TRANSITIVE")


def _score(kafka: str, registry: str, topics: Topics, sent: Events, writer: int) -> Scored:
    schema = shipped_schema(EVENTS[sent.kind])
    encode = encoder(register(registry, topics.events, schema), schema)
    began_ms = int(time.time() * 1000)
    count = send(kafka, topics.events, messages(sent.events, KEYS[sent.kind], encode))
    predictions = python_reader.read_all(kafka, topics.predictions, registry, at_least=count, wait_s_max=WAIT_S_MAX)
    ended_ms = int(time.time() * 1000)
    sources, letters = read_raw(kafka, topics.events, count), read_raw(kafka, topics.letters)
    return Scored(topics, sent, writer, sources, predictions, letters, began_ms, ended_ms)


def _says_it_scored_all(running: Worker) -> None:
    for at, kind in enumerate(KINDS):  # a batch is counted just after it was handed over, so it may be read before
        for name in ("scorer_records_consumed_total", "scorer_records_scored_total"):
            running.until(lambda at=at, name=name, kind=kind: running.metric(name, at) == COUNTS[kind], name, 10)
