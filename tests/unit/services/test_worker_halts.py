"""A stream that stands still until an operator has looked: alive, a member of its group, not ready."""

from __future__ import annotations

import pytest

from scorer.core.errors import HaltError, RefusedError
from scorer.core.floods import FloodLimit
from scorer.core.state import State
from scorer.services.limits import Limits
from tests.unit.services.samples import BAD
from tests.unit.services.surroundings import World

FLOOD = Limits(flood=FloodLimit(ratio_max=0.5, window_rows=10, run_rows_max=5))


def test_a_flood_of_predictions_that_are_too_large_halts_the_stream() -> None:
    world = World(limits=FLOOD, too_large=frozenset(range(100)))
    world.at(5000, world.stop.set)
    batches = [world.leads(*range(at, at + 4)) for at in range(0, 100, 4)]
    world.run(world.assign(0), *batches)
    assert State.HALTED in world.states()
    assert len(world.letters) <= 12
    assert "prediction_too_large" in next(entry[2] for entry in world.log if entry[:2] == ("state", State.HALTED))


def test_predictions_that_are_too_large_count_once_for_the_share_that_is_a_flood() -> None:
    world = World(limits=FLOOD, too_large=frozenset(at for at in range(100) if at % 5 < 3))
    world.at(5000, world.stop.set)
    world.run(world.assign(0), *(world.leads(*range(at, at + 5)) for at in range(0, 100, 5)))
    assert "6 of the latest 10 records" in next(entry[2] for entry in world.log if entry[:2] == ("state", State.HALTED))


def flooded() -> World:
    """A stream that a flood has halted from its second batch on, until it is told to stop after 90 s."""
    world = World(limits=FLOOD)
    world.at(90_000, world.stop.set)
    flood = world.batch(*((0, offset, BAD) for offset in range(2, 10)))
    world.run(world.assign(0), world.leads(0, 1), flood, world.leads(10))
    return world


@pytest.mark.parametrize("exactly_once", [False, True])
def test_lag_is_told_in_a_halt_as_well(exactly_once: bool) -> None:
    world = World(limits=FLOOD, exactly_once=exactly_once)
    world.at(10_000, world.stop.set)
    world.run(world.assign(0), world.batch(*((0, offset, BAD) for offset in range(8))))
    assert State.HALTED in world.states()
    assert world.times("lag", {0: 0})[-1] > 9_000


def test_a_flood_of_rejections_halts_uncommitted_and_unpublished() -> None:
    world = flooded()
    assert world.published == [((0, 0), "prediction"), ((0, 1), "prediction")]
    assert world.committed == {0: 2}
    assert len(world.steps) == 1


def test_a_halted_stream_says_why_and_is_not_ready() -> None:
    world = flooded()
    entered = next(entry for entry in world.log if entry[:2] == ("state", State.HALTED))
    assert entered[2].startswith("8 records in a row were rejected, more than 5; the latest: decode, bad_frame")
    assert world.states()[-2:] == [State.HALTED, State.STOPPING]


def test_a_halted_stream_stays_alive_and_a_member_of_its_group() -> None:
    world = World(limits=FLOOD)
    beats: list[float] = []
    world.holds.extend([lambda: beats.append(world.ms - world.status.beat_ms)] * 500)
    world.at(40_000, world.stop.set)
    world.run(world.assign(0), world.batch(*((0, offset, BAD) for offset in range(8))))
    assert len(beats) >= 390
    assert max(beats) < 1000


def test_what_was_confirmed_before_a_halt_is_committed_while_halted() -> None:
    world = flooded()
    assert [at for at in world.times("commit") if at < 90_000]


def halts() -> None:
    raise HaltError("events.new-lead/0: offsets 5 to 9 are gone")


def test_a_lost_range_halts_the_stream_and_keeps_what_is_confirmed() -> None:
    world = World()
    world.at(30_000, world.stop.set)
    world.run(world.assign(0), world.leads(0), halts, world.leads(1))
    assert ("state", State.HALTED, "events.new-lead/0: offsets 5 to 9 are gone") in world.log
    assert world.committed == {0: 1}
    assert len(world.steps) == 1


def test_a_right_that_is_denied_halts_the_stream_and_keeps_what_is_confirmed() -> None:
    world = World()
    world.at(20_000, world.stop.set)

    def denied() -> None:
        world.failure = RefusedError("Kafka denies this user Write on topic predictions")

    world.worker.reached = lambda place: denied() if (place, len(world.deliveries)) == ("produced", 2) else None
    world.run(world.assign(0), world.leads(0), world.idle(10), world.leads(1), world.leads(2))
    assert world.states()[-2:] == [State.HALTED, State.STOPPING]
    assert world.committed == {0: 1}
    assert world.reports("drain.incomplete")[0]["batches"] == 1


def test_a_second_reason_to_halt_replaces_the_first_for_health_checks() -> None:
    world = World()
    world.holds.append(lambda: None)
    world.holds.append(lambda: (_ for _ in ()).throw(HaltError("another range is gone")))
    details: list[str] = []
    world.at(20_000, lambda: details.append(world.status.detail))
    world.at(30_000, world.stop.set)
    world.run(world.assign(0), halts)
    assert details == ["another range is gone"]
