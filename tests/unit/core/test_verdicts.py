"""Each cause by its smallest case, and no cause at all for a prediction that is as it was published."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.core.likeness import differing
from scorer.core.verdicts import ALARMING, CAUSES, Cause, Event, Level, Verdict, settled
from tests.unit.core.judged import (
    ONE,
    OTHER_TIME,
    THEIRS,
    TWO,
    activation,
    fields,
    published,
    rescored,
    standing,
    verdict,
)

CASES: dict[str, tuple[Callable[[], Verdict], Level, Cause | None]] = {
    "as it was": (lambda: verdict(published()), Level.EQUAL, None),
    "scored at another time and in another lane": (
        lambda: verdict(published(scored_at=9, lane="spring")),
        Level.EQUAL,
        None,
    ),
    "another build, the same bits": (lambda: verdict(published(runtime="onnxruntime 0")), Level.EQUAL, None),
    "a score beyond the tolerance": (lambda: verdict(published(score=0.750001)), Level.DIFFERENT, Cause.UNEXPLAINED),
    "a score within it": (lambda: verdict(published(score=0.75 * (1 + 5e-7))), Level.CLOSE, Cause.UNEXPLAINED),
    "a minus before zero": (
        lambda: verdict(published(score=-0.0), again=rescored(fields(score=0.0))),
        Level.CLOSE,
        Cause.UNEXPLAINED,
    ),
    "a bucket that is not the score's": (lambda: verdict(published(bucket="B")), Level.DIFFERENT, Cause.UNEXPLAINED),
    "a bucket across a bound, with a score within the tolerance": (
        lambda: verdict(
            published(score=0.49999999, bucket="B", runtime="r"), again=rescored(fields(score=0.5, bucket="A"))
        ),
        Level.CLOSE,
        Cause.BUILD,
    ),
    "an item's points within the tolerance": (
        lambda: verdict(published(items=[{"code": "x", "points": 1.5000001}], cpu_class="avx512")),
        Level.CLOSE,
        Cause.BUILD,
    ),
    "another item": (
        lambda: verdict(published(items=[{"code": "y", "points": 1.5}], cpu_class="avx512")),
        Level.DIFFERENT,
        Cause.BUILD,
    ),
    "another runtime": (lambda: verdict(published(runtime="r", score=0.8)), Level.DIFFERENT, Cause.BUILD),
    "another scorer": (lambda: verdict(published(scorer_version="0", score=0.8)), Level.DIFFERENT, Cause.BUILD),
    "other bytes at hand": (
        lambda: verdict(published(), again=rescored(fields(model_sha256="f" * 64), sha256="f" * 64)),
        Level.DIFFERENT,
        Cause.BUNDLE,
    ),
    "other bytes than the activation's": (
        lambda: verdict(published(model_sha256="f" * 64)),
        Level.DIFFERENT,
        Cause.BUNDLE,
    ),
    "other bytes at hand, which reject": (
        lambda: verdict(published(), again=rescored(sha256="f" * 64, reason="out_of_range", fields=None)),
        Level.SURPLUS,
        Cause.BUNDLE,
    ),
    "a field that the other schema lacks": (
        lambda: verdict(published(schema_id=2, extra=1)),
        Level.DIFFERENT,
        Cause.SCHEMA,
    ),
    "a field that the re-scoring lacks with the same schema": (
        lambda: verdict(published(extra=1)),
        Level.DIFFERENT,
        Cause.UNEXPLAINED,
    ),
    "an event whose schema is gone": (
        lambda: verdict(published(), again=rescored(fields=None, reason="unknown_schema")),
        Level.SURPLUS,
        Cause.SCHEMA,
    ),
    "an event that is rejected now": (
        lambda: verdict(published(), again=rescored(fields=None, reason="out_of_range")),
        Level.SURPLUS,
        Cause.UNEXPLAINED,
    ),
    "an event that another build rejects": (
        lambda: verdict(published(runtime="r"), again=rescored(fields=None, reason="model_failed")),
        Level.SURPLUS,
        Cause.BUILD,
    ),
    "other bytes of the event": (lambda: verdict(published(), event=Event("x", 5000)), Level.UNCHECKED, Cause.EVENT),
    "the same bytes at another time": (
        lambda: verdict(published(), event=Event("d", 5001)),
        Level.UNCHECKED,
        Cause.EVENT,
    ),
    "another event where nobody knows why": (
        lambda: verdict(published(), event=OTHER_TIME),
        Level.UNCHECKED,
        Cause.EVENT,
    ),
    "another event in a topic that was made anew": (
        lambda: verdict(published(), event=OTHER_TIME, at=standing(activation(ONE, 0, THEIRS))),
        Level.UNCHECKED,
        Cause.RECREATED,
    ),
    "other bytes at the same time in a topic that was restored": (
        lambda: verdict(published(), event=Event("x", 5000), at=standing(activation(ONE, 0, THEIRS))),
        Level.UNCHECKED,
        Cause.EVENT,
    ),
    "the same event in a topic that was restored": (
        lambda: verdict(published(), at=standing(activation(ONE, 0, THEIRS))),
        Level.EQUAL,
        None,
    ),
    "other bits alone": (
        lambda: verdict(published(score=0.8), alone=fields(score=0.8)),
        Level.DIFFERENT,
        Cause.BATCH,
    ),
    "the same bits alone": (lambda: verdict(published(score=0.8), alone=fields()), Level.DIFFERENT, Cause.UNEXPLAINED),
    "the bundle before, again": (
        lambda: verdict(published(), at=standing(activation(ONE, 0), activation(TWO, 5)), again=rescored()),
        Level.SURPLUS,
        Cause.AGAIN,
    ),
    "the bundle before, again, with something else": (
        lambda: verdict(published(score=0.8), at=standing(activation(ONE, 0), activation(TWO, 5))),
        Level.DIFFERENT,
        Cause.UNEXPLAINED,
    ),
    "the bundle before, again, by another build": (
        lambda: verdict(published(score=0.8, runtime="r"), at=standing(activation(ONE, 0), activation(TWO, 5))),
        Level.SURPLUS,
        Cause.AGAIN,
    ),
    "a bundle whose place another took before anything was committed": (
        lambda: verdict(published(), at=standing(activation(ONE, 5), activation(TWO, 5))),
        Level.SURPLUS,
        Cause.AGAIN,
    ),
    "a bundle that was live before on another partition alone": (
        lambda: verdict(published(), at=standing(activation(ONE, 0, partition=3), activation(TWO, 0))),
        Level.SURPLUS,
        Cause.FORGED,
    ),
    "what was live at that place before the topic was restored": (
        lambda: verdict(published(), at=standing(activation(ONE, 7, THEIRS), activation(TWO, 0))),
        Level.SURPLUS,
        Cause.AGAIN,
    ),
    "what was live behind that place before the topic was restored": (
        lambda: verdict(published(), at=standing(activation(ONE, 8, THEIRS), activation(TWO, 0))),
        Level.SURPLUS,
        Cause.FORGED,
    ),
    "a bundle that came later, by another build": (
        lambda: verdict(published(score=0.8, runtime="r"), at=standing(activation(TWO, 0), activation(ONE, 8))),
        Level.SURPLUS,
        Cause.FORGED,
    ),
    "a bundle that came later": (
        lambda: verdict(published(), at=standing(activation(TWO, 0), activation(ONE, 8))),
        Level.SURPLUS,
        Cause.FORGED,
    ),
    "a bundle that was never live": (
        lambda: verdict(published(), at=standing(activation(TWO, 0))),
        Level.SURPLUS,
        Cause.FORGED,
    ),
    "a bundle that was never live, and gives something else": (
        lambda: verdict(published(score=0.8), at=standing(activation(TWO, 0))),
        Level.SURPLUS,
        Cause.FORGED,
    ),
    "nothing was live": (lambda: verdict(published(), at=standing()), Level.SURPLUS, Cause.FORGED),
    "an id that is not made of its fields": (
        lambda: verdict(published(prediction_id="lead/1/events/2/8")),
        Level.SURPLUS,
        Cause.FORGED,
    ),
    "another topic": (
        lambda: verdict(published(source_topic="other", prediction_id="lead/1/other/2/7")),
        Level.SURPLUS,
        Cause.FORGED,
    ),
    "a key that is not the entity": (lambda: verdict(published(key=b"m")), Level.DIFFERENT, Cause.FORGED),
    "another entity than the event's": (
        lambda: verdict(published(lead_id="m", key=b"m")),
        Level.DIFFERENT,
        Cause.FORGED,
    ),
    "another occurred_at than the event's": (lambda: verdict(published(occurred_at=1)), Level.DIFFERENT, Cause.FORGED),
}


@pytest.mark.parametrize("name", CASES)
def test_a_prediction_gets_its_level_and_its_cause(name: str) -> None:
    make, level, cause = CASES[name]
    found = make()
    assert (found.level, found.cause) == (level, cause), found.why
    assert bool(found.why) is (cause is not None)


def test_every_cause_is_described_and_has_a_case() -> None:
    assert CAUSES.keys() == set(Cause)
    elsewhere = {Cause.EVENT_GONE, Cause.PREDICTION_GONE, Cause.LETTER_GONE}  # told by the topics' bounds
    assert {cause for _, _, cause in CASES.values()} - {None} == set(Cause) - elsewhere
    assert set(Cause) > ALARMING


numbers = st.floats(allow_nan=False, allow_infinity=False)
plain = st.one_of(st.text(), st.integers(), numbers, st.none(), st.booleans())
values = st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6)


@given(score=numbers, items=st.lists(st.fixed_dictionaries({"code": st.text(), "points": numbers})), extra=values)
def test_what_is_unchanged_is_bit_equal(score: float, items: list[Any], extra: Any) -> None:
    own = {"score": score, "items": items, "extra": extra}
    assert verdict(published(**own), again=rescored(fields(**own, scored_at=0))).level is Level.EQUAL


@given(first=numbers, second=numbers)
def test_two_numbers_differ_exactly_where_their_bits_do(first: float, second: float) -> None:
    assert bool(differing({"a": first}, {"a": second})) is (first.hex() != second.hex())


def test_of_two_of_one_id_with_other_contents_the_unexplained_is_forged() -> None:
    true, forged, repeat = published(), published(score=0.8), published(scored_at=9)
    pairs = [(each, verdict(each)) for each in (true, forged, repeat)]
    assert [found.cause for _, found in settled(pairs)] == [None, Cause.FORGED, None]


def test_two_of_one_id_that_say_the_same_do_not_make_each_other_forged() -> None:
    pairs = [(each, verdict(each)) for each in (published(score=0.8), published(score=0.8, scored_at=9))]
    assert [found.cause for _, found in settled(pairs)] == [Cause.UNEXPLAINED] * 2
