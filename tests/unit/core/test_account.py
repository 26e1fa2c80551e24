"""Verdicts counted once each, and the lineage that they rest on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scorer.core.account import STRANGERS_MIN, Account
from scorer.core.deployments import Intent
from scorer.core.lineage import Lineage
from scorer.core.verdicts import ALARMING, Cause, Level, Verdict, judge
from tests.unit.core.judged import ONE, OTHER_TIME, OURS, THEIRS, TWO, activation, published, rescored, verdict


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
