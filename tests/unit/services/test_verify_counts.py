"""What accounts for an event, and what leaves it without a prediction."""

from __future__ import annotations

from dataclasses import replace

from scorer.core.dead_letters import PREFIX
from scorer.core.ranges import Gone
from scorer.core.verdicts import Cause
from tests.unit.services.redrive_world import LETTERS, OUTPUT, SOURCE
from tests.unit.services.samples import BAD, lead
from tests.unit.services.verify_world import GROUP, identity, scored


def test_a_prediction_that_is_there_with_a_wrong_key_leaves_its_event_with_one() -> None:
    it = scored(3)
    log = it.world.logs[OUTPUT]
    log[0, 0] = replace(log[0, 0], key=b"somebody else")
    found = it.verify()
    assert (found.causes, found.events) == ({Cause.FORGED: 1}, {"prediction": 6})


def test_a_prediction_that_was_lost_is_missing_of_a_topic_that_was_restored_too() -> None:
    it = scored(3)
    it.activations = [replace(each, source_topic_id="before") for each in it.activations]
    assert it.verify().clean
    del it.world.logs[OUTPUT][0, 0]
    found = it.verify()
    assert (found.events["missing"], found.clean) == (1, False)


def test_a_dead_letter_that_does_not_say_of_which_bytes_it_is_accounts_for_the_event_at_its_place() -> None:
    it = scored(2)
    it.event((0, 2), lead(9))
    notes = {"topic": SOURCE, "partition": "0", "offset": "2", "connector.name": GROUP}
    it.letter(b"k", None, [(f"{PREFIX}{name}", text.encode()) for name, text in notes.items()])
    assert it.verify().events == {"prediction": 4, "dead_letter": 1}


def test_whether_a_letter_is_gone_is_not_told_of_a_lane_nor_without_the_bundle() -> None:
    it = scored(2)
    it.event((0, 2), BAD)
    it.world.emptied[LETTERS] = {0: 7}
    assert it.verify().causes == {Cause.LETTER_GONE: 1}
    it.spare[identity(it.live).sha256] = "no such folder"
    assert it.verify().causes == {Cause.BUNDLE: 4, Cause.UNEXPLAINED: 1}
    it = scored(2)
    it.world.emptied[LETTERS] = {0: 7}
    assert it.verify(lane="spring").causes == {Cause.UNEXPLAINED: 4}


def test_a_prediction_that_may_be_gone_comes_before_a_letter_that_may_be() -> None:
    it = scored(2)
    it.event((0, 2), BAD)
    it.world.emptied[LETTERS] = {0: 7}
    it.gone = Gone(compacted=True), Gone()
    assert it.verify().causes == {Cause.PREDICTION_GONE: 1}
