"""Which topics a verification reads."""

from __future__ import annotations

import json
from dataclasses import replace
from math import nan
from typing import Any, cast

import pytest

from scorer.cli.compare_wiring import comparison
from scorer.cli.explain_wiring import explanation, parse_id
from scorer.cli.verify_view import account_document, account_lines
from scorer.cli.verify_wiring import Scene, from_ms, gone, late_ms, verification
from scorer.core.account import Account
from scorer.core.errors import ConfigError, RefusedError
from scorer.core.pieces import Asked
from scorer.core.ranges import LATE_MS
from scorer.edges.spill import Spill
from tests.unit.cli.conftest import LEAD, Load
from tests.unit.cli.scenes import scene
from tests.unit.services.redrive_world import LETTERS, OUTPUT, SOURCE
from tests.unit.services.samples import BASE_MS
from tests.unit.services.verify_world import Scored, scored

LANE = ".lane.spring"


@pytest.fixture
def it() -> Scored:
    """Two events of each partition that a replay has scored; of the first one it has lost the prediction."""
    made = scored(2)
    made.world.logs[OUTPUT].clear()
    made.live = replace(made.live, origin=replace(made.live.origin, lane="spring"))
    made.score([(0, 0), (0, 1), (1, 0), (1, 1)])
    del made.world.logs[OUTPUT][0, 0]
    made.world.logs[OUTPUT + LANE] = made.world.logs[OUTPUT]
    made.world.logs[LETTERS + LANE] = {}
    return made


@pytest.fixture
def at_hand(it: Scored, load: Load) -> Scene:
    """What the commands work with."""
    return scene(it, load(LEAD).settings)


@pytest.fixture
def verified(at_hand: Scene) -> Any:
    def verified() -> Account:
        with Spill() as spill:
            return verification(at_hand, spill, Asked(), "spring")[1]()

    return verified


def test_a_rejection_by_the_replay_accounts_for_an_event_of_its_lane(it: Scored, verified: Any) -> None:
    it.reject((0, 0))
    it.world.logs[LETTERS], it.world.logs[LETTERS + LANE] = {}, it.world.logs[LETTERS]
    assert verified().events == {"prediction": 3, "dead_letter": 1}


def test_a_rejection_by_the_live_stream_hides_nothing_that_a_lane_has_lost(it: Scored, verified: Any) -> None:
    it.reject((0, 0))
    assert verified().events == {"prediction": 3, "missing": 1}


def test_a_lane_that_no_replay_has_begun_is_called_that_and_not_a_topic_for_setup_to_make(at_hand: Scene) -> None:
    never = "lane autumn of lead was never begun; see: scorer replay"
    with Spill() as spill, Spill() as other:
        with pytest.raises(ConfigError, match=never):
            verification(at_hand, spill, Asked(), "autumn")
        with pytest.raises(ConfigError, match=never):
            comparison(at_hand, (spill, other), Asked(), ("spring", "autumn"))
    with pytest.raises(ConfigError, match=never):
        explanation(at_hand, parse_id("lead/1/events.new-lead/0/0"), "autumn")


def live(it: Scored, at_hand: Scene) -> Account:
    """The live topics, verified."""
    at_hand.lineage.apply([*it.activations, *it.entries])
    with Spill() as spill:
        return verification(at_hand, spill, Asked(), "live")[1]()


@pytest.fixture
def whole(it: Scored) -> Scored:
    """The same events, as live has scored them."""
    it.world.logs[OUTPUT] = {}
    it.live = replace(it.live, origin=replace(it.live.origin, lane="live"))
    it.score([(0, 0), (0, 1), (1, 0), (1, 1)])
    return it


def test_a_partition_of_which_nothing_is_committed_yet_is_pending_from_where_something_is_live_on_it(
    whole: Scored, at_hand: Scene
) -> None:
    del whole.world.logs[OUTPUT][1, 1]
    assert live(whole, at_hand).events == {"prediction": 3, "missing": 1}
    cast(Any, at_hand.groups).committed = lambda *_: {0: 2}
    found = live(whole, at_hand)
    assert (found.events, found.clean) == ({"prediction": 2}, True)


def test_what_is_deployed_after_it_has_begun_is_known_before_anything_is_judged(whole: Scored, load: Load) -> None:
    told = list(whole.activations)
    with Spill() as spill:
        found = verification(scene(whole, load(LEAD).settings, lambda: [*told]), spill, Asked(), "live")[1]()
    assert (found.events, found.clean) == ({"prediction": 4}, True)


def test_offsets_that_expired_before_they_were_scored_are_an_alarm(whole: Scored, at_hand: Scene) -> None:
    whole.world.lows[SOURCE] = 1
    del whole.world.logs[SOURCE][0, 0], whole.world.logs[SOURCE][1, 0]
    cast(Any, at_hand.groups).committed = lambda *_: {0: 2, 1: 0}
    found = live(whole, at_hand)
    assert (found.lost, found.clean, found.events) == (1, False, {"prediction": 1})


def test_without_the_right_to_know_what_topics_keep_nothing_is_said_to_be_gone_or_missing(
    whole: Scored, at_hand: Scene
) -> None:
    for denied in (OUTPUT, LETTERS):

        def topic(name: str, denied: str = denied) -> Any:
            if name == denied:
                raise RefusedError(name)
            return None, {}

        cast(Any, at_hand.admin).topic = topic
        with pytest.raises(RefusedError):
            live(whole, at_hand)


@pytest.mark.parametrize(
    ("held", "found"),
    [
        ({}, (None, False)),
        ({"retention.ms": "5", "cleanup.policy": "delete"}, (5, False)),
        ({"retention.ms": "-1", "cleanup.policy": "delete"}, (None, False)),
        ({"retention.ms": "5", "retention.bytes": "9"}, (None, False)),
        ({"retention.ms": "5", "cleanup.policy": "compact"}, (None, True)),
        ({"retention.ms": "5", "cleanup.policy": "compact,delete"}, (5, True)),
    ],
)
def test_a_topic_keeps_for_sure_what_its_time_says_unless_its_size_or_compaction_bounds_it(
    held: dict[str, str], found: tuple[int | None, bool]
) -> None:
    made = gone(held)
    assert (made.kept_ms, made.compacted) == found


def test_writers_clocks_may_be_as_far_ahead_as_their_topic_says_and_an_hour_at_least() -> None:
    assert late_ms({}) == LATE_MS
    assert late_ms({"message.timestamp.after.max.ms": str(2 * LATE_MS)}) == 2 * LATE_MS
    assert late_ms({"message.timestamp.after.max.ms": "5"}) == LATE_MS
    stamped = {"message.timestamp.after.max.ms": str(2 * LATE_MS), "message.timestamp.type": "LogAppendTime"}
    assert late_ms(stamped) == LATE_MS


def test_predictions_are_looked_for_from_before_the_range_on_and_never_before_the_first_moment(
    whole: Scored, at_hand: Scene
) -> None:
    chosen = whole.range()
    assert from_ms(at_hand, Asked(), chosen) is None
    assert from_ms(at_hand, Asked(since_ms=5), chosen) == 0
    assert from_ms(at_hand, Asked(since_ms=BASE_MS), chosen) == BASE_MS - LATE_MS
    assert from_ms(at_hand, Asked(since_ms=BASE_MS), chosen, 2**62) == 0
    assert from_ms(at_hand, Asked(offsets={0: (0, 2)}), chosen, 7) == BASE_MS - 7


def test_a_finding_is_json_though_a_prediction_holds_no_number(whole: Scored, at_hand: Scene) -> None:
    whole.change((0, 0), score=nan, runtime="\x1b[2J")
    found = live(whole, at_hand)
    with Spill() as spill:
        gathering = verification(at_hand, spill, Asked(), "live")[0].gathering
    document = account_document("lead", OUTPUT, replace(gathering, account=found), found)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    (example,) = document["examples"]["other_build"]
    assert example["fields"]["score"][0] == "nan"
    lines = "\n".join(account_lines(document))
    assert "score: published nan" in lines
    assert "\x1b" not in lines


def test_people_are_told_at_the_end_too_what_was_not_judged_and_what_was_lost(whole: Scored, at_hand: Scene) -> None:
    with Spill() as spill:
        gathering = verification(at_hand, spill, Asked(), "live")[0].gathering
    gathering.range = replace(gathering.range, pending=7)
    lines = list(account_lines(account_document("lead", OUTPUT, gathering, Account(lost=3))))
    assert "7 offsets behind them are not committed yet, and not judged" in lines
    assert "3 offsets before them had expired before they were scored" in lines
    assert lines[-1] == "somebody has to look at this"
