"""A bounded piece of a topic: what was asked for, and what it comes to per partition. Decided purely.

Ends are fixed when a piece is made: records that come later are not in it. A time is Kafka's timestamp of a record. A
broker's answer for a time is the first offset that is not older, so no record of the range lies before it; but a
record that came late lies behind the first one that is too young, so the end is looked for a while further on, and
records are taken by their own timestamps.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scorer.core.errors import ConfigError
from scorer.core.letters import OFFSET_MAX, PARTITION_MAX, Place
from scorer.core.records import RecordBatch, Rows

Span = tuple[int, int]
"""The first offset and the one behind the last."""

NONE_AFTER = -1
"""A broker's answer for a time after which there is nothing."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What an operator asks for; a record is meant if all that is given holds of it.

    Attributes:
        since_ms, until_ms: from this Kafka timestamp on, and before that one; milliseconds since the epoch, UTC.
        lateness_ms: how much later than `until_ms` a record of the range may have come.
        offsets: ranges by partition; without any, all of every partition.
        places: single records; None for all.
    """

    since_ms: int | None = None
    until_ms: int | None = None
    lateness_ms: int = 0
    offsets: Mapping[int, Span] | None = None
    places: frozenset[Place] | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """What it comes to.

    Attributes:
        ranges: of every partition of the topic; first and end are equal where nothing is meant.
        since_ms, until_ms: see Asked.
        positions: the single records by partition, ascending; None for all.
    """

    ranges: Mapping[int, Span]
    since_ms: int | None = None
    until_ms: int | None = None
    positions: Mapping[int, tuple[int, ...]] | None = None

    @property
    def offsets(self) -> int:
        """How many offsets have to be passed."""
        return sum(end - first for first, end in self.ranges.values())

    @property
    def records(self) -> int:
        """How many records there are at most: an offset may hold none, and times are looked at on the way."""
        return self.offsets if self.positions is None else sum(map(len, self.positions.values()))

    @property
    def starts(self) -> dict[int, int]:
        """Partition to the first offset."""
        return {partition: first for partition, (first, _) in self.ranges.items()}

    def end(self, partition: int) -> int:
        """The offset behind the last of a partition; 0 for one that was added later."""
        return self.ranges.get(partition, (0, 0))[1]

    def left(self, committed: Mapping[int, int]) -> int:
        """How many offsets are left, as the group has committed."""
        return sum(max(0, end - max(first, committed.get(p, first))) for p, (first, end) in self.ranges.items())

    def means(self, partition: int, offset: int, timestamp_ms: int) -> bool:
        """Whether a record is in it; `rows` says the same of a batch."""
        first, end = self.ranges.get(partition, (0, 0))
        if self.positions is not None:
            own = self.positions.get(partition, ())
            at = bisect_left(own, offset)
            if own[at : at + 1] != (offset,):
                return False
        return (
            first <= offset < end
            and (self.since_ms is None or timestamp_ms >= self.since_ms)
            and (self.until_ms is None or timestamp_ms < self.until_ms)
        )

    def rows(self, batch: RecordBatch) -> Rows:
        """Which records of a batch are in it, ascending."""
        taken = np.zeros(len(batch), dtype=bool)
        for partition in set(batch.partitions.tolist()):
            first, end = self.ranges.get(partition, (0, 0))
            own = (batch.partitions == partition) & (batch.offsets >= first) & (batch.offsets < end)
            if self.positions is not None:
                own &= np.isin(batch.offsets, np.array(self.positions.get(partition, ()), dtype=np.int64))
            taken |= own
        if self.since_ms is not None:
            taken &= batch.timestamps >= self.since_ms
        if self.until_ms is not None:
            taken &= batch.timestamps < self.until_ms
        return np.flatnonzero(taken)


def piece_of(
    asked: Asked,
    extents: Mapping[int, Span],
    since: Mapping[int, int] | None = None,
    until: Mapping[int, int] | None = None,
) -> Piece:
    """What is asked for, as far as the topic holds it.

    Args:
        asked: it.
        extents: of every partition, as they are now.
        since: the broker's answers for since_ms; NONE_AFTER where nothing is that young.
        until: its answers for until_ms + lateness_ms.
    """
    ranges: dict[int, Span] = {}
    positions: dict[int, tuple[int, ...]] | None = None if asked.places is None else {}
    for partition, (low, high) in extents.items():
        first, end = low, high
        if since is not None:
            first = high if since[partition] == NONE_AFTER else max(first, since[partition])
        if until is not None and until[partition] != NONE_AFTER:
            end = min(end, until[partition])
        if asked.offsets is not None:
            given = asked.offsets.get(partition, (high, high))
            first, end = max(first, given[0]), min(end, given[1])
        if positions is not None:
            own = sorted(offset for at, offset in asked.places or () if at == partition and first <= offset < end)
            positions[partition] = tuple(own)
            first, end = (own[0], own[-1] + 1) if own else (high, high)
        first = min(first, high)
        ranges[partition] = (first, max(first, end))
    return Piece(ranges, asked.since_ms, asked.until_ms, positions)


def out_of_reach(asked: Asked, extents: Mapping[int, Span]) -> list[str]:
    """For people: what was named and is not there, expired or not there yet."""
    found = []
    for partition, (first, end) in sorted((asked.offsets or {}).items()):
        low, high = extents.get(partition, (0, 0))
        if partition not in extents:
            found.append(f"there is no partition {partition}")
        elif first < low:
            found.append(f"{partition}: offsets {first} to {min(low, end) - 1} have expired")
        elif end != OFFSET_MAX and end > high:
            found.append(f"{partition}: it ends at {high}")
    lacking = [each for each in asked.places or () if not _holds(extents, each)]
    if lacking:
        shown = ", ".join(f"{partition}:{offset}" for partition, offset in sorted(lacking)[:5])
        found.append(f"{len(lacking)} of the records are not in the topic any more, or not yet: {shown}")
    return found


def _holds(extents: Mapping[int, Span], place: Place) -> bool:
    low, high = extents.get(place[0], (0, 0))
    return low <= place[1] < high


def parse_spans(texts: Sequence[str]) -> dict[int, Span]:
    """By partition, of texts PARTITION:FIRST-END, END being behind the last; without it, up to what is there.

    Raises:
        ConfigError: one is no such text, or names a partition for the second time.
    """
    found: dict[int, Span] = {}
    for text in texts:
        match = re.fullmatch(r"([0-9]{1,10}):([0-9]{1,18})-([0-9]{1,18})?", text)
        if match is None or int(match[1]) > PARTITION_MAX:
            raise ConfigError(f"{text!r} is no range: write PARTITION:FIRST-END, as in 2:100-200, which ends with 199")
        partition, first, end = int(match[1]), int(match[2]), int(match[3]) if match[3] else OFFSET_MAX
        if end <= first:
            raise ConfigError(f"{text!r} is empty: END is the offset behind the last")
        if partition in found:
            raise ConfigError(f"{text!r} names partition {partition} for the second time: give one range for each")
        found[partition] = first, end
    return found


def places_of_ids(ids: Iterable[str], topic: str) -> frozenset[Place]:
    """Where the events of predictions are, by their ids <model>/<version>/<topic>/<partition>/<offset>.

    Raises:
        ValueError: one is no id, or its event is in another topic.
    """
    found = set()
    for each in ids:
        match = re.fullmatch(r".+/(.+)/([0-9]{1,9})/([0-9]{1,18})", each)
        if match is None:
            raise ValueError(f"{each!r} is no prediction's id: <model>/<version>/<topic>/<partition>/<offset>")
        if match[1] != topic:
            raise ValueError(f"{each!r} is of topic {match[1]}; the stream reads {topic}")
        found.add((int(match[2]), int(match[3])))
    return frozenset(found)
