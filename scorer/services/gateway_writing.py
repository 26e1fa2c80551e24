"""The gateway's writer: what is read waits here, bounded, until it is on disk. Runs in a thread of its own.

Guarantee: answers are written in the order in which they were read, each once; a disk that takes nothing is waited for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Condition, Event
from typing import Protocol

from scorer.core.answers import Positions, Reading
from scorer.core.errors import TransientError
from scorer.core.ports import Clock, Report
from scorer.services.patience import StoppedError, pause_ms

LOOK_MS = 100
TIDY_EVERY_MS = 10_000.0
UNWRITTEN_ROWS_MAX, UNWRITTEN_BYTES_MAX = 5_000, 16 << 20
GATHER_MS = 20
"""How long the writer lets answers gather, so that a write is worth its while."""


Turn = Callable[[], None]
"""Called at least every LOOK_MS by who waits for the writer: a full disk may take hours."""


class Listener(Protocol):
    """Told of all that is read, from the follower's and the writer's threads."""

    def begun(self, kind: str, epoch: str, positions: Positions, anew: bool) -> None:
        """A kind is read from these positions on; `anew`: what came before is void."""

    def arrived(self, reading: Reading, number: int) -> None:
        """Answers were read; numbers ascend."""

    def written(self, number: int) -> None:
        """All up to this number is kept."""


class FollowObserver(Protocol):
    """Told what was read and written; for metrics."""

    def read(self, reading: Reading, behind: int) -> None:
        """Answers were read; so many records are left."""

    def wrote(self, rows: int, took_s: float) -> None:
        """Answers were written."""


class Keeper(Protocol):
    """The store as the writer sees it."""

    def write(self, readings: Sequence[Reading], now_ms: int) -> None:
        """Keeps answers with their positions. Raises TransientError."""

    def tidy(self, now_ms: int) -> None:
        """Lets go of what is too old, or erased. Raises TransientError."""


@dataclass(slots=True)
class Writing:
    """What is read and not yet written, and the loop that writes it; the follower waits when it is too much."""

    keeper: Keeper
    listener: Listener
    observer: FollowObserver
    clock: Clock
    report: Report
    stop: Event
    problem: str = ""
    _waiting: deque[tuple[Reading, int]] = field(default_factory=deque)
    _rows: int = 0
    _bytes: int = 0
    _changed: Condition = field(default_factory=Condition)

    def put(self, reading: Reading, number: int, turn: Turn) -> None:
        """Adds answers; waits while there is too much already.

        Raises:
            StoppedError: told to stop meanwhile.
        """
        with self._changed:
            self._until(lambda: self._rows <= UNWRITTEN_ROWS_MAX and self._bytes <= UNWRITTEN_BYTES_MAX, turn)
            self._waiting.append((reading, number))
            self._count(reading, 1)
            self._changed.notify_all()

    def settle(self, turn: Turn) -> None:
        """Waits until all is written.

        Raises:
            StoppedError: told to stop meanwhile.
        """
        with self._changed:
            self._until(lambda: not self._waiting, turn)

    def run(self) -> None:
        """Writes until told to stop, then what is left, if the disk takes it."""
        failed, tidied_ms = 0, self.clock.ticks_ms()
        while True:
            with self._changed:
                while not (self._waiting or self.stop.is_set() or self._is_due(tidied_ms)):
                    self._changed.wait(LOOK_MS / 1000)
                some = list(self._waiting)
            if self._is_due(tidied_ms) and not self.problem:
                tidied_ms = self.clock.ticks_ms()
                with suppress(TransientError):  # the next write says so, if it is still so
                    self.keeper.tidy(self.clock.now_ms())
            if not some:
                if self.stop.is_set():
                    return
                continue
            started_ms = self.clock.ticks_ms()
            try:
                self.keeper.write([reading for reading, _ in some], self.clock.now_ms())
            except TransientError as error:
                failed += 1
                self.problem = str(error)
                self.report("store.waiting", {"why": str(error), "attempt": failed})
                if self.stop.wait(pause_ms(failed) / 1000):
                    return
                continue
            failed, self.problem = 0, ""
            self._wrote(some, started_ms)
            self.stop.wait(GATHER_MS / 1000)

    def _is_due(self, tidied_ms: float) -> bool:
        return self.clock.ticks_ms() - tidied_ms >= TIDY_EVERY_MS

    def _until(self, met: Callable[[], bool], turn: Turn) -> None:
        while not met():
            if self.stop.is_set():
                raise StoppedError
            turn()
            self._changed.wait(LOOK_MS / 1000)

    def _wrote(self, some: Sequence[tuple[Reading, int]], started_ms: float) -> None:
        self.listener.written(some[-1][1])
        rows = sum(len(reading.answers) for reading, _ in some)
        self.observer.wrote(rows, (self.clock.ticks_ms() - started_ms) / 1000)
        with self._changed:
            for reading, _ in some:
                self._waiting.popleft()
                self._count(reading, -1)
            self._changed.notify_all()

    def _count(self, reading: Reading, sign: int) -> None:
        self._rows += sign * len(reading.answers)
        self._bytes += sign * sum(len(answer.body or b"") for answer in reading.answers)
