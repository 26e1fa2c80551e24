"""Each cause by its smallest case, and no cause at all for a prediction that is as it was published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.core.account import STRANGERS_MIN, Account
from scorer.core.compose import Origin
from scorer.core.contract import parse_contract
from scorer.core.deployments import Activation, Identity, Intent
from scorer.core.likeness import differing
from scorer.core.lineage import Lineage, Standing, before_scoring, out_of_turn
from scorer.core.verdicts import ALARMING, CAUSES, Cause, Event, Level, Published, Rescored, Verdict, judge, settled

CONTRACT = parse_contract(
    """
name = "lead"
version = "1"
entity = "lead_id"
prediction = "predictions.lead-score"
[inputs.age]
field = "age"
[outputs.score]
from = "p"
[outputs.bucket]
of = "score"
bins = { A = 0.5, B = 0.0 }
[outputs.items]
each = { code = "c", points = "s" }
"""
)
HERE = Origin("live", "1.0", "onnxruntime 1", "avx2")
ONE, TWO = Identity("lead", "1", "a" * 64), Identity("lead", "2", "b" * 64)
OURS, THEIRS = "topic-now", "topic-before"


def fields(**changed: Any) -> dict[str, Any]:
    """A prediction's fields."""
    usual = {
        "prediction_id": "lead/1/events/2/7",
        "event_id": "e",
        "lead_id": "l",
        "score": 0.75,
        "bucket": "A",
        "items": [{"code": "x", "points": 1.5}],
        "model_name": "lead",
        "model_version": "1",
        "model_sha256": ONE.sha256,
        "source_topic": "events",
        "source_partition": 2,
        "source_offset": 7,
        "source_timestamp": 5000,
        "source_schema_id": 1,
        "event_digest": "d",
        "lane": "live",
        "scorer_version": HERE.scorer_version,
        "runtime": HERE.runtime,
        "cpu_class": HERE.cpu_class,
        "occurred_at": 4000,
        "scored_at": 6000,
    }
    return {**usual, **changed}


def published(schema_id: int = 3, key: bytes = b"l", **changed: Any) -> Published:
    """A prediction in its topic."""
    return Published((0, 1), key, schema_id, fields(**changed))


def rescored(own: Mapping[str, Any] | None = None, **changed: Any) -> Rescored:
    """What the core makes of the event."""
    return replace(Rescored(own or fields(scored_at=0), "", 3, ONE.sha256, CONTRACT, HERE), **changed)


def activation(bundle: Identity, first_offset: int, topic_id: str = OURS, partition: int = 2) -> Activation:
    """A bundle is live from an offset on."""
    return Activation("g.lead", "lead", bundle, 1, "events", topic_id, partition, first_offset, -1, "w")


def standing(*activations: Activation, recreated: bool = False) -> Standing:
    """What is known of partition 2, offset 7."""
    lineage = Lineage("g.lead", OURS)
    lineage.apply(activations)
    return Standing("events", recreated or lineage.recreated, lineage, lineage.at(2, 7))


SCENE = standing(activation(ONE, 0))
SAME = Event("d", 5000)


def verdict(
    prediction: Published,
    *,
    event: Event = SAME,
    at: Standing = SCENE,
    again: Rescored | None = None,
    alone: Mapping[str, Any] | None = None,
) -> Verdict:
    """All steps, as the services take them."""
    before = before_scoring(prediction, event, at)
    if before is not None:
        return before
    found = judge(prediction, again or rescored(), alone)
    return found if found.cause is not None else out_of_turn(prediction, at) or found


OTHER_TIME = Event("x", 5001)
CASES: dict[str, tuple[Callable[[], Verdict], Level, Cause | None]] = {
    "as it was": (lambda: verdict(published()), Level.EQUAL, None),
    "scored at another time and in another lane": (
        lambda: verdict(published(scored_at=9, lane="spring")),
        Level.EQUAL,
        None,
    ),
    "another build, the same bits": (lambda: verdict(published(runtime="onnxruntime 0")), Level.EQUAL, None),
    "a score beyond the tolerance": (lambda: verdict(published(score=0.76)), Level.DIFFERENT, Cause.UNEXPLAINED),
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
    elsewhere = {Cause.EVENT_GONE, Cause.PREDICTION_GONE}  # told by the topics' bounds, before there is an event
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


def test_many_strange_events_are_another_topic_and_few_are_changed_events() -> None:
    for count, cause in ((STRANGERS_MIN - 1, Cause.EVENT), (STRANGERS_MIN, Cause.RECREATED)):
        account = Account()
        for _ in range(count):
            account.judged(published(), verdict(published(), event=OTHER_TIME))
        account.close()
        assert account.causes == {cause: count}
        assert account.clean is (cause is Cause.RECREATED)
        assert list(account.examples) == [cause]
    account = Account()
    for _ in range(STRANGERS_MIN):
        account.judged(published(), verdict(published(), event=OTHER_TIME))
        account.judged(published(), verdict(published()))
    account.judged(published(), verdict(published()))
    account.close()
    assert account.causes == {Cause.EVENT: STRANGERS_MIN}


def test_examples_show_what_differs_and_nothing_of_whom_it_is_about() -> None:
    account = Account()
    for score, lead in ((0.76, "l"), (0.99, "l"), (0.8, "m")):
        again = rescored()
        account.judged(published(score=score, lead_id=lead), judge(published(score=score, lead_id=lead), again), again)
    worst = account.examples[Cause.UNEXPLAINED][0]
    assert dict(worst.values) == {"score": (0.99, 0.75)}
    assert dict(account.examples[Cause.FORGED][0].values) == {"score": (0.8, 0.75)}


def test_the_lineage_knows_every_incarnation_of_the_topic_and_whose_word_it_was() -> None:
    lineage = Lineage("g.lead", OURS)
    intent = Intent("g.lead", "lead", ONE, "place", "who", "why", 1, "events", number=3)
    carried = replace(activation(ONE, 0), intent=3)
    lineage.apply([intent, activation(TWO, 0, THEIRS), carried, activation(TWO, 10), activation(ONE, 10)])
    lineage.apply([replace(activation(TWO, 0), group="another")])
    assert lineage.recreated
    assert lineage.at(2, 9) == carried
    assert lineage.at(2, 10) == activation(ONE, 10), "the later record counts"
    assert lineage.at(3, 9) is None
    assert lineage.changes(2, 0, 11) == [10]
    assert lineage.changes(2, 0, 10) == []
    assert lineage.intent_of(carried) == intent == lineage.intent_of(activation(ONE, 10))
    assert lineage.intent_for(TWO) is None
