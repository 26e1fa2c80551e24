"""The protocol's own dangers: zombies, aborts, rebalances, poison."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.outages import rebalanced_while_waiting
from tests.faults.plugin import Plan
from tests.faults.scenarios import (
    aborted_again_and_again,
    frozen_and_woken,
    poisoned,
    rebalanced_again_and_again,
    twins,
)
from tests.faults.stage import AT_LEAST, EXACTLY
from tests.harness.fault_kafka import FaultKafka

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3_600)]
both = pytest.mark.parametrize("delivery", [EXACTLY, AT_LEAST])


@pytest.mark.smoke
def test_t4_a_worker_that_slept_through_its_session_commits_nothing(
    plan: Plan, one_node: FaultKafka, tmp_path: Path
) -> None:
    frozen_and_woken(plan, one_node, tmp_path, EXACTLY)


def test_t4_a_worker_that_slept_through_its_transaction_commits_nothing(
    plan: Plan, one_node: FaultKafka, tmp_path: Path
) -> None:
    frozen_and_woken(plan, one_node, tmp_path, EXACTLY, timeout_ms=10_000)


def test_t4_a_worker_that_slept_through_its_session_loses_nothing(
    plan: Plan, one_node: FaultKafka, tmp_path: Path
) -> None:
    frozen_and_woken(plan, one_node, tmp_path, AT_LEAST)


def test_t5_of_two_workers_with_one_id_the_older_ends_and_stays_away(
    plan: Plan, one_node: FaultKafka, tmp_path: Path
) -> None:
    twins(plan, one_node, tmp_path, EXACTLY)


@pytest.mark.smoke
def test_t6_what_was_in_an_aborted_transaction_comes_once_in_a_later_one(
    plan: Plan, one_node: FaultKafka, tmp_path: Path
) -> None:
    aborted_again_and_again(plan, one_node, tmp_path, EXACTLY)


@pytest.mark.parametrize("protocol", ["cooperative-sticky", "range", "consumer"])
@both
def test_t7_workers_that_come_and_go_lose_and_repeat_nothing(
    plan: Plan, one_node: FaultKafka, tmp_path: Path, delivery: str, protocol: str
) -> None:
    if plan.level == "faults" and delivery == AT_LEAST and protocol != "cooperative-sticky":
        pytest.skip("at full counts alone")
    rebalanced_again_and_again(plan, one_node, tmp_path, delivery, protocol=protocol)


@both
def test_t7_what_was_in_hand_when_its_partition_went_is_left_to_the_new_owner(
    plan: Plan, one_node: FaultKafka, tmp_path: Path, delivery: str
) -> None:
    rebalanced_while_waiting(plan, one_node, tmp_path, delivery)


@pytest.mark.parametrize("delivery", [pytest.param(EXACTLY, marks=pytest.mark.smoke), AT_LEAST])
def test_t16_every_kind_of_poison_becomes_one_dead_letter_though_workers_are_killed(
    plan: Plan, one_node: FaultKafka, tmp_path: Path, delivery: str
) -> None:
    poisoned(plan, one_node, tmp_path, delivery)
