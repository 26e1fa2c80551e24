"""Which topics a verification reads."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from scorer.cli.compare_wiring import comparison
from scorer.cli.explain_wiring import explanation, parse_id
from scorer.cli.verify_wiring import Scene, verification
from scorer.core.account import Account
from scorer.core.errors import ConfigError
from scorer.core.lineage import Lineage
from scorer.core.pieces import Asked
from scorer.edges.spill import Spill
from tests.unit.cli.conftest import LEAD, Load
from tests.unit.services.redrive_world import LETTERS, OUTPUT
from tests.unit.services.verify_world import GROUP, TOPIC_ID, Scored, scored

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
    settings = load(LEAD).settings
    plain: Any = SimpleNamespace(
        topic=lambda _: (None, {}),
        topics=lambda: it.world.logs,
        committed=lambda *_: {},
        recipe=it.bundles,
        extents=it.world.extents,
    )
    lineage = Lineage(GROUP, TOPIC_ID)
    return Scene(
        settings, settings.streams[0], it.world.topics(), plain, plain, plain, it.decoder(), None, lineage, plain
    )


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
