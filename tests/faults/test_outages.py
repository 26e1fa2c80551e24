"""Neighbours that are away are waited for, and a stop is heard in every state."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.outages import registry_away, stopped
from tests.faults.plugin import Plan
from tests.faults.stage import AT_LEAST, EXACTLY
from tests.harness.fault_kafka import FaultKafka

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3_600)]


@pytest.mark.smoke
def test_t19_a_registry_that_is_away_makes_no_dead_letters(plan: Plan, one_node: FaultKafka, tmp_path: Path) -> None:
    registry_away(plan, one_node, tmp_path, EXACTLY)


@pytest.mark.parametrize("delivery", [pytest.param(EXACTLY, marks=pytest.mark.smoke), AT_LEAST])
def test_t20_a_stop_is_heard_in_time_in_every_state(
    plan: Plan, one_node: FaultKafka, tmp_path: Path, delivery: str
) -> None:
    stopped(plan, one_node, tmp_path, delivery)
