"""`scorer explain` says of a prediction what `scorer verify` says of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from scorer.cli.explain_wiring import Explanation, explanation, parse_id
from scorer.core.bundle import Bundle
from scorer.core.deployments import Intent
from scorer.core.model import load_model
from scorer.core.verdicts import Cause
from tests.unit.cli.conftest import LEAD, Load
from tests.unit.cli.scenes import scene
from tests.unit.services.redrive_world import OUTPUT, SOURCE
from tests.unit.services.samples import lead
from tests.unit.services.verify_world import GROUP, Scored, identity, scored


@pytest.fixture
def it() -> Scored:
    return scored(3)


def told(it: Scored, load: Load, name: str, **plain: Any) -> Explanation:
    at_hand = scene(it, load(LEAD).settings)
    vars(at_hand.admin).update(plain)
    at_hand.lineage.apply([*it.activations, *it.entries])
    return explanation(at_hand, parse_id(name), "live")


def cause(it: Scored, load: Load, name: str, **plain: Any) -> Cause | None:
    found = told(it, load, name, **plain)
    assert found.verdict is not None
    return found.verdict.cause


def test_a_prediction_of_an_event_that_never_was_is_forged_and_of_one_that_is_gone_is_not(
    it: Scored, load: Load
) -> None:
    it.change((0, 0), source_offset=50, prediction_id=f"lead/1/{SOURCE}/0/50")
    assert cause(it, load, f"lead/1/{SOURCE}/0/50") is Cause.FORGED
    del it.world.logs[SOURCE][0, 1]
    assert cause(it, load, f"lead/1/{SOURCE}/0/1") is Cause.FORGED
    compacted: Any = lambda _: (None, {"cleanup.policy": "compact"})  # noqa: E731
    assert cause(it, load, f"lead/1/{SOURCE}/0/1", topic=compacted) is Cause.EVENT_GONE
    assert cause(it, load, f"lead/1/{SOURCE}/0/50", topic=compacted) is Cause.FORGED
    it.world.lows[SOURCE] = 2
    assert cause(it, load, f"lead/1/{SOURCE}/0/1") is Cause.EVENT_GONE


def test_a_later_bundle_has_redriven_an_event_if_the_stream_has_rejected_that_very_event(
    it: Scored, load: Load
) -> None:
    it.event((1, 3), lead(9))
    old = it.live
    toml = old.model.bundle.files["model.toml"].replace(b'version = "1"', b'version = "2"')
    it.live = replace(old, model=load_model(Bundle("b", {**old.model.bundle.files, "model.toml": toml})))
    it.spare[identity(old).sha256] = old
    it.entries.append(Intent(GROUP, "lead", identity(it.live), "place", "who", "why", 1, SOURCE, number=9))
    it.score([(1, 3)])
    name = f"lead/2/{SOURCE}/1/3"
    it.reject((1, 2))
    assert cause(it, load, name) is Cause.FORGED
    it.reject((1, 3), group="scorer.churn")
    assert cause(it, load, name) is Cause.FORGED
    it.reject((1, 3))
    assert cause(it, load, name) is None


def test_a_prediction_before_what_its_event_s_time_leads_to_is_found_too(it: Scored, load: Load) -> None:
    late: Any = lambda *_: {0: 2, 1: 2}  # noqa: E731
    assert told(it, load, f"lead/1/{SOURCE}/0/0", since=late).published is not None
    del it.world.logs[OUTPUT][0, 0]
    assert told(it, load, f"lead/1/{SOURCE}/0/0", since=late).published is None


def test_a_bundle_that_was_deployed_while_it_looked_is_known(it: Scored, load: Load) -> None:
    at_hand = scene(it, load(LEAD).settings, lambda: [*it.activations])
    verdict = explanation(at_hand, parse_id(f"lead/1/{SOURCE}/0/0"), "live").verdict
    assert verdict is not None
    assert verdict.cause is None


def test_what_an_open_transaction_hides_is_not_said_to_be_nowhere(it: Scored, load: Load) -> None:
    name = f"lead/1/{SOURCE}/0/99"
    assert told(it, load, name).whole
    assert told(it, load, name, ends=lambda *_: {0: 3, 1: 3}).whole
    assert not told(it, load, name, ends=lambda *_: {0: 3, 1: 4}).whole
    assert told(it, load, f"lead/1/{SOURCE}/0/0", ends=lambda *_: {0: 3, 1: 4}).published is not None
