"""Rejections as published."""

from __future__ import annotations

from dataclasses import replace

from scorer.core.dead_letters import dead_letters
from scorer.core.records import DeadLetter, RecordBatch, Rejection, Stage
from tests.unit.core.batches import batch_of


def letters(batch: RecordBatch, *rejections: Rejection) -> list[DeadLetter]:
    return dead_letters(
        batch, list(rejections), topic="events.dead-letter", stream="scorer.lead", model="lead/1", now_ms=99
    )


def test_a_dead_letter_has_the_original_bytes_key_and_timestamp() -> None:
    batch = replace(batch_of([b"a", b"\xff\x00"]), keys=[None, b"k"])
    (letter,) = letters(batch, Rejection(1, Stage.DECODE, "malformed", "why"))
    assert (letter.topic, letter.key, letter.value, letter.timestamp) == ("events.dead-letter", b"k", b"\xff\x00", 5001)


def test_headers_say_where_it_came_from_and_what_went_wrong_in_kafka_connects_words() -> None:
    batch = batch_of([b"a"], partitions=[3], offsets=[77])
    (letter,) = letters(batch, Rejection(0, Stage.ASSEMBLE, "missing_field", "age is absent or null"))
    assert dict(letter.headers) == {
        "__connect.errors.topic": b"events",
        "__connect.errors.partition": b"3",
        "__connect.errors.offset": b"77",
        "__connect.errors.connector.name": b"scorer.lead",
        "__connect.errors.stage": b"ASSEMBLE",
        "__connect.errors.class.name": b"scorer",
        "__connect.errors.exception.class.name": b"missing_field",
        "__connect.errors.exception.message": b"age is absent or null",
        "scorer.model": b"lead/1",
        "scorer.rejected_at_ms": b"99",
    }


def test_the_records_own_headers_come_first_and_unchanged() -> None:
    own = [("traceparent", b"00-1"), ("x", None), ("x", b"\xff")]
    batch = batch_of([b"a"], headers=[own])
    (letter,) = letters(batch, Rejection(0, Stage.DECODE, "malformed", ""))
    assert letter.headers[:3] == own
    assert len(letter.headers) == 13


def test_there_is_one_letter_for_each_rejection_in_its_order() -> None:
    found = letters(batch_of([b"a", b"b", b"c"]), *(Rejection(row, Stage.INFER, "model_failed", "") for row in (0, 2)))
    assert [letter.value for letter in found] == [b"a", b"c"]


def test_a_record_without_a_timestamp_is_dated_at_the_epoch() -> None:
    (letter,) = letters(batch_of([b"a"], timestamps=[-1]), Rejection(0, Stage.DECODE, "malformed", ""))
    assert letter.timestamp == 0
