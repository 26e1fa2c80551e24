"""Where a redrive takes a record from: the source topic while it holds the same bytes, else the letter."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.harness.claims import places, scored_at_least_once, scored_once, scored_right
from tests.harness.events import sampled
from tests.harness.lead_stream import LeadStream, lead_stream
from tests.harness.plain_scorer import PlainScorer
from tests.harness.rejected import BUNDLE, dead_letters
from tests.harness.topics import WAIT_S_MAX, Headers, Raw, send
from tests.harness.workers import worker

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def stream(kafka: str, registry: str, tmp_path: Path) -> Iterator[LeadStream]:
    with lead_stream(kafka, registry, tmp_path) as made:
        yield made


def notes(stream: LeadStream, source: Raw, *more: tuple[str, bytes], reason: str = "out_of_range") -> Headers:
    """A letter's headers as they are documented, after one of the record's own."""
    said = {
        "topic": source.topic,
        "partition": source.partition,
        "offset": source.offset,
        "connector.name": f"{stream.group}.lead",
        "stage": "ASSEMBLE",
        "class.name": "scorer",
        "exception.class.name": reason,
        "exception.message": "age",
    }
    named: Headers = [(f"__connect.errors.{name}", str(value).encode()) for name, value in said.items()]
    return [("own", b"1"), *named, ("scorer.model", b"lead/0"), ("scorer.rejected_at_ms", b"1750000000000"), *more]


def letter(source: Raw, headers: Headers, **more: Any) -> dict[str, Any]:
    return {"key": source.key, "value": source.value, "timestamp": source.timestamp, "headers": headers, **more}


def forget(stream: LeadStream, sources: Sequence[Raw]) -> None:
    """Lets all events expire."""
    ends = [TopicPartition(stream.topics.events, number, end) for number, end in stream.ends(sources).items()]
    admin = AdminClient({"bootstrap.servers": stream.kafka})
    for future in admin.delete_records(ends).values():
        future.result(WAIT_S_MAX)


def redriven(stream: LeadStream, *arguments: str, code: int = 0) -> Mapping[str, Any]:
    config = stream.settings()
    found: Mapping[str, Any] = dead_letters(config, "redrive", "lead", *arguments, "--json", code=code)
    return found


def are_right(stream: LeadStream, sources: Sequence[Raw]) -> None:
    found = stream.predictions(len(sources))
    scored_once(found, sources)
    scored_right(found, sources, PlainScorer(BUNDLE), stream.registry)


def test_records_that_have_expired_are_scored_from_their_letters_under_their_old_places(stream: LeadStream) -> None:
    stream.send(40)
    sources = stream.sources(40)
    forget(stream, sources)
    send(stream.kafka, stream.topics.letters, (letter(each, notes(stream, each)) for each in sources))
    found = redriven(stream)
    assert (found["passed"], found["from_source"], found["from_letters"]) == (40, 0, 40)
    are_right(stream, sources)
    assert stream.sources() == [], "something was written to the input topic"


def test_letters_whose_transaction_ends_the_topic_are_all_read(stream: LeadStream) -> None:
    stream.send(8)
    sources = stream.sources(8)
    producer = Producer({"bootstrap.servers": stream.kafka, "transactional.id": stream.group})
    producer.init_transactions(WAIT_S_MAX)
    for commits in (True, False):
        producer.begin_transaction()
        for each in sources:
            producer.produce(stream.topics.letters, **letter(each, notes(stream, each)))
        producer.flush(WAIT_S_MAX)
        (producer.commit_transaction if commits else producer.abort_transaction)(WAIT_S_MAX)
    found = redriven(stream)
    assert (found["records"], found["passed"], found["from_source"]) == (8, 8, 8)
    are_right(stream, sources)


def test_a_value_that_its_letter_lacks_is_taken_from_the_source_while_it_lasts(stream: LeadStream) -> None:
    stream.send(40)
    sources = stream.sources(40)
    digests = [hashlib.sha256(each.value or b"").hexdigest().encode() for each in sources]

    def omitted(source: Raw, digest: bytes) -> dict[str, Any]:
        more = ("scorer.value.omitted.bytes", b"80"), ("scorer.value.sha256", digest)
        return letter(source, notes(stream, source, *more), value=None)

    send(stream.kafka, stream.topics.letters, map(omitted, sources, digests))
    assert redriven(stream)["from_source"] == 40
    are_right(stream, sources)
    forget(stream, sources)
    found = redriven(stream, code=5)
    assert (found["passed"], found["lost"]) == (0, 40)


def test_a_record_that_once_ended_a_process_is_scored_right_in_another(stream: LeadStream) -> None:
    stream.send(6)
    sources = stream.sources(6)
    last = letter(sources[-1], notes(stream, sources[-1], reason="kills_process"))
    send(stream.kafka, stream.topics.letters, [last, *(letter(each, notes(stream, each)) for each in sources[:-1])])
    assert redriven(stream)["by_reason"]["kills_process"]["passed"] == 1
    are_right(stream, sources)


def test_a_record_whose_place_holds_other_bytes_by_now_is_scored_from_its_letter(stream: LeadStream) -> None:
    others = [stream.encode(event) for event in sampled("lead", 40, 1)]
    stream.send(40)
    sources = stream.sources(40)
    made = [Raw(*_fields(each), value=value, headers=[]) for each, value in zip(sources, others, strict=True)]
    send(stream.kafka, stream.topics.letters, (letter(each, notes(stream, each)) for each in made))
    found = redriven(stream)
    assert (found["passed"], found["from_source"], found["from_letters"]) == (40, 0, 40)
    are_right(stream, made)


def test_notes_that_came_with_a_record_and_letters_of_others_lead_nobody_astray(stream: LeadStream) -> None:
    stream.send(4)
    first, second, *_ = stream.sources(4)
    forged = notes(stream, second, ("scorer.attempts", b"7"))
    foreign = [("__connect.errors.topic", b"x"), ("__connect.errors.offset", b"-1")]
    elsewhere = letter(
        second, [(name, b"other.stream" if "name" in name else text) for name, text in notes(stream, second)]
    )
    sent = [
        letter(first, forged + notes(stream, first)),
        elsewhere,
        {"value": b"x", "headers": foreign},
        {"value": b"y"},
    ]
    send(stream.kafka, stream.topics.letters, sent)
    config = stream.settings()
    counted = dead_letters(config, "list", "--json")
    assert (counted["letters"], counted["foreign"]) == (2, 2)
    assert dead_letters(config, "list", "lead", "--json")["letters"] == 1
    assert redriven(stream)["records"] == 1
    are_right(stream, [first])


def test_a_redrive_beside_a_worker_of_transactions_takes_its_place_from_nobody(stream: LeadStream) -> None:
    config = stream.settings({"delivery": "exactly_once"})
    with worker(config) as running:
        stream.send(40)
        running.until(lambda: len(stream.predictions()) == 40, "scored")
        again = stream.sources(40)[:5]
        send(stream.kafka, stream.topics.letters, (letter(each, notes(stream, each)) for each in again))
        assert dead_letters(config, "redrive", "lead", "--json")["passed"] == len(again)
        stream.send(40, seed=2)
        running.until(lambda: len(stream.predictions()) == 80 + len(again), "scored beside it")
        assert not running.events("transaction.aborted")
    repeated = scored_at_least_once(stream.predictions(), stream.sources(80))
    assert {at: len(each) for at, each in repeated.items()} == dict.fromkeys(places(again), 2)


def _fields(source: Raw) -> tuple[str, int, int, int, bytes | None]:
    return source.topic, source.partition, source.offset, source.timestamp, source.key
