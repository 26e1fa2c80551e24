"""One record in a hundred is poison: its neighbours are scored once, each bad record becomes one dead letter."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.harness.claims import scored_once, scored_right
from tests.harness.events import SEED, encoder, sampled
from tests.harness.plain_scorer import PlainScorer
from tests.harness.poison import RECURSIVE, SKIPPED, VALUE_BYTES_MAX, Writers, kinds_of, nullable
from tests.harness.topics import (
    ROOT,
    Headers,
    Raw,
    Topics,
    fresh_group,
    read_raw,
    register,
    send,
    shipped_schema,
    stream_topics,
)
from tests.harness.workers import Worker, stream, worker, write_settings
from tests.oracle import python_reader
from tests.oracle.record import Record

pytestmark = pytest.mark.timeout(240)

KINDS = ("lead", "login")
EVENTS = {"lead": "events.new-lead", "login": "events.login"}
PREDICTIONS = {"lead": "predictions.lead-score", "login": "predictions.recommendation"}
BUNDLES = {"lead": "lead/1", "login": "recommend/1"}
KEYS = {"lead": "lead_id", "login": "customer_id"}
REQUIRED = {"lead": "age", "login": "recent_products"}

PER_STREAM = 10_000
BAD = 100
SENT_MS = 1_750_000_000_000
WAIT_S_MAX = 120.0
GROUP = fresh_group()

each_kind = pytest.mark.parametrize("kind", KINDS)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one stream's records came to.

    Attributes:
        poison: partition and offset of each bad record to the name of its kind.
        sources, letters: records as Kafka holds them, by partition and offset.
        predictions: as the Python reader gets them.
        worker: still running.
        at: the stream's place in the worker.
    """

    poison: dict[tuple[int, int], str]
    sources: dict[tuple[int, int], Raw]
    letters: list[Raw]
    predictions: list[Record]
    worker: Worker
    at: int

    def expected(self, kind: str) -> dict[tuple[int, int], tuple[str, str]]:
        """Partition and offset of each record that has to become a dead letter, to stage and reason."""
        verdicts = {place: kinds_of(kind)[name][1] for place, name in self.poison.items()}
        return {place: verdict for place, verdict in verdicts.items() if verdict != SKIPPED}


@pytest.fixture(scope="module")
def outcomes(kafka: str, registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outcome]]:
    with ExitStack() as stack:
        topics = {kind: stack.enter_context(stream_topics(kafka)) for kind in KINDS}
        writers = {kind: _writers(registry, kind, topics[kind]) for kind in KINDS}
        config = write_settings(
            tmp_path_factory.mktemp("poison"),
            kafka=kafka,
            registry=registry,
            group=GROUP,
            streams=[stream(kind, BUNDLES[kind], topics[kind]) for kind in KINDS],
            batch={"value_bytes_max": VALUE_BYTES_MAX},
            registry_more={"grace_ms_max": 1_000},
        )
        running = stack.enter_context(worker(config)).wait_ready()
        for kind in KINDS:
            assert send(kafka, topics[kind].events, _messages(kind, writers[kind])) == PER_STREAM
        yield {kind: _outcome(kafka, registry, topics[kind], running, at) for at, kind in enumerate(KINDS)}


@each_kind
def test_every_good_record_among_poison_is_scored_once_and_right(
    outcomes: dict[str, Outcome], registry: str, kind: str
) -> None:
    outcome, plain = outcomes[kind], PlainScorer(ROOT / "models" / BUNDLES[kind])
    good = [source for place, source in outcome.sources.items() if place not in outcome.poison]
    assert len(good) == PER_STREAM - BAD
    scored_once(outcome.predictions, good)
    scored_right(outcome.predictions, good, plain, registry)


@each_kind
def test_every_bad_record_becomes_one_dead_letter_that_says_why(outcomes: dict[str, Outcome], kind: str) -> None:
    outcome = outcomes[kind]
    names = set(outcome.poison.values())
    assert names == set(kinds_of(kind)), "every kind was sent"
    assert len(names) >= 12
    found = sorted((*_origin(letter), *_verdict(letter)) for letter in outcome.letters)
    named = [(outcome.poison.get(place[:2], "a good record"), *place) for place in found]
    wanted = sorted((*place, *verdict) for place, verdict in outcome.expected(kind).items())
    assert named == [(outcome.poison[place[:2]], *place) for place in wanted]


@each_kind
def test_a_dead_letter_is_the_record_byte_for_byte_with_headers_added(outcomes: dict[str, Outcome], kind: str) -> None:
    outcome = outcomes[kind]
    seen: set[tuple[bool, bool, bool]] = set()
    for letter in outcome.letters:
        source = outcome.sources[_origin(letter)]
        assert (letter.key, letter.value, letter.timestamp) == (source.key, source.value, source.timestamp)
        assert letter.headers[: len(source.headers)] == source.headers
        added = dict(letter.headers[len(source.headers) :])
        assert added.pop("__connect.errors.exception.message")
        assert int(added.pop("scorer.rejected_at_ms") or 0) > SENT_MS
        stage, reason = outcome.expected(kind)[source.partition, source.offset]
        assert added == {
            "__connect.errors.topic": source.topic.encode(),
            "__connect.errors.partition": str(source.partition).encode(),
            "__connect.errors.offset": str(source.offset).encode(),
            "__connect.errors.connector.name": f"{GROUP}.{kind}".encode(),
            "__connect.errors.stage": stage.encode(),
            "__connect.errors.class.name": b"scorer",
            "__connect.errors.exception.class.name": reason.encode(),
            "scorer.model": BUNDLES[kind].encode(),
        }
        seen.add((source.key is None, source.value == b"", bool(source.headers)))
    assert (
        {key for key, _, _ in seen} == {value for _, value, _ in seen} == {more for *_, more in seen} == {True, False}
    )


@each_kind
def test_dead_letters_quote_nothing_of_the_payload(outcomes: dict[str, Outcome], kind: str) -> None:
    for letter in outcomes[kind].letters:
        own = b" ".join(value or b"" for name, value in letter.headers if name.startswith(("__connect", "scorer.")))
        for secret in (b"sample-", b"85123A", b"xxxx"):
            assert secret not in own


@each_kind
def test_tombstones_are_counted_and_skipped(outcomes: dict[str, Outcome], kind: str) -> None:
    outcome = outcomes[kind]
    tombstones = list(outcome.poison.values()).count("a tombstone")
    assert tombstones > 0
    assert outcome.worker.metric("scorer_tombstones_total", outcome.at) == tombstones


@each_kind
def test_rejections_are_counted_by_stage_and_reason(outcomes: dict[str, Outcome], kind: str) -> None:
    outcome = outcomes[kind]
    for (stage, reason), count in Counter(outcome.expected(kind).values()).items():
        labels = {"stage": stage.lower(), "reason": reason}
        assert outcome.worker.metric("scorer_records_rejected_total", outcome.at, **labels) == count
    assert outcome.worker.metric("scorer_records_consumed_total", outcome.at) == PER_STREAM


def test_the_worker_lives_and_is_ready_after_all_of_it(outcomes: dict[str, Outcome]) -> None:
    running = outcomes["lead"].worker
    assert running.running
    assert all(running.ready(at) for at in range(len(KINDS)))
    assert running.events("process.failed") == []
    assert len(running.events("process.started")) == len(KINDS)


def _writers(registry: str, kind: str, topics: Topics) -> Writers:
    schema, field = shipped_schema(EVENTS[kind]), REQUIRED[kind]
    register(registry, topics.predictions, shipped_schema(PREDICTIONS[kind]))
    own = encoder(register(registry, topics.events, schema, "BACKWARD"), schema)
    later = nullable(schema, field)
    grown = encoder(register(registry, topics.events, later), later)
    other = "login" if kind == "lead" else "lead"
    foreign_schema = shipped_schema(EVENTS[other])
    foreign = encoder(register(registry, f"{topics.events}.foreign", foreign_schema), foreign_schema)
    recursive = register(registry, f"{topics.events}.recursive", RECURSIVE)
    (stranger,) = sampled(other, 1)
    return Writers(own, lambda event: grown({**event, field: None}), foreign(stranger), recursive)


def _messages(kind: str, by: Writers) -> Iterator[dict[str, Any]]:
    """The stream's records; each bad one has its kind in a header, or in its key if it has no headers."""
    random_ = random.Random(SEED)
    places = set(random_.sample(range(PER_STREAM), BAD))
    kinds = itertools.cycle(kinds_of(kind).items())
    for number, event in enumerate(sampled(kind, PER_STREAM)):
        key = event[KEYS[kind]].encode()
        if number not in places:
            yield {"key": key, "value": by.encode(event), "timestamp": SENT_MS + number}
            continue
        name, (make, _) = next(kinds)
        yield {"value": make(event, by), "timestamp": SENT_MS + number, **_envelope(name, number)}


def _envelope(name: str, number: int) -> dict[str, Any]:
    """Keys and headers of all sorts."""
    plain: Headers = [("kind", name.encode())]
    strange: Headers = [*plain, ("traceparent", b"00-\xff\0"), ("traceparent", None), ("ключ", b""), ("", b"no name")]
    envelopes: list[dict[str, Any]] = [
        {"key": f"{name}|{number}".encode()},
        {"key": None, "headers": plain},
        {"key": b"", "headers": strange},
        {"key": b"\xff\0key", "headers": strange},
    ]
    return envelopes[number % len(envelopes)]


def _outcome(kafka: str, registry: str, topics: Topics, running: Worker, at: int) -> Outcome:
    sources = {(each.partition, each.offset): each for each in read_raw(kafka, topics.events, PER_STREAM)}
    poison = {place: name for place, source in sources.items() if (name := _kind(source))}
    skipped = sum(kinds_of(KINDS[at])[name][1] == SKIPPED for name in poison.values())
    letters = read_raw(kafka, topics.letters, BAD - skipped, WAIT_S_MAX)
    good = PER_STREAM - BAD
    predictions = python_reader.read_all(kafka, topics.predictions, registry, at_least=good, wait_s_max=WAIT_S_MAX)
    running.until(lambda: running.metric("scorer_records_consumed_total", at) >= PER_STREAM, "done", 30)
    return Outcome(poison, sources, letters, predictions, running, at)


def _kind(source: Raw) -> str:
    """The name of a bad record's kind, or "" for a good record."""
    named = dict(source.headers).get("kind")
    if named is not None:
        return named.decode()
    name, bar, _ = (source.key or b"").decode().partition("|")
    return name if bar else ""


def _origin(letter: Raw) -> tuple[int, int]:
    notes = dict(letter.headers)
    partition, offset = (notes[f"__connect.errors.{name}"] or b"" for name in ("partition", "offset"))
    return int(partition), int(offset)


def _verdict(letter: Raw) -> tuple[str, str]:
    notes = dict(letter.headers)
    stage, reason = (notes[f"__connect.errors.{name}"] or b"" for name in ("stage", "exception.class.name"))
    return stage.decode(), reason.decode()
