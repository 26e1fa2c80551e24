"""Verdicts counted once each, and the lineage that they rest on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scorer.core.account import STRANGERS_MIN, Account
from scorer.core.deployments import Intent
from scorer.core.lineage import Lineage, nowhere
from scorer.core.verdicts import ALARMING, Cause, Event, Level, Verdict, judge
from tests.unit.core.judged import (
    ONE,
    OTHER_TIME,
    OURS,
    THEIRS,
    TWO,
    activation,
    published,
    rescored,
    standing,
    verdict,
)


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


def test_events_of_which_the_bytes_alone_are_others_are_changed_events_however_many_they_are() -> None:
    account = Account()
    for _ in range(2 * STRANGERS_MIN):
        account.judged(published(), verdict(published(), event=Event("x", 5000)))
    account.close()
    assert account.causes == {Cause.EVENT: 2 * STRANGERS_MIN}
    assert not account.clean


def test_events_of_a_topic_that_is_known_to_be_another_are_not_counted_for_it_twice() -> None:
    account, anew = Account(), standing(activation(ONE, 0, THEIRS))
    for _ in range(2 * STRANGERS_MIN):
        account.judged(published(), verdict(published(), event=OTHER_TIME, at=anew))
    account.close()
    assert account.causes == {Cause.RECREATED: 2 * STRANGERS_MIN}


@pytest.mark.parametrize("cause", Cause)
def test_an_account_is_clean_unless_a_cause_in_it_is_one_that_no_healthy_system_has(cause: Cause) -> None:
    account = Account()
    account.missed("lead/1/t/0/0", Verdict(Level.UNCHECKED, cause))
    assert account.clean is (cause not in ALARMING)


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


def test_a_place_of_a_topic_that_was_restored_counts_as_the_topic_that_was_spoken_of_last_says() -> None:
    lineage = Lineage("g.lead", OURS)
    lineage.apply([activation(ONE, 0, "first"), activation(TWO, 0, THEIRS)])
    assert lineage.at(2, 9) == activation(TWO, 0, THEIRS)
    lineage.apply([activation(ONE, 5, "first")])
    assert lineage.at(2, 9) == activation(ONE, 5, "first")
    lineage.apply([activation(TWO, 8)])
    assert lineage.at(2, 9) == activation(TWO, 8), "the topic as it is comes before all others"


def test_of_two_intents_for_a_bundle_the_newer_one_says_where_it_is() -> None:
    lineage = Lineage("g.lead", OURS)
    older = Intent("g.lead", "lead", ONE, "place", "who", "why", 1, "events", number=3)
    newer = replace(older, place="elsewhere", number=9)
    lineage.apply([older, newer])
    assert lineage.intent_for(ONE) == newer
    assert lineage.intent_of(activation(ONE, 0)) == newer


def test_a_topic_whose_identity_the_worker_does_not_ask_for_is_not_known_to_be_made_anew() -> None:
    lineage = Lineage("g.lead", OURS)
    lineage.apply([activation(ONE, 0, "")])
    assert not lineage.recreated
    assert lineage.at(2, 9) == activation(ONE, 0, "")


def test_a_bundle_that_is_wanted_is_known_before_it_is_live_anywhere() -> None:
    lineage = Lineage("g.lead", OURS)
    assert not lineage.knows(ONE)
    lineage.apply([Intent("g.lead", "lead", ONE, "place", "who", "why", 1, "events", number=3)])
    assert lineage.knows(ONE)


def test_a_bundle_of_another_stream_of_the_same_topic_is_foreign_unless_it_is_this_stream_s_too() -> None:
    lineage = Lineage("g.lead", OURS)
    lineage.apply([replace(activation(TWO, 0), group="g.churn"), replace(activation(ONE, 0), group="g.churn")])
    lineage.apply([activation(ONE, 0)])
    assert lineage.foreign(TWO, "events")
    assert not lineage.foreign(TWO, "other events")
    assert not lineage.foreign(ONE, "events")


def test_the_first_offset_at_which_anything_was_live_is_that_of_the_topic_as_it_is() -> None:
    lineage = Lineage("g.lead", OURS)
    lineage.apply([activation(ONE, 2, THEIRS), activation(TWO, 9), activation(ONE, 5)])
    assert (lineage.first(2), lineage.first(3)) == (5, None)


def test_what_was_lost_before_it_was_scored_leaves_no_account_clean() -> None:
    assert Account().clean
    assert not Account(lost=1).clean


@pytest.mark.parametrize(
    ("extent", "compacted", "cause"),
    [
        ((8, 10), False, Cause.EVENT_GONE),
        ((7, 10), False, Cause.FORGED),
        ((7, 10), True, Cause.EVENT_GONE),
        ((7, 8), True, Cause.EVENT_GONE),
        ((5, 7), True, Cause.FORGED),
        ((8, 8), True, Cause.EVENT_GONE),
        ((0, 0), False, Cause.FORGED),
    ],
)
def test_a_prediction_without_its_event_is_gone_where_the_topic_may_have_lost_it_and_forged_elsewhere(
    extent: tuple[int, int], compacted: bool, cause: Cause
) -> None:
    found = nowhere(published(), standing(activation(ONE, 0)), extent, compacted=compacted)
    assert found.cause is cause
    anew = nowhere(published(), standing(activation(ONE, 0, THEIRS)), extent, compacted=compacted)
    assert anew.cause is (Cause.EVENT_GONE if extent[0] > 7 else Cause.RECREATED)
    alone = replace(standing(activation(ONE, 0)), lineage=None)
    assert nowhere(published(model_sha256="f" * 64), alone, extent, compacted=compacted).cause is cause
    strange = published(model_sha256="f" * 64)
    assert nowhere(strange, standing(activation(ONE, 0)), extent, compacted=compacted).cause is Cause.BUNDLE
    misnamed = published(prediction_id="lead/1/events/2/8")
    assert nowhere(misnamed, standing(activation(ONE, 0)), extent, compacted=compacted).cause is Cause.FORGED
