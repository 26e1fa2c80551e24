"""Dead letters as rows: only those that a stream wrote about events that may be."""

from __future__ import annotations

import pytest

from scorer.core.dead_letters import PREFIX, dead_letters
from scorer.core.letters import Author
from scorer.core.load import Load, Refused
from scorer.core.records import Headers, Rejection, Stage
from scorer.core.rows import letter_load
from tests.unit.core.batches import batch_of

OWN = Author("events", "scorer.lead")


def headers(group: str = OWN.group, own: Headers | None = None) -> Headers:
    """Of a letter about the record at 3:77, which came with headers of its own."""
    batch = batch_of([b"abc"], partitions=[3], offsets=[77], headers=[own])
    why = Rejection(0, Stage.ASSEMBLE, "missing_field", "age is absent or null")
    (made,) = dead_letters(batch, [why], topic="letters", stream=group, model="lead/1", now_ms=99)
    return made.headers


def loaded(*letters: Headers) -> Load:
    batch = batch_of([b"abc"] * len(letters), timestamps=[5_000] * len(letters), headers=list(letters))
    return letter_load(batch, OWN, {0: 0})


def test_letters_of_a_stream_are_its_own_alone_though_others_that_read_its_topic_write_there() -> None:
    found = loaded(headers(), headers("scorer.churn"), headers("other.lead"))
    assert found.refused == [Refused(3, 77, 5_000, "assemble", "missing_field")]
    assert found.counts == {"rejection": 1, "other_letter": 2}


@pytest.mark.parametrize("text", ["9" * 20, "9" * 5000, "٣", str(2**63 - 1), "-1", ""])
def test_a_letter_that_names_a_place_that_no_topic_has_is_passed_over(text: str) -> None:
    changed = [(name, text.encode() if name == f"{PREFIX}offset" else value) for name, value in headers()]
    assert loaded(changed).counts == {"rejection": 0, "other_letter": 1}


def test_notes_that_came_with_the_record_neither_make_nor_hide_a_rejection() -> None:
    forged: Headers = [(f"{PREFIX}offset", b"5"), (f"{PREFIX}connector.name", b"scorer.churn")]
    assert [each.offset for each in loaded(headers(own=forged)).refused] == [77]
