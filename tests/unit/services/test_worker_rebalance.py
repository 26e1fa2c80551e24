"""Partitions that come and go, and a worker that is told to stop."""

from __future__ import annotations

from typing import Any

import pytest

from scorer.core.state import State
from scorer.services.limits import Limits
from tests.unit.services.samples import EVENT_TEXT, LATE_ID, lead
from tests.unit.services.surroundings import World

BUDGETS = Limits(revoke_ms_max=10_000, shutdown_ms_max=20_000)


def order(world: World, *kinds: str) -> list[str]:
    return [entry[0] for entry in world.log if entry[0] in kinds]


def test_on_a_revoke_deliveries_are_awaited_then_committed_then_the_partition_is_let_go() -> None:
    world = World(silent=True)
    waited: list[float] = []

    def revoke() -> None:
        world.at(world.ms - 1_000_000 + 700, silent=False)
        began = world.ms
        world.revoke(0)
        waited.append(world.ms - began)

    world.run(world.assign(0), world.leads(0, 1), revoke)
    assert 700 <= waited[0] < 900
    assert order(world, "publish", "revoke", "commit") == ["publish", "revoke", "commit"]
    assert [entry[2] for entry in world.log if entry[0] == "commit"] == [True]
    assert world.committed == {0: 2}
    assert world.reports("partitions.revoked") == [{"partitions": [0]}]


def test_a_revoke_waits_no_longer_than_its_budget_and_commits_what_is_confirmed() -> None:
    world = World(limits=BUDGETS)
    waited: list[float] = []

    def revoke() -> None:
        began = world.ms
        world.revoke(0)
        waited.append(world.ms - began)

    world.run(world.assign(0), world.leads(0), lambda: setattr(world, "silent", True), world.leads(1), revoke)
    assert waited == [10_000]
    assert world.committed == {0: 1}
    assert world.reports("drain.incomplete")[0] == {"why": "revoke", "batches": 1}


def test_only_the_revoked_partitions_are_let_go() -> None:
    world = World()
    world.run(world.assign(0, 1), world.leads(0), lambda: world.revoke(1), world.leads(1), world.idle(1))
    assert world.committed == {0: 2}
    assert world.reports("partitions.revoked")[0] == {"partitions": [1]}
    assert State.STARTING not in world.states()


def test_lost_partitions_are_never_committed_though_their_deliveries_are_confirmed_later() -> None:
    world = World(silent=True)
    world.at(500, silent=False)
    world.run(
        world.assign(0, 1),
        world.batch((0, 0, lead()), (1, 0, lead(1))),
        lambda: world.lose(1),
        *[world.idle(100)] * 20,
    )
    assert world.committed == {0: 1}
    assert world.reports("partitions.lost") == [{"partitions": [1]}]


def third_waits(world: World, change: Any) -> None:
    """A third batch waits for the deliveries of two; `change` happens meanwhile, and then the broker answers."""
    world.holds.append(change)
    world.at(4000, silent=False)
    third = world.batch((0, 2, lead(2)), (1, 0, lead(3)), (0, 3, lead(4)), (1, 1, b"bad"))
    world.run(world.assign(0, 1), world.leads(0), world.leads(1), third, *[world.idle(100)] * 10)


def test_rows_of_partitions_that_are_lost_while_waiting_are_neither_published_nor_committed() -> None:
    world = World(silent=True)
    third_waits(world, lambda: world.lose(1))
    assert world.published == [((0, offset), "prediction") for offset in range(4)]
    assert world.letters == []
    assert world.committed == {0: 4}
    assert [len(scored.outbound) for scored in world.scored] == [1, 1, 2]


def test_rows_of_partitions_that_went_and_came_back_while_waiting_are_left_to_the_second_reading() -> None:
    world = World(silent=True)

    def away_and_back() -> None:
        world.lose(1)
        world.assign(1)()

    third_waits(world, away_and_back)
    assert world.published == [((0, offset), "prediction") for offset in range(4)]
    assert world.committed == {0: 4}


def test_after_a_partition_has_come_back_its_records_are_published_and_committed() -> None:
    world = World()
    world.run(
        world.assign(0),
        world.leads(0),
        lambda: world.revoke(0),
        world.assign(0),
        world.leads(1),
    )
    assert world.committed == {0: 2}
    assert world.reports("partitions.assigned") == [{"positions": {0: 0}}, {"positions": {0: 1}}]


def test_a_batch_whose_partitions_are_all_gone_is_not_published_at_all() -> None:
    world = World()
    world.at(3000, lambda: world.texts.update({LATE_ID: EVENT_TEXT}))
    world.holds.append(lambda: world.revoke(0))
    world.run(world.assign(0), world.leads(0, schema_id=LATE_ID))
    assert world.published == []
    assert world.committed == {}


@pytest.mark.parametrize("exactly_once", [False, True])
def test_a_batch_whose_partitions_all_go_while_it_waits_for_deliveries_comes_to_nothing(exactly_once: bool) -> None:
    world = World(silent=True, exactly_once=exactly_once)

    def answered_and_revoked() -> None:
        world.silent = False
        world.revoke(0)

    world.holds.append(answered_and_revoked)
    world.run(world.assign(0), *(world.leads(at) for at in range(3)), world.idle(200), world.assign(0), world.leads(2))
    assert world.published == [((0, at), "prediction") for at in range(3)]
    assert world.committed == {0: 3}


def test_a_partition_that_is_given_to_us_while_waiting_does_not_disturb_the_batch() -> None:
    world = World()
    world.at(3000, lambda: world.texts.update({LATE_ID: EVENT_TEXT}))
    world.holds.append(world.assign(1))
    world.run(world.assign(0), world.leads(0, schema_id=LATE_ID), world.leads(0, partition=1))
    assert world.committed == {0: 1, 1: 1}


def test_told_to_stop_while_waiting_for_a_schema_nothing_of_the_batch_is_published_or_committed() -> None:
    world = World()
    world.at(2000, world.stop.set)
    world.run(world.assign(0), world.leads(0), world.leads(1, schema_id=LATE_ID), world.leads(2))
    assert world.published == [((0, 0), "prediction")]
    assert world.committed == {0: 1}
    assert world.ms - 1_000_000 < 2500


def test_told_to_stop_while_waiting_for_deliveries_the_batch_in_hand_is_left_to_others() -> None:
    world = World(limits=BUDGETS, silent=True)
    world.at(3000, world.stop.set)
    world.at(5000, silent=False)
    world.run(world.assign(0), world.leads(0), world.leads(1), world.leads(2))
    assert world.published == [((0, 0), "prediction"), ((0, 1), "prediction")]
    assert world.committed == {0: 2}


def test_told_to_stop_between_batches_everything_read_is_drained_and_committed() -> None:
    world = World(limits=BUDGETS, silent=True)
    world.at(3000, silent=False)
    world.run(world.assign(0), world.leads(0), world.leads(1))
    assert world.committed == {0: 2}
    assert world.ms - 1_000_000 < 3200
    assert world.reports("drain.incomplete") == []


@pytest.mark.parametrize("commits_fail", [False, True])
def test_a_stop_takes_no_longer_than_its_budget_with_leaving_the_group_included(commits_fail: bool) -> None:
    world = World(limits=BUDGETS, silent=True, refuses=commits_fail)
    world.run(world.assign(0), world.leads(0))
    assert 20_000 <= world.ms - 1_000_000 < 20_200
    assert world.committed == {}
    assert world.reports("drain.incomplete")[0] == {"why": "shutdown", "batches": 1}


def test_a_halted_stream_that_is_told_to_stop_drains_as_any_other() -> None:
    world = World(limits=BUDGETS, silent=True)

    def halt() -> None:
        from scorer.core.errors import HaltError

        raise HaltError("lost")

    world.at(8000, world.stop.set)
    world.at(9000, silent=False)
    world.run(world.assign(0), world.leads(0), halt)
    assert world.committed == {0: 1}


def test_a_commit_that_fails_at_the_end_is_told_and_ends_nothing() -> None:
    world = World(refuses=True)
    world.run(world.assign(0), world.leads(0))
    assert world.reports("drain.not_committed")[0] == {"why": "shutdown", "error": "the coordinator is away"}
    assert world.committed == {}
