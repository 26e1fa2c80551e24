"""A replay is the same worker over a bounded piece of history, with the bundles that were live there.

Bounded stands between the worker and its source: it leaves out what is not in the piece, rests partitions that are
done, keeps to a pace, and tells the worker to stop when the group as a whole has committed every end. What the group
has committed is all that a replay knows of itself, so that any process goes on where others were killed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any, Protocol

from scorer.core.errors import HaltError, TransientError
from scorer.core.pieces import Piece
from scorer.core.ports import BatchLimits, Clock, Lagging, Ownership, Report
from scorer.core.records import RecordBatch
from scorer.core.state import State, Status

LOOK_MS = 1_000
LAST_LOOK_MS = 100
"""How often the group's positions are asked for, and how often while nothing is left to read here."""
ASK_MS = 1_000
"""How often the live stream's lag is asked for, at most."""
TURNS_PER_S = 5
"""With a pace, a batch holds what may be scored in such a part of a second."""
REST_MS_MAX = 10_000
"""How long a share has it rest after one batch, at most; what takes longer than its part of this was a wait."""
HOLD_AFTER_MS = 1_000
"""A longer rest is a wait of the source, which keeps the group. Shorter ones keep what was fetched ahead."""
SHARED_ROWS_MAX = 500
"""With a share, a batch holds no more: what live has to wait for is short."""


class Resting(Lagging, Protocol):
    """A source whose partitions can be done."""

    def ends(self) -> Mapping[int, int]:
        """Partition to the offset at which its end was met."""

    def rest(self, partitions: Iterable[int]) -> None:
        """Takes no more records of these until they are assigned anew, or read again."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a replay may go.

    Attributes:
        rate_per_s: records a second in this process; 0 is as fast as they are scored.
        live_lag: asks how many records the live stream is behind; raises TransientError.
        live_lag_max: above it, the replay pauses; below 0 it never does.
        share: how much of the time it works; between two batches, which are small then, it rests for the remainder.
    """

    rate_per_s: float = 0.0
    live_lag: Callable[[], int] = lambda: 0
    live_lag_max: int = -1
    share: float = 1.0

    def rows(self, rows_max: int) -> int:
        """How many records a batch holds at most, of so many that it may."""
        if self.share < 1:
            rows_max = min(rows_max, SHARED_ROWS_MAX)
        return min(rows_max, max(1, int(self.rate_per_s / TURNS_PER_S))) if self.rate_per_s else rows_max


@dataclass(slots=True)
class Bounded:
    """Implements ports.Lagging and ports.Ownership around a source and its owner. Driven by one thread.

    Attributes:
        piece: what is read.
        committed: asks for the group's positions; raises TransientError.
        pace: see Pace.
        told: told how many offsets the group has passed, of how many.
        clock, report, status: the surroundings.
        stop: set when all is done, or when the stream halts; signal handlers set it too.
        owner: told of partitions that come and go.
        inner: where records come from; set before the first call.
        complete: whether the group has come to every end.
        halted: why the stream halted, which ends a bounded one.
    """

    piece: Piece
    committed: Callable[[], Mapping[int, int]]
    pace: Pace
    told: Callable[[int, int], None]
    clock: Clock
    report: Report
    status: Status
    stop: Event
    owner: Ownership | None = None
    inner: Resting | None = None
    complete: bool = False
    halted: HaltError | None = None
    _at: dict[int, int] = field(default_factory=dict)
    """Owned partition to the next offset to be looked at."""
    _handed: dict[int, int] = field(default_factory=dict)
    """Owned partition to the offset behind the last record that was handed on."""
    _resting: set[int] = field(default_factory=set)
    _look_ms: float = 0.0
    _ask_ms: float = 0.0
    _free_ms: float = 0.0
    _busy_from_ms: float | None = None
    """Since when the worker has had a batch in hand; what it waited meanwhile is left out."""
    _yields: bool = False

    @property
    def source(self) -> Resting:
        """The inner one."""
        assert self.inner is not None
        return self.inner

    def poll(self, limits: BatchLimits, idle_ms_max: int) -> RecordBatch | None:
        """See ports.Source; of the piece alone."""
        self._end_work()
        self._look()
        if self.stop.is_set():
            return None
        if self._must_yield():
            self.source.hold(max(1, idle_ms_max))
            return None
        left_ms = self._free_ms - self.clock.ticks_ms()
        if left_ms > HOLD_AFTER_MS:
            self.source.hold(max(1, idle_ms_max))
            return None
        if left_ms > 0:
            self.clock.sleep(min(left_ms, idle_ms_max))
            return None
        limits = replace(limits, rows_max=self.pace.rows(limits.rows_max))
        taken = self._taken(self.source.poll(limits, idle_ms_max))
        if taken is not None:
            self._busy_from_ms = self.clock.ticks_ms()
        return taken

    def hold(self, wait_ms: int) -> None:
        """See ports.Source. A stream that halts would stand still for ever; a bounded one ends."""
        if self.status.state is State.HALTED:
            self.halted = HaltError(self.status.detail)
            self.stop.set()
        began_ms = self.clock.ticks_ms()
        self.source.hold(wait_ms)
        if self._busy_from_ms is not None:
            self._busy_from_ms += self.clock.ticks_ms() - began_ms

    def commit(self, offsets: Mapping[int, int], wait: bool) -> Mapping[int, int]:
        """See ports.Source."""
        return self.source.commit(offsets, wait)

    def membership(self) -> Any:
        """See ports.Source."""
        return self.source.membership()

    def outage(self) -> str | None:
        """See ports.Lagging."""
        return self.source.outage()

    def lag(self) -> Mapping[int, int]:
        """Partition to offsets between the next one and the piece's end."""
        return {partition: max(0, self.piece.end(partition) - at) for partition, at in self._at.items()}

    def unfinished(self) -> Mapping[int, int]:
        """See ports.Lagging."""
        return self.source.unfinished()

    def rewind(self) -> Mapping[int, int]:
        """See ports.Lagging."""
        positions = self.source.rewind()
        self._begin(positions)
        return positions

    def assigned(self, positions: Mapping[int, int]) -> None:
        """See ports.Ownership."""
        self._begin(positions)
        assert self.owner is not None
        self.owner.assigned(positions)

    def revoked(self, partitions: Sequence[int]) -> None:
        """See ports.Ownership."""
        assert self.owner is not None
        self.owner.revoked(partitions)
        self._forget(partitions)

    def lost(self, partitions: Sequence[int]) -> None:
        """See ports.Ownership."""
        assert self.owner is not None
        self.owner.lost(partitions)
        self._forget(partitions)

    def _begin(self, positions: Mapping[int, int]) -> None:
        self._resting.difference_update(positions)
        self._at.update(positions)
        self._handed.update(positions)

    def _forget(self, partitions: Iterable[int]) -> None:
        self._resting.difference_update(partitions)
        for partition in partitions:
            self._at.pop(partition, None)
            self._handed.pop(partition, None)

    def _taken(self, batch: RecordBatch | None) -> RecordBatch | None:
        """What of a batch is in the piece; takes note of how far it reaches."""
        if batch is not None:
            self._at.update(batch.next_offsets)
        for partition, met in self.source.ends().items():  # behind the last record may be none: transactions' markers
            self._at[partition] = max(met, self._at.get(partition, 0))
        done = {partition for partition, at in self._at.items() if at >= self.piece.end(partition)} - self._resting
        if done:
            self._resting |= done
            self.source.rest(done)
        if batch is None:
            return None
        rows = self.piece.rows(batch)
        if not len(rows):
            return None
        taken = batch if len(rows) == len(batch) else batch.take(rows)
        self._handed.update(taken.next_offsets)
        if self.pace.rate_per_s:
            self._free_ms = max(self._free_ms, self.clock.ticks_ms()) + 1000 * len(rows) / self.pace.rate_per_s
        return taken

    def _look(self) -> None:
        """Asks how far the group is, commits what holds nothing more, and stops when all is done."""
        now_ms = self.clock.ticks_ms()
        idle = len(self._resting) == len(self._at)
        if now_ms < self._look_ms - (LOOK_MS - LAST_LOOK_MS if idle else 0):
            return
        self._look_ms = now_ms + LOOK_MS
        try:
            found = dict(self.committed())
            # Nothing between the last record that was handed on and what was looked at is in the piece.
            passed = {p: min(at, self.piece.end(p)) for p, at in self._at.items() if p in self.piece.ranges}
            behind = {p: at for p, at in passed.items() if at > found.get(p, at) >= self._handed[p]}
            if behind:
                self.source.commit(behind, wait=True)
                found |= behind
        except TransientError as error:
            self.report("neighbour.waiting", {"why": str(error), "next_try_ms": LOOK_MS})
            return
        left = self.piece.left(found)
        self.told(self.piece.offsets - left, self.piece.offsets)
        if left == 0:
            self.complete = True
            self.stop.set()

    def _end_work(self) -> None:
        """The worker has done what it had in hand: it rests for as long as its share asks."""
        if self._busy_from_ms is not None:
            now_ms = self.clock.ticks_ms()
            rest_ms = (now_ms - self._busy_from_ms) * (1 / self.pace.share - 1)
            self._free_ms = max(self._free_ms, now_ms + min(rest_ms, REST_MS_MAX))
            self._busy_from_ms = None

    def _must_yield(self) -> bool:
        if self.pace.live_lag_max < 0 or self.clock.ticks_ms() < self._ask_ms:
            return self._yields
        self._ask_ms = self.clock.ticks_ms() + ASK_MS
        before = self._yields
        try:
            lag = self.pace.live_lag()
            self._yields = lag > self.pace.live_lag_max
        except TransientError as error:
            self.report("neighbour.waiting", {"why": str(error), "next_try_ms": ASK_MS})
            return self._yields
        if self._yields and not before:
            self.report("replay.yields", {"live_lag": lag})
        elif before and not self._yields:
            self.report("replay.goes_on", {"live_lag": lag})
        return self._yields
