"""A past that is read again, written by hand: a topic with gaps, a group's positions, and the member that reads it.

It checks on its own that nothing is committed before it was scored, and nothing behind an end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import numpy as np

from scorer.core.errors import TransientError
from scorer.core.pieces import Piece
from scorer.core.ports import BatchLimits
from scorer.core.records import Closed, RecordBatch
from scorer.core.state import Status
from scorer.services.replay import Bounded, Pace

TURN_MS = 50.0


def batch_of(records: Sequence[tuple[int, int]]) -> RecordBatch:
    n = len(records)
    partitions, offsets = np.array(records, dtype=np.int64).reshape(n, 2).T
    empty: tuple[list[bytes | None], list[bytes | None], list[None]] = ([b""] * n, [None] * n, [None] * n)
    return RecordBatch("events", partitions.astype(np.int32), offsets, np.zeros(n, np.int64), *empty, Closed.IDLE)


@dataclass
class Past:
    """A topic whose offsets partly hold no record, a group's positions, and a member that reads.

    Attributes:
        records: offsets that hold one, by partition.
        highs: ends of the partitions.
        piece: what is wanted.
    """

    records: Mapping[int, Sequence[int]]
    highs: Mapping[int, int]
    piece: Piece
    pace: Pace = field(default_factory=Pace)
    ms: float = 0.0
    committed: dict[int, int] = field(default_factory=dict)
    at: dict[int, int] = field(default_factory=dict)
    met: dict[int, int] = field(default_factory=dict)
    resting: set[int] = field(default_factory=set)
    handed: list[tuple[int, int]] = field(default_factory=list)
    done: list[tuple[int, int]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    held: int = 0
    read_past: int = 0
    away: bool = False

    def __post_init__(self) -> None:
        self.committed = dict(self.piece.starts)
        self.status = Status(lambda *_: None)
        self.stop = Event()
        self.bounded = Bounded(
            self.piece, self.ask, self.pace, lambda *_: None, self, self.report, self.status, self.stop, self, self
        )

    def ask(self) -> Mapping[int, int]:
        if self.away:
            raise TransientError("nobody answers")
        return dict(self.committed)

    def report(self, event: str, _: Mapping[str, Any]) -> None:
        self.said.append(event)

    def now_ms(self) -> int:
        return int(self.ms)

    def ticks_ms(self) -> float:
        return self.ms

    def sleep(self, ms: float) -> None:
        self.ms += ms

    def own(self, *partitions: int) -> None:
        """They are given to us, at what is committed."""
        positions = {p: self.committed[p] for p in partitions}
        self.at.update(positions)
        self.resting.difference_update(partitions)
        for partition in partitions:
            self.met.pop(partition, None)
        self.bounded.assigned(positions)

    def disown(self, partition: int) -> None:
        """Taken away; what was handed on and is not committed comes to nothing."""
        self.bounded.lost([partition])
        del self.at[partition]
        self.handed = [each for each in self.handed if each[0] != partition]

    def turn(self, rows_max: int = 3) -> None:
        """One turn of the worker's loop."""
        self.ms += TURN_MS
        batch = self.bounded.poll(BatchLimits(rows_max), 10)
        if batch is not None:
            self.handed += zip(batch.partitions.tolist(), batch.offsets.tolist(), strict=True)

    def confirm(self) -> None:
        """All that was handed on is delivered, and committed with the offsets behind it."""
        self.done += self.handed
        for partition, offset in self.handed:
            self.committed[partition] = max(self.committed[partition], offset + 1)
        self.handed = []

    def go_back(self) -> None:
        """A transaction came to nothing."""
        self.handed = []
        self.bounded.rewind()

    @property
    def wanted(self) -> set[tuple[int, int]]:
        every = [(p, offset) for p, own in self.records.items() for offset in own]
        return {every[row] for row in self.piece.rows(batch_of(every))} if every else set()

    # The source, as Kafka's is.

    def poll(self, limits: BatchLimits, _: int) -> RecordBatch | None:
        found: list[tuple[int, int]] = []
        for partition in sorted(self.at.keys() - self.resting):
            there = [each for each in self.records[partition] if each >= self.at[partition]]
            taken = there[: limits.rows_max - len(found)]
            found += [(partition, offset) for offset in taken]
            self.read_past += sum(offset >= self.piece.end(partition) for offset in taken)
            if taken:
                self.at[partition] = taken[-1] + 1
            if taken == there:
                self.at[partition] = self.met[partition] = self.highs[partition]
        return batch_of(found) if found else None

    def hold(self, wait_ms: int) -> None:
        self.held += 1
        self.ms += wait_ms

    def rest(self, partitions: Iterable[int]) -> None:
        self.resting |= set(partitions)

    def ends(self) -> Mapping[int, int]:
        return {p: end for p, end in self.met.items() if p in self.at}

    def commit(self, offsets: Mapping[int, int], wait: bool) -> Mapping[int, int]:
        assert wait
        for partition, offset in offsets.items():
            below = {each for each in self.wanted if each[0] == partition and each[1] < offset}
            assert below <= set(self.done), "offsets of records that were not scored are committed"
            assert self.committed[partition] < offset <= self.piece.end(partition)
            self.committed[partition] = offset
        return {}

    def rewind(self) -> Mapping[int, int]:
        self.at = {p: self.committed[p] for p in self.at}
        self.met, self.resting = {}, set()
        return dict(self.at)

    def membership(self) -> Any:
        return None

    def outage(self) -> str | None:
        return None

    def lag(self) -> Mapping[int, int]:
        return {}

    def unfinished(self) -> Mapping[int, int]:
        return {}

    # The owner.

    def assigned(self, positions: Mapping[int, int]) -> None:
        assert positions

    def revoked(self, partitions: Sequence[int]) -> None:
        assert partitions

    def lost(self, partitions: Sequence[int]) -> None:
        assert partitions
