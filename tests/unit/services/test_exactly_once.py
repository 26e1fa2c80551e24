"""Predictions, dead letters and offsets in one transaction: all of it is seen once, or none of it is.

Every test also runs under the checks of its surroundings (see there).
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Any

import pytest

from scorer.core.errors import AbortedError, FencedError, HaltError, TransientError
from scorer.core.records import RecordBatch, Scored
from scorer.core.sandbox import Death
from scorer.core.state import State
from scorer.services.limits import Limits
from tests.unit.services.redrive_world import Sandbox
from tests.unit.services.samples import BAD, lead
from tests.unit.services.surroundings import START_MS, TIMEOUT_MS, World

ABORTED = AbortedError("the broker says so")


def kinds(world: World, *wanted: str) -> list[str]:
    return [entry[0] for entry in world.log if entry[0] in wanted]


def once(world: World, *places: tuple[int, int]) -> bool:
    """Whether readers see exactly one prediction of each, and nothing else."""
    return sorted(world.visible) == sorted((place, "prediction") for place in places)


def test_predictions_dead_letters_and_offsets_are_committed_together() -> None:
    world = World(exactly_once=True)
    world.run(world.assign(0, 1), world.batch((0, 0, lead()), (0, 1, BAD), (1, 0, lead(2)), (1, 1, None)))
    assert sorted(world.visible) == [((0, 0), "prediction"), ((0, 1), "letter"), ((1, 0), "prediction")]
    assert world.committed == {0: 2, 1: 2}
    assert kinds(world, "begin", "commit") == ["begin", "commit"]


def test_a_transaction_is_closed_by_time() -> None:
    world = World(exactly_once=True)
    world.run(world.assign(0), world.leads(0), world.idle(60), world.leads(1), *[world.idle(60)] * 4, world.leads(2))
    assert [entry[1] for entry in world.log if entry[0] == "commit"] == [{0: 2}, {0: 3}]
    assert 100 <= world.times("commit")[0] < 160, "its age is that of its first record"


def test_a_transaction_is_closed_by_rows() -> None:
    world = World(exactly_once=True)
    world.run(world.assign(0), world.leads(0, 1, 2), world.leads(3, 4), world.leads(5), world.leads(6))
    assert [entry[1] for entry in world.log if entry[0] == "commit"] == [{0: 5}, {0: 7}]


def test_no_transaction_is_open_while_nothing_comes() -> None:
    world = World(exactly_once=True)
    world.run(world.assign(0), *[world.idle(500)] * 5)
    assert kinds(world, "begin", "commit") == []


def test_an_open_transaction_is_waited_for_no_longer_than_it_lasts() -> None:
    world = World(exactly_once=True)
    world.worker.delivery.begin(1)
    assert world.worker.delivery.idle_ms(1000) == 100
    world.advance(70)
    assert world.worker.delivery.idle_ms(1000) == 30
    world.advance(70)
    assert world.worker.delivery.idle_ms(1000) == 0


def test_after_an_abort_everything_since_the_last_commit_is_read_and_scored_again() -> None:
    world = World(exactly_once=True, commits_fail=deque([ABORTED]))
    world.run(world.assign(0), world.leads(0, 1), world.idle(200), world.leads(0, 1), world.leads(2))
    assert once(world, (0, 0), (0, 1), (0, 2))
    assert world.committed == {0: 3}
    assert kinds(world, "commit", "recover", "rewind", "aborted") == [
        "commit",
        "aborted",
        "recover",
        "rewind",
        "commit",
    ]
    assert world.reports("transaction.aborted") == [{"why": "the broker says so", "in_a_row": 1}]


def test_aborts_in_a_row_are_given_growing_pauses_in_which_the_group_keeps_us() -> None:
    world = World(exactly_once=True, commits_fail=deque([ABORTED] * 3))
    again = [step for _ in range(4) for step in (world.leads(0), world.idle(200))]
    later = (world.leads(1), lambda: world.commits_fail.append(ABORTED), world.idle(200))
    world.run(world.assign(0), *again, *later)
    assert once(world, (0, 0))
    assert [report["in_a_row"] for report in world.reports("transaction.aborted")] == [1, 2, 3, 1]
    first, second, third, _ = world.times("rewind")
    assert (third - second) > (second - first) >= 200
    assert "hold" in kinds(world, "hold")


def test_a_delivery_that_fails_aborts_its_transaction_and_the_process_lives() -> None:
    world = World(exactly_once=True)
    fail = world.leads(2)

    def failing() -> object:
        world.failure = "no broker takes it"
        return fail()

    world.run(world.assign(0), world.leads(0, 1), world.idle(150), failing, world.leads(2), world.idle(150))  # type: ignore[arg-type]
    assert once(world, (0, 0), (0, 1), (0, 2))
    assert world.committed == {0: 3}


def test_deliveries_that_are_not_confirmed_in_time_abort_the_transaction() -> None:
    world = World(exactly_once=True, silent=True)
    world.at(TIMEOUT_MS + 500, silent=False)
    world.run(world.assign(0), world.leads(0), world.idle(100), world.leads(0), world.idle(100))
    assert once(world, (0, 0))
    assert world.times("recover")[0] >= TIMEOUT_MS - 1000


def test_an_outage_of_the_coordinator_is_waited_out_as_a_member_of_the_group() -> None:
    down = TransientError("the coordinator is away")
    world = World(exactly_once=True, commits_fail=deque([ABORTED]), recovers_fail=deque([down] * 4))
    world.run(world.assign(0), world.leads(0), world.idle(150), world.leads(0), world.idle(150))
    assert once(world, (0, 0))
    assert kinds(world, "recover") == ["recover"] * 5
    assert kinds(world, "hold")
    assert State.WAITING in world.states()


def test_a_coordinator_that_is_away_when_a_transaction_begins_is_waited_out() -> None:
    world = World(exactly_once=True, begins_fail=deque([TransientError("the coordinator is away")]))
    world.run(world.assign(0), world.leads(0), world.leads(0))
    assert once(world, (0, 0))


def test_while_a_failed_transaction_is_not_undone_yet_a_revoke_waits_for_nothing_and_commits_nothing() -> None:
    world = World(exactly_once=True, silent=True, recovers_fail=deque([TransientError("the coordinator is away")]))
    world.run(world.assign(0))
    delivery, began_ms = world.worker.delivery, world.ms
    delivery.begin(1)
    delivery.ledger.begin({0: 1}, 1, dict(delivery.ledger.generations))
    with pytest.raises(TransientError):
        delivery.recover()
    assert world.worker.source is not None
    delivery.finish(world.worker.source, began_ms + 10_000, "revoke")
    assert (world.ms - began_ms, kinds(world, "commit")) == (0, [])
    delivery.recover()
    assert not delivery.spoiled


def test_a_revoke_commits_the_open_transaction_before_the_partition_is_let_go() -> None:
    world = World(exactly_once=True)
    world.run(world.assign(0, 1), world.batch((0, 0, lead()), (1, 0, lead(1))), lambda: world.revoke(0))
    assert kinds(world, "commit", "revoke")[:2] == ["revoke", "commit"]
    assert once(world, (0, 0), (1, 0))
    assert world.committed == {0: 1, 1: 1}


def test_a_revoke_whose_commit_fails_aborts_and_the_kept_partitions_are_read_again() -> None:
    world = World(exactly_once=True, commits_fail=deque([ABORTED]))
    world.run(
        world.assign(0, 1),
        world.batch((0, 0, lead()), (1, 0, lead(1))),
        lambda: world.revoke(0),
        world.leads(0, partition=1),
    )
    assert once(world, (1, 0))
    assert world.committed == {1: 1}


def test_a_revoke_waits_no_longer_than_its_budget_for_deliveries() -> None:
    world = World(exactly_once=True, limits=Limits(revoke_ms_max=700))
    waited: list[float] = []

    def revoke() -> None:
        world.silent, began = True, world.ms
        world.revoke(0)
        waited.append(world.ms - began)
        world.silent = False

    world.worker.reached = lambda place: setattr(world, "silent", place == "produced")
    world.run(world.assign(0), world.leads(0), revoke)
    assert waited == [700]
    assert world.visible == []
    assert world.committed == {}


def test_a_transaction_with_records_of_lost_partitions_is_aborted_and_the_kept_ones_are_read_again() -> None:
    world = World(exactly_once=True)

    def lose() -> object:
        world.lose(1)
        return read()

    read = world.leads(1)
    world.run(world.assign(0, 1), world.batch((0, 0, lead()), (1, 0, lead(1))), lose, world.leads(0, 1))  # type: ignore[arg-type]
    assert once(world, (0, 0), (0, 1))
    assert world.committed == {0: 2}


def test_losing_partitions_with_no_transaction_open_aborts_nothing() -> None:
    world = World(exactly_once=True)
    world.run(world.assign(0, 1), lambda: world.lose(1), world.leads(0))
    assert kinds(world, "aborted") == []
    assert once(world, (0, 0))


def test_a_fence_ends_the_process_and_nothing_more_is_published() -> None:
    world = World(exactly_once=True, commits_fail=deque([FencedError("in use elsewhere")]))
    with pytest.raises(FencedError):
        world.run(world.assign(0), world.leads(0), world.idle(150), world.leads(1))
    assert world.visible == []


def test_a_fence_within_a_revoke_ends_the_process_too() -> None:
    world = World(exactly_once=True, commits_fail=deque([FencedError("in use elsewhere")]))
    with pytest.raises(FencedError):
        world.run(world.assign(0, 1), world.leads(0), lambda: world.revoke(1), world.leads(1))
    assert world.visible == []


def test_a_stop_commits_what_is_open_within_its_grace() -> None:
    world = World(exactly_once=True, limits=Limits(shutdown_ms_max=5_000))
    world.run(world.assign(0), world.leads(0, 1))
    assert once(world, (0, 0), (0, 1))
    assert [entry[2] for entry in world.log if entry[0] == "commit"] == [5_000]
    assert world.ms - START_MS < 5_000


def test_a_stop_whose_commit_fails_leaves_its_records_to_the_next() -> None:
    world = World(exactly_once=True, commits_fail=deque([ABORTED]))
    world.run(world.assign(0), world.leads(0))
    assert world.visible == []
    assert world.reports("drain.not_committed")[0]["why"] == "shutdown"


def test_a_halted_stream_that_is_refused_when_it_begins_again_stays_halted_and_says_so() -> None:
    refused = "Kafka denies this user Write on transactional-id lead"
    world = World(exactly_once=True, commits_fail=deque([ABORTED]), recovers_fail=deque([HaltError(refused)]))
    details: list[str] = []
    world.at(4_000, lambda: details.append(world.status.detail))
    world.at(5_000, world.stop.set)
    world.run(world.assign(0), world.leads(0), world.batch(*((0, 1 + at, BAD) for at in range(600))))
    assert world.states()[-2:] == [State.HALTED, State.STOPPING]
    assert details == [refused]
    assert world.visible == []


def test_a_halted_stream_whose_transaction_is_aborted_stays_halted() -> None:
    flood = [BAD] * 600
    world = World(exactly_once=True, commits_fail=deque([ABORTED]))
    world.at(5_000, world.stop.set)
    world.run(world.assign(0), world.leads(0), world.batch(*((0, 1 + at, value) for at, value in enumerate(flood))))
    assert world.states()[-2:] == [State.HALTED, State.STOPPING]
    assert world.visible == []
    assert kinds(world, "rewind") == ["rewind"]


def test_records_that_are_read_again_after_an_abort_are_counted_once_for_a_flood() -> None:
    flood = [(0, at, BAD) for at in range(300)]
    world = World(exactly_once=True, commits_fail=deque([ABORTED] * 3))
    again = [step for _ in range(4) for step in (world.batch(*flood), world.idle(200))]
    world.run(world.assign(0), *again)
    assert State.HALTED not in world.states()
    assert world.committed == {0: 300}


def test_a_record_that_hangs_in_the_sandbox_outlasts_no_transaction_of_the_records_before_it() -> None:
    world = World(exactly_once=True)

    class Slow(Sandbox):
        def score(self, batch: RecordBatch, *others: Any) -> Scored | Death:
            found = super().score(batch, *others)
            if isinstance(found, Death):
                world.advance(30_000)
                assert world.status.alive(world.ms + 100_000, 60_000), "a hanging sandbox is no dead worker"
            return found

    world.worker.suspects.sandbox = Slow(frozenset({2}))
    suspect = partial(world.worker.suspects.until.update, {0: 50})
    world.run(world.assign(0), suspect, world.leads(0, 1), world.leads(2, 3))
    assert not world.status.alive(world.ms + 100_000, 60_000)
    assert world.committed == {0: 4}
    assert sorted(world.visible) == [((0, at), "letter" if at == 2 else "prediction") for at in range(4)]


def test_before_a_long_pause_a_transaction_with_records_of_lost_partitions_is_not_committed() -> None:
    world = World(exactly_once=True)
    world.run(world.assign(0))
    delivery, source = world.worker.delivery, world.worker.source
    assert source is not None
    delivery.begin(1)
    delivery.lost()
    with pytest.raises(AbortedError, match="lost"):
        delivery.conclude(source)
    assert kinds(world, "commit") == []
