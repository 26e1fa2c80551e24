"""Workers that are killed: at random, and at each place where a kill could lose or repeat something."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.plugin import Plan
from tests.faults.replays import replayed
from tests.faults.scenarios import killed_at_points, killed_at_random
from tests.faults.stage import AT_LEAST, EXACTLY
from tests.harness.fault_kafka import FaultKafka

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3_600)]
both = pytest.mark.parametrize("delivery", [EXACTLY, AT_LEAST])


@pytest.mark.smoke
@both
def test_t1_workers_killed_at_random_lose_nothing(
    plan: Plan, one_node: FaultKafka, tmp_path: Path, delivery: str
) -> None:
    killed_at_random(plan, one_node, tmp_path, delivery)


@pytest.mark.parametrize("delivery", [pytest.param(EXACTLY, marks=pytest.mark.smoke), AT_LEAST])
def test_t2_workers_killed_at_each_point_around_a_commit_lose_nothing(
    plan: Plan, one_node: FaultKafka, tmp_path: Path, delivery: str
) -> None:
    killed_at_points(plan, one_node, tmp_path, delivery)


def test_t31_a_replay_that_is_killed_again_and_again_fills_its_lane_once(
    plan: Plan, one_node: FaultKafka, tmp_path: Path
) -> None:
    replayed(plan, one_node, tmp_path)
