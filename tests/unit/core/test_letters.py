"""Dead letters read back, and which of them are meant."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scorer.core.dead_letters import PREFIX, dead_letters
from scorer.core.letters import (
    Choice,
    Letter,
    Stored,
    as_originals,
    chunks,
    letter_of,
    newest,
    stored,
    tried_again,
)
from scorer.core.records import Headers, Rejection, Stage
from tests.unit.core.batches import batch_of


def written(own: Headers | None = None, value: bytes | None = b"abc") -> Stored:
    """A letter as the scorer writes it, of the record at 3:77."""
    batch = batch_of([value], partitions=[3], offsets=[77], timestamps=[5_000], headers=[own])
    why = Rejection(0, Stage.ASSEMBLE, "missing_field", "age is absent or null")
    (made,) = dead_letters(batch, [why], topic="letters", stream="scorer.prod.lead", model="lead/1", now_ms=99)
    return Stored(made.key, made.value, made.headers, made.timestamp)


def letter(
    place: tuple[int, int] = (0, 1), source: tuple[int, int] = (3, 77), rejected_at_ms: int = 99, attempts: int = 0
) -> Letter:
    found = letter_of(place, written())
    assert found is not None
    return replace(found, source=source, rejected_at_ms=rejected_at_ms, attempts=attempts)


def test_a_letter_says_all_that_was_written() -> None:
    found = letter_of((1, 5), written([("own", b"x")]))
    assert found is not None
    assert (found.place, found.topic, found.source) == ((1, 5), "events", (3, 77))
    assert (found.stage, found.reason, found.detail) == ("assemble", "missing_field", "age is absent or null")
    assert (found.group, found.stream, found.model) == ("scorer.prod.lead", "lead", "lead/1")
    assert (found.rejected_at_ms, found.attempts, found.value_bytes, found.omitted) == (99, 0, 3, False)
    assert found.headers == 1
    assert found.tells_of(b"abc")
    assert not found.tells_of(b"abd")
    assert not found.tells_of(None)


def test_notes_that_came_with_the_record_count_for_nothing() -> None:
    forged: Headers = [*written().headers, ("scorer.attempts", b"9"), (f"{PREFIX}stage", b"INFER")]
    found = letter_of((0, 0), written(forged))
    assert found is not None
    assert (found.attempts, found.stage, found.headers) == (0, "assemble", len(forged))


def test_attempts_are_counted_in_the_letter_of_a_failed_redrive() -> None:
    batch = batch_of([b"abc"], headers=[[("own", None)]])
    why = Rejection(0, Stage.DECODE, "malformed", "")
    (made,) = dead_letters(batch, [why], topic="letters", stream="s.lead", model="lead/1", now_ms=99)
    again = tried_again(made, 2)
    found = letter_of((0, 0), Stored(again.key, again.value, again.headers, again.timestamp))
    assert found is not None
    assert (found.attempts, found.headers) == (2, 1)


def test_a_letter_without_its_value_knows_its_length_and_its_bytes_again() -> None:
    whole = written()
    known = letter_of((0, 0), whole)
    assert known is not None
    more: Headers = [("scorer.value.omitted.bytes", b"3"), ("scorer.value.sha256", known.sha256.encode())]
    found = letter_of((0, 0), replace(whole, value=None, headers=[*whole.headers, *more]))
    assert found is not None
    assert (found.omitted, found.value_bytes) == (True, 3)
    assert found.tells_of(b"abc")
    bare = letter_of((0, 0), replace(whole, value=None))
    assert bare is not None
    assert not bare.tells_of(b"abc")


@pytest.mark.parametrize(
    "change",
    [
        {f"{PREFIX}partition": b"-1"},
        {f"{PREFIX}partition": b"2147483648"},
        {f"{PREFIX}offset": b"9223372036854775808"},
        {f"{PREFIX}offset": b"9" * 5_000},
        {f"{PREFIX}offset": "७".encode()},
        {f"{PREFIX}offset": None},
        {f"{PREFIX}topic": b"LEFT OUT"},
    ],
    ids=str,
)
def test_what_the_scorer_did_not_write_is_no_letter(change: dict[str, bytes | None]) -> None:
    whole = written()
    headers = [(name, change.get(name, text)) for name, text in whole.headers]
    kept: Headers = [(name, text) for name, text in headers if text != b"LEFT OUT"]
    assert letter_of((0, 0), replace(whole, headers=kept)) is None
    assert letter_of((0, 0), replace(whole, headers=[])) is None


def test_the_latest_letter_of_a_record_counts_with_the_most_attempts_of_all() -> None:
    one = letter((0, 1), rejected_at_ms=10, attempts=2)
    two = letter((1, 0), rejected_at_ms=20)
    other = letter((0, 2), source=(3, 5))
    assert newest([one, two, other]) == [other, replace(two, attempts=2)]
    assert newest([other, two, one]) == [other, replace(two, attempts=2)]


def test_a_later_letter_counts_wherever_it_stands_and_of_one_moment_the_one_behind() -> None:
    early, late, behind = letter((1, 9), rejected_at_ms=10), letter((0, 3)), letter((0, 4))
    assert newest([early, late]) == newest([late, early]) == [late]
    assert newest([late, behind]) == newest([behind, late]) == [behind]


def test_a_choice_goes_by_stream_reason_age_and_places_of_the_latest_letter() -> None:
    old, new = letter((0, 1), rejected_at_ms=10), letter((0, 2), rejected_at_ms=20)
    late = replace(new, reason="malformed")
    other = letter((0, 3), source=(3, 78), rejected_at_ms=15)
    foreign = replace(letter((0, 4), source=(3, 79)), group="scorer.login")
    every = [old, late, other, foreign]
    assert Choice("lead").of(every) == [late, other]
    assert Choice("lead", reason="missing_field").of(every) == [other]
    assert Choice("lead", since_ms=16).of(every) == [late]
    assert Choice("lead", letters=frozenset({(0, 1)})).of(every) == [late]
    assert Choice("lead", events=frozenset({(3, 78)})).of(every) == [other]
    assert Choice("lead", events=frozenset({(3, 79)})).of(every) == []
    assert Choice().of(every) == [late, other, foreign]


def test_places_without_a_letter_of_the_stream_are_named() -> None:
    own, foreign = letter((0, 1)), replace(letter((0, 4), source=(3, 79)), group="scorer.login")
    choice = Choice("lead", letters=frozenset({(0, 1), (0, 4)}), events=frozenset({(3, 77), (3, 79)}))
    assert choice.lacking([own, foreign]) == [(0, 4), (3, 79)]


def test_chunks_hold_so_many_records_and_so_many_bytes_and_lose_none() -> None:
    letters = [replace(letter((0, number)), value_bytes=size) for number, size in enumerate([5, 5, 5, 100, 1, 1, 1, 1])]
    found = list(chunks(letters, 3, 12))
    assert [[each.value_bytes for each in chunk] for chunk in found] == [[5, 5], [5], [100], [1, 1, 1], [1]]
    assert [each for chunk in found for each in chunk] == letters
    assert list(chunks([], 3, 12)) == []


def test_originals_are_a_batch_in_the_order_of_their_places() -> None:
    batch = batch_of([b"a", b"b", b"c"], partitions=[1, 0, 0], offsets=[1, 9, 7], timestamps=[-1, 2, 3])
    contents = {(int(batch.partitions[row]), int(batch.offsets[row])): stored(batch, row) for row in range(3)}
    made = as_originals("events", contents)
    assert (made.topic, made.values, made.timestamps.tolist()) == ("events", [b"c", b"b", b"a"], [3, 2, -1])
    assert list(zip(made.partitions.tolist(), made.offsets.tolist(), strict=True)) == [(0, 7), (0, 9), (1, 1)]
