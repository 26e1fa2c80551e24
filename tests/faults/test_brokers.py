"""Brokers that restart, freeze, are slow, lack copies, or hear of a transaction's end too late."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import brokers
from tests.faults.plugin import Plan
from tests.faults.stage import AT_LEAST, EXACTLY
from tests.faults.test_mutants import mutant
from tests.harness.fault_kafka import FaultKafka
from tests.oracle.judge import Broken

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3_600)]
both = pytest.mark.parametrize("delivery", [EXACTLY, AT_LEAST])


@both
def test_t9_a_full_queue_and_a_slow_way_lose_nothing(
    plan: Plan, one_node: FaultKafka, tmp_path: Path, delivery: str
) -> None:
    brokers.pressed(plan, one_node, tmp_path, delivery)


def test_t10_a_single_broker_that_is_killed_and_started_again_costs_nothing_but_time(
    plan: Plan, one_node: FaultKafka, tmp_path: Path
) -> None:
    brokers.restarted(plan, one_node, tmp_path, AT_LEAST)  # docs/guarantees.md says why not exactly once


@both
def test_t10_the_loss_of_one_broker_of_three_costs_nothing_but_time(
    plan: Plan, three_nodes: FaultKafka, tmp_path: Path, delivery: str
) -> None:
    brokers.restarted(plan, three_nodes, tmp_path, delivery)


@both
def test_t12_with_too_few_copies_everything_waits_and_nothing_is_lost(
    plan: Plan, three_nodes: FaultKafka, tmp_path: Path, delivery: str
) -> None:
    brokers.too_few_copies(plan, three_nodes, tmp_path, delivery)


@both
def test_t28_connections_that_are_cut_come_back(
    plan: Plan, one_node: FaultKafka, tmp_path: Path, delivery: str
) -> None:
    brokers.cut_off(plan, one_node, tmp_path, delivery)


def test_t11_a_transaction_that_outlived_its_time_is_done_again_by_the_same_process(
    plan: Plan, one_node: FaultKafka, tmp_path: Path
) -> None:
    brokers.too_late(plan, one_node, tmp_path, EXACTLY)


def test_t13_an_end_that_arrives_late_ends_no_other_transaction(
    plan: Plan, one_node: FaultKafka, tmp_path: Path
) -> None:
    brokers.ended_late(plan, one_node, tmp_path, EXACTLY)


def test_t13_what_a_late_end_does_without_our_guard_is_published(
    plan: Plan, one_node: FaultKafka, tmp_path: Path
) -> None:
    try:
        brokers.ended_late(plan, one_node, tmp_path, EXACTLY, mutant("no guard"))
    except Broken as error:
        print(f"without the guard: {error.findings}")


@both
def test_t14_a_range_that_was_deleted_unread_halts_the_stream_and_is_named(
    plan: Plan, one_node: FaultKafka, tmp_path: Path, delivery: str
) -> None:
    brokers.truncated(plan, one_node, tmp_path, delivery)


def test_t14_a_group_that_was_forgotten_begins_at_the_beginning(
    plan: Plan, one_node: FaultKafka, tmp_path: Path
) -> None:
    brokers.forgotten(plan, one_node, tmp_path, AT_LEAST)
