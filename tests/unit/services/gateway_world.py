"""A follower's surroundings: topics that change, readers that the test writes, who listens, and a disk that is full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any

import numpy as np

from scorer.core.answers import Kind, Positions, Reading
from scorer.core.errors import TransientError
from scorer.core.ports import Clock
from scorer.core.records import Closed, RecordBatch
from scorer.core.state import State, Status
from scorer.edges.clock import SystemClock
from scorer.edges.latest_store import LatestStore
from scorer.services.gateway import Follower
from scorer.services.gateway_writing import Keeper, Writing
from scorer.services.schemas import Schemas

KIND = Kind("ks", "t.k", "id")


class Heard:
    """Listener and observer in one: notes what it is told."""

    def __init__(self) -> None:
        self.begun_with: list[tuple[str, dict[int, int], bool]] = []
        self.numbers: list[int] = []
        self.behind: list[int] = []

    def begun(self, kind: str, epoch: str, positions: Positions, anew: bool) -> None:
        assert kind == KIND.name
        self.begun_with.append((epoch, dict(positions), anew))

    def arrived(self, reading: Reading, number: int) -> None:
        assert reading.kind == KIND.name
        self.numbers.append(number)

    def written(self, number: int) -> None:
        self.numbers.append(-number)

    def read(self, _: Reading, behind: int) -> None:
        self.behind.append(behind)

    def wrote(self, rows: int, took_s: float) -> None:
        pass


class Topic:
    """Stands in for Kafka: what it says of the topic, and what a reader raises."""

    def __init__(self, stop: Event) -> None:
        self.stop, self.incarnation, self.partitions = stop, "e1", 1
        self.bounds_: dict[tuple[str, int], tuple[int, int]] = {("t.k", 0): (0, 0)}
        self.ended: dict[tuple[str, int], int] = {}
        self.failures: list[Exception] = []
        self.opened: list[dict[tuple[str, int], int]] = []
        self.turns = 0

    def look(self) -> Mapping[str, tuple[str, int]]:
        return {"t.k": (self.incarnation, self.partitions)}

    def open(self, positions: Mapping[tuple[str, int], int]) -> Topic:
        self.opened.append(dict(positions))
        return self

    def read(self, _: int, __: int) -> list[RecordBatch]:
        self.turns += 1
        if self.failures:
            raise self.failures.pop(0)
        self.stop.set()
        return []

    def bounds(self) -> Mapping[tuple[str, int], tuple[int, int]]:
        return self.bounds_

    def close(self) -> None:
        pass


class BusyTopic(Topic):
    """Records come without a pause, and each turn takes a second of its own clock."""

    ms = 0.0
    rows, turns_max = 1, 45
    shut: Exception | None = None
    looks = 0

    def look(self) -> Mapping[str, tuple[str, int]]:
        self.looks += 1
        if self.looks > 1 and self.shut is not None:
            raise self.shut
        return super().look()

    def read(self, _: int, __: int) -> list[RecordBatch]:
        self.bounds_ = {("t.k", 0): (0, 100)}
        self.ms += 1_000
        self.turns += 1
        if self.turns == 5:
            self.partitions = 2
        if self.turns == self.turns_max:
            self.stop.set()
        return [erasures(*range(self.turns * self.rows, (self.turns + 1) * self.rows))]

    def ticks_ms(self) -> float:
        return self.ms

    def now_ms(self) -> int:
        return int(self.ms)

    def sleep(self, ms: float) -> None:
        self.ms += ms


@dataclass
class Counted(Status):
    """A status that counts its beats."""

    beats: int = 0

    def beat(self, ticks_ms: float, takes_ms_max: float = 0.0) -> None:
        self.beats += 1
        super().beat(ticks_ms, takes_ms_max)


class FullDisk:
    """Takes nothing for some tries, and notes how the follower is at each."""

    def __init__(self, status: Counted) -> None:
        self.status = status
        self.seen: list[tuple[int, State, str]] = []

    def write(self, _: Sequence[Reading], __: int) -> None:
        self.seen.append((self.status.beats, self.status.state, self.status.detail))
        if len(self.seen) < 5:
            raise TransientError("disk full")

    def tidy(self, _: int) -> None:
        """It has no room for that either."""
        raise TransientError("disk full")


def erasures(*offsets: int) -> RecordBatch:
    """Records without a value at these offsets of the one partition."""
    n = len(offsets)
    columns = np.zeros(n, np.int32), np.array(offsets, np.int64), np.zeros(n, np.int64)
    return RecordBatch(KIND.topic, *columns, [None] * n, [b"who"] * n, [None] * n, Closed.IDLE)


def follow(
    store: LatestStore,
    topic: Topic,
    *,
    look: Any = None,
    clock: Clock | None = None,
    status: Status | None = None,
    keeper: Keeper | None = None,
) -> tuple[Follower, Heard, list[str]]:
    """Runs a follower until the topic's reader stops it."""
    heard, said, clock = Heard(), [], clock or SystemClock()

    def report(event: str, fields: Mapping[str, Any]) -> None:
        said.append(event)

    writing = Writing(keeper or store, heard, heard, clock, report, topic.stop)
    follower = Follower(
        kinds=[KIND],
        look=look or topic.look,
        open_reader=topic.open,
        kept=store,
        writing=writing,
        schemas=Schemas(None, report),  # type: ignore[arg-type] - nothing is read
        listener=heard,
        observer=heard,
        clock=clock,
        report=report,
        status=status or Status(lambda state, _: said.append(state.value)),
        stop=topic.stop,
    )
    threads = [Thread(target=each) for each in (follower.run, writing.run)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    return follower, heard, said
