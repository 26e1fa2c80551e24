"""Reads stretches of topics: all that is there when asked, or records at given places. No group, nothing committed.

The end is fixed at the start: what is committed by then is read, what comes later is not. Offsets behind which nothing
comes (markers of transactions, compacted records) are told from a slow broker by the reader's word that it met the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from threading import Event
from typing import Protocol

import numpy as np

from scorer.core.errors import HaltError, RefusedError, TransientError
from scorer.core.letters import Letter, Place, Stored, letter_of, stored
from scorer.core.records import RecordBatch
from scorer.services.patience import StoppedError

ROWS_MAX = 1000
QUIET_MS = 1_000
SETTLE_MS, SETTLE_MS_MAX = 100, 30_000
"""A worker's transaction is open for some 100 ms; one that has died leaves its own open for 20 s, as it comes."""
GAP_MAX = 5_000
"""Offsets between two wanted records up to which reading on is cheaper than another reader."""


class Reader(Protocol):
    """Reads on from where it was opened."""

    @property
    def ended(self) -> Mapping[tuple[str, int], int]:
        """Topic and partition to the offset at which the end was met."""

    def read(self, rows_max: int, wait_ms_max: int) -> list[RecordBatch]:
        """Records that came; empty if none did in that time."""

    def close(self) -> None:
        """Ends reading."""


class Appended(Protocol):
    """How far topics have been written."""

    def ends(self, topic: str, partitions: list[int]) -> Mapping[int, int]:
        """Partition to the offset behind the last record, be its transaction open."""


class Extents(Protocol):
    """Where topics begin and end."""

    def extents(self, topic: str) -> Mapping[int, tuple[int, int]]:
        """Partition to its first offset and the one behind the last that is committed."""


@dataclass(frozen=True, slots=True)
class Topics:
    """Where records are read.

    Attributes:
        open: a reader of a topic from these next offsets on, by partition.
        extents: where it begins and ends.
        stop: set to end reading early.
        progress: told how many offsets have been passed of how many.
    """

    open: Callable[[str, Mapping[int, int]], Reader]
    extents: Extents
    stop: Event
    progress: Callable[[int, int], None] = lambda *_: None

    def letters(self, topic: str) -> tuple[list[Letter], int]:
        """Every letter that a dead-letter topic holds now, and how many records in it are none of ours.

        Raises:
            ConfigError: there is no such topic.
            TransientError: Kafka does not answer.
        """
        found: list[Letter] = []
        foreign = 0
        ends = {partition: (0, high) for partition, (_, high) in self.extents.extents(topic).items()}
        for batch in self._read(topic, ends):
            for row, place in enumerate(_places(batch)):
                if place[1] >= ends.get(place[0], (0, 0))[1]:
                    continue
                letter = letter_of(place, stored(batch, row))
                if letter is None:
                    foreign += 1
                else:
                    found.append(letter)
        return found, foreign

    def fetch(self, topic: str, places: Iterable[Place]) -> dict[Place, Stored]:
        """The records at these places, as far as the topic still holds them.

        Raises:
            ConfigError: there is no such topic.
            TransientError: Kafka does not answer.
        """
        wanted = set(places)
        found: dict[Place, Stored] = {}
        for spans in waves(wanted):
            for batch in self._read(topic, spans):
                for row, place in enumerate(_places(batch)):
                    if place in wanted:
                        found[place] = stored(batch, row)
        return found

    def stretch(self, topic: str, spans: Mapping[int, tuple[int, int]]) -> Iterator[RecordBatch]:
        """The records from each partition's first offset up to its end, and no others, as far as the topic holds them.

        Raises:
            ConfigError: there is no such topic.
            TransientError: Kafka does not answer.
        """
        for batch in self._read(topic, spans):
            nothing = (0, 0)
            bounds = np.array([spans.get(partition, nothing) for partition in batch.partitions.tolist()])
            inside = np.flatnonzero((batch.offsets >= bounds[:, 0]) & (batch.offsets < bounds[:, 1]))
            if len(inside) == len(batch):
                yield batch
            elif len(inside):
                yield batch.take(inside)

    def _read(self, topic: str, spans: Mapping[int, tuple[int, int]]) -> Iterator[RecordBatch]:
        """Batches that hold every record from a first offset up to an end, and maybe some beyond it."""
        extents = self.extents.extents(topic)
        clipped = {
            partition: (max(first, extents[partition][0]), min(end, extents[partition][1]))
            for partition, (first, end) in spans.items()
            if partition in extents
        }
        left = {partition: span for partition, span in clipped.items() if span[0] < span[1]}
        if not left:
            return
        whole = sum(end - first for first, end in left.values())
        reader = self.open(topic, {partition: first for partition, (first, _) in left.items()})
        try:
            while left and not self.stop.is_set():
                batches = reader.read(ROWS_MAX, QUIET_MS)
                yield from batches
                reached = {partition: offset for (_, partition), offset in reader.ended.items()}
                for batch in batches:
                    reached |= batch.next_offsets
                left = _advanced(left, reached)
                self.progress(whole - sum(end - at for at, end in left.values()), whole)
        except RefusedError:
            raise
        except HaltError as error:
            raise TransientError(f"{error}: its records have just expired") from error
        finally:
            reader.close()


def settled(extents: Extents, appended: Appended, topic: str, stop: Event) -> Mapping[int, tuple[int, int]]:
    """Where a topic begins and ends, once all that was in it when asked can be read.

    An open transaction, be it of another writer, hides what was written after it began: what others have committed too.

    Raises:
        ConfigError: there is no such topic.
        StoppedError: told to stop.
        TransientError: Kafka does not answer, or a transaction stays open.
    """
    found = extents.extents(topic)
    ends = appended.ends(topic, sorted(found))
    for _ in range(SETTLE_MS_MAX // SETTLE_MS):
        hidden = [partition for partition, end in ends.items() if found[partition][1] < end]
        if not hidden:
            return found
        if stop.wait(SETTLE_MS / 1000):
            raise StoppedError
        found = extents.extents(topic)
    raise TransientError(f"{topic}/{hidden[0]}: an open transaction hides what is behind offset {found[hidden[0]][1]}")


def waves(places: Iterable[Place]) -> list[dict[int, tuple[int, int]]]:
    """Stretches that hold all the places: the first of each partition, then the second of each, and so on.

    Places of a partition that are far apart lie in different stretches.
    """
    spans: dict[int, list[tuple[int, int]]] = {}
    for partition, offset in sorted(set(places)):
        own = spans.setdefault(partition, [])
        if own and offset - own[-1][1] <= GAP_MAX:
            own[-1] = (own[-1][0], offset + 1)
        else:
            own.append((offset, offset + 1))
    longest = max(map(len, spans.values()), default=0)
    return [{p: own[at] for p, own in spans.items() if at < len(own)} for at in range(longest)]


def _advanced(left: Mapping[int, tuple[int, int]], reached: Mapping[int, int]) -> dict[int, tuple[int, int]]:
    moved = {partition: (max(at, reached.get(partition, at)), end) for partition, (at, end) in left.items()}
    return {partition: (at, end) for partition, (at, end) in moved.items() if at < end}


def _places(batch: RecordBatch) -> Iterator[Place]:
    return zip(batch.partitions.tolist(), batch.offsets.tolist(), strict=True)
