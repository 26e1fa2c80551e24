"""A sink that runs: everything that is read is written once, and what stands still meanwhile is said."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any

import pytest

from scorer.core.errors import HaltError, TransientError
from scorer.core.floods import FloodLimit
from scorer.core.load import Load
from scorer.core.ports import BatchLimits
from scorer.core.records import RecordBatch
from scorer.core.state import State, Status
from scorer.services.feeds import Feed
from scorer.services.schemas import Schemas
from scorer.services.sink import HOLD_AFTER_MS, SLOW_MS_MAX, Limits, SinkLoop
from tests.unit.core.batches import batch_of

JUNK, FRAMED = b"kept as it is", b"\0\0\0\0\7a prediction"
LIMITS = Limits(BatchLimits(100, 1_000_000_000), FloodLimit(1.0, 1000, 1_000_000))


@dataclass
class Around:
    """A topic of one partition, a registry that is away and a clock that goes by looking at it.

    Attributes:
        values: the records.
        empty: what happens when there are no more; told to stop by default.
        met: partition to where its end was met.
        away: what the source says of its broker.
        refuses: whether the last commit is not taken.
        rows_max: how many records there are at a time.
        step_ms: how long it is between two looks at the clock.
        asked: how many records were asked for, at each poll.
        committed: what was committed, and whether it was waited for.
        held: when the group was kept otherwise than by polling.
    """

    values: list[bytes]
    empty: Callable[[], object] | None = None
    met: dict[int, int] = field(default_factory=dict)
    away: str | None = None
    refuses: bool = False
    rows_max: int = 1_000
    step_ms: float = 1.0
    ms: float = 0.0
    at: int = 0
    asked: list[int] = field(default_factory=list)
    committed: list[tuple[dict[int, int], bool]] = field(default_factory=list)
    held: list[float] = field(default_factory=list)
    reports: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    lags: int = 0
    stop: Event = field(default_factory=Event)

    def __post_init__(self) -> None:
        self.status = Status(lambda *_: None)

    def poll(self, limits: BatchLimits, idle_ms: int) -> RecordBatch | None:
        self.asked.append(limits.rows_max)
        rows = min(limits.rows_max, self.rows_max)
        first, self.at = self.at, min(len(self.values), self.at + rows)
        if first == self.at:
            self.ms += idle_ms
            (self.empty or self.stop.set)()
            return None
        return batch_of(self.values[first : self.at], offsets=range(first, self.at))

    def hold(self, wait_ms: int) -> None:
        self.ms += wait_ms
        self.held.append(self.ms)

    def commit(self, offsets: Mapping[int, int], wait: bool) -> Mapping[int, int]:
        self.committed.append((dict(offsets), wait))
        if wait and self.refuses:
            raise TransientError("the coordinator is away")
        return {}

    def membership(self) -> Any:
        raise AssertionError("a sink commits in no transaction")

    def outage(self) -> str | None:
        return self.away

    def lag(self, *_: Any) -> Mapping[int, int]:
        self.lags += 1
        return {}

    def ends(self) -> Mapping[int, int]:
        return self.met

    def close(self) -> None:
        """Nothing to leave."""

    def ticks_ms(self) -> float:
        self.ms += self.step_ms
        assert self.ms < 600_000, "the sink waits for ever"
        return self.ms

    def now_ms(self) -> int:
        return int(self.ms)

    def sleep(self, _: float) -> None:
        """Time goes by itself."""

    def text(self, _: int) -> str | None:
        raise TransientError("the registry does not answer")

    def written(self, *_: Any) -> None:
        """Not counted."""

    def waited(self) -> None:
        """Not counted."""


@dataclass
class Place:
    """Implements ports.Sink in memory; a load takes a moment, or waits for `go_on`, or fails as often as `fails`."""

    loads: list[Load] = field(default_factory=list)
    there: dict[int, int] = field(default_factory=dict)
    go_on: Event | None = None
    fails: int = 0

    def positions(self, _: str) -> Mapping[int, int]:
        return self.there

    def write(self, load: Load) -> Mapping[str, int]:
        time.sleep(0.002)
        if self.fails:
            self.fails -= 1
            raise TransientError("the place is away")
        if self.go_on is not None:
            assert self.go_on.wait(20.0)
        self.loads.append(load)
        self.there |= load.next_offsets
        return {}


def filling(around: Around, place: Place, limits: Limits = LIMITS, ends: Mapping[int, int] | None = None) -> SinkLoop:
    feed = Feed("predictions", source=around)
    feed.assigned({0: 0})
    return SinkLoop(
        sink=place,
        feeds=[feed],
        schemas=Schemas(around, lambda *_: None, grace_ms_max=0),
        entity="lead_id",
        lane="live",
        clock=around,
        observer=around,
        report=lambda *each: around.reports.append(each),
        status=around.status,
        stop=around.stop,
        limits=limits,
        ends=None if ends is None else {"predictions": ends},
    )


def run(loop: SinkLoop) -> None:
    try:
        loop.run()
    finally:
        loop.writer.close()


def test_everything_that_was_read_is_written_once_in_loads_of_a_bounded_size_and_committed() -> None:
    around, place = Around([JUNK] * 250), Place()
    run(filling(around, place))
    offsets = [each.offset for load in place.loads for each in load.unreadable]
    assert offsets == list(range(250))
    assert [load.size for load in place.loads] == [100, 100, 50]
    assert min(around.asked) > 0
    assert around.committed[-1] == ({0: 250}, True)
    assert around.lags


def test_what_was_committed_is_not_committed_again() -> None:
    looks: list[int] = []

    def empty() -> None:
        looks.append(sum(bool(offsets) for offsets, _ in around.committed))
        if looks.count(1) > 20 or looks[-1] > 1:
            around.stop.set()

    around = Around([JUNK], empty)
    run(filling(around, Place(), replace(LIMITS, batch=BatchLimits(100, 0), commit_every_ms=10)))
    assert [offsets for offsets, _ in around.committed if offsets] == [{0: 1}]


def test_a_load_that_is_old_enough_is_written_though_it_is_small() -> None:
    around = Around([JUNK], empty=lambda: loop.writer.busy and around.stop.set())
    loop = filling(around, Place(), replace(LIMITS, batch=BatchLimits(100, 200)))
    run(loop)
    assert 200 < around.ms < 5_000


def test_an_end_behind_the_last_record_is_a_position_of_a_partition_that_is_ours_and_is_written_once() -> None:
    looks = 0

    def empty() -> None:
        nonlocal looks
        looks += 1
        if looks == 50:
            around.stop.set()

    around, place = Around([JUNK] * 3, empty, met={0: 4, 5: 9}), Place()
    run(filling(around, place, replace(LIMITS, batch=BatchLimits(100, 0))))
    assert place.there == {0: 4}
    assert len(place.loads) <= 2


def test_a_bounded_run_ends_by_itself_once_the_place_has_come_to_its_ends() -> None:
    around, place = Around([JUNK] * 250, empty=lambda: None), Place()
    loop = filling(around, place, replace(LIMITS, batch=BatchLimits(100, 200)), ends={0: 250})
    run(loop)
    assert loop.complete
    assert place.there == {0: 250}


def test_a_flood_of_what_does_not_decode_halts_the_sink_and_ends_a_bounded_run() -> None:
    limits = replace(LIMITS, flood=FloodLimit(0.5, 1000, 150))
    around, place = Around([JUNK] * 300), Place()
    around.hold = lambda _: around.stop.set()  # type: ignore[method-assign]
    states: list[State] = []
    around.status = Status(lambda state, _: states.append(state))
    run(filling(around, place, limits))
    assert State.HALTED in states
    assert place.there.get(0, 0) <= 100
    with pytest.raises(HaltError, match="in a row"):
        run(filling(Around([JUNK] * 300), Place(), limits, ends={0: 300}))


@pytest.mark.parametrize(("fails", "after_ms"), [(3, HOLD_AFTER_MS), (0, SLOW_MS_MAX)])
def test_a_sink_with_no_room_for_more_keeps_its_group_by_holding(fails: int, after_ms: int) -> None:
    place = Place(go_on=Event(), fails=fails)
    around = Around([JUNK] * 300, step_ms=100.0)
    held = around.hold

    def hold(wait_ms: int) -> None:
        held(wait_ms)
        assert place.go_on is not None
        place.go_on.set()

    around.hold = hold  # type: ignore[method-assign]
    run(filling(around, place))
    assert [each.offset for load in place.loads for each in load.unreadable] == list(range(300))
    assert after_ms < around.held[0] < after_ms + 3_000


def test_while_schemas_are_waited_for_what_came_before_is_written() -> None:
    place, around = Place(), Around([JUNK] * 60 + [FRAMED] * 5, rows_max=30)
    states: list[State] = []
    around.status = Status(lambda state, _: states.append(state))

    def hold(wait_ms: int) -> None:
        around.ms += wait_ms
        time.sleep(0.001)
        if place.there == {0: 60} or around.ms > 60_000:
            around.stop.set()

    around.hold = hold  # type: ignore[method-assign]
    loop = filling(around, place, replace(LIMITS, batch=BatchLimits(100, 0)))
    run(loop)
    assert place.there == {0: 60}
    assert around.ms < 60_000
    assert State.WAITING in states


@pytest.mark.parametrize(
    ("away", "owned", "state"),
    [(None, True, State.RUNNING), ("no broker", True, State.WAITING), (None, False, State.STARTING)],
)
def test_a_sink_says_whether_anything_can_come(away: str | None, owned: bool, state: State) -> None:
    seen: list[State] = []

    def empty() -> None:
        seen.append(around.status.state)
        if len(seen) == 3:
            around.stop.set()

    around = Around([], empty, away=away)
    loop = filling(around, Place())
    if not owned:
        loop.feeds[0].lost([0])
    run(loop)
    assert seen[-1] is state


def test_a_last_commit_that_is_not_taken_is_told_and_ends_nothing() -> None:
    around, place = Around([JUNK] * 3, refuses=True), Place()
    run(filling(around, place))
    assert place.there == {0: 3}
    assert ("drain.not_committed", {"why": "shutdown", "error": "the coordinator is away"}) in around.reports
