"""Stretches of an input topic, cut into pieces that are worked on one after another. Decided purely."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scorer.core.errors import ConfigError
from scorer.core.letters import OFFSET_MAX, PARTITION_MAX, Place

Span = tuple[int, int]
"""First offset, and the offset behind the last."""


@dataclass(frozen=True, slots=True)
class Aside:
    """A record that was put aside until its event is read.

    Attributes:
        offset: of the event that it is about.
        place: of the record itself, in its own topic.
        key, value: its bytes; no value for a dead letter.
    """

    offset: int
    place: Place
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Range:
    """What of an input topic is looked at, fixed before anything is read.

    Attributes:
        spans: partition to its stretch; within what the topic holds.
        extents: partition to what the topic holds.
        since_ms: events that are gone count from that time on; None for none of them, 0 for all.
        open: whether it goes up to the end of what was scored, so that predictions behind it name no event.
        pending: events behind what the group has committed, so not to be judged yet.
    """

    spans: Mapping[int, Span]
    extents: Mapping[int, Span]
    since_ms: int | None
    open: bool
    pending: int = 0

    @property
    def events(self) -> int:
        """How many offsets it has."""
        return sum(end - first for first, end in self.spans.values())


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for; times in milliseconds since the epoch, None for no bound; offsets by partition."""

    since_ms: int | None = None
    until_ms: int | None = None
    offsets: Mapping[int, Span] | None = None


def parse_offsets(texts: Sequence[str]) -> dict[int, Span]:
    """P:FIRST-END by partition, the last included, as 2:100-199; P:FIRST- for all from there on.

    Raises:
        ConfigError: it is no such text, or names a partition twice.
    """
    found: dict[int, Span] = {}
    for text in texts:
        match = re.fullmatch(r"([0-9]{1,10}):([0-9]{1,18})-([0-9]{0,18})", text)
        if match is None or int(match[1]) > PARTITION_MAX:
            raise ConfigError(f"{text!r} is no stretch of offsets: write PARTITION:FIRST-LAST, as in 2:100-199")
        span = int(match[2]), int(match[3]) + 1 if match[3] else OFFSET_MAX
        if span[0] >= span[1] or int(match[1]) in found:
            raise ConfigError(f"{text!r} is empty, or its partition was named before")
        found[int(match[1])] = span
    return found


def fixed(
    wish: Wish,
    extents: Mapping[int, Span],
    committed: Mapping[int, int],
    since: Mapping[int, int],
    until: Mapping[int, int],
) -> Range:
    """The range that a wish comes to.

    Args:
        wish: what was asked for.
        extents: partition to what the topic holds.
        committed: partition to the next offset of the stream's group; where it says nothing all was scored.
        since, until: partition to the first offset that is not earlier; empty where no time was asked for.

    Raises:
        ConfigError: a partition that was named is not there.
    """
    absent = sorted(set(wish.offsets or {}) - extents.keys())
    if absent:
        raise ConfigError(f"there is no partition {absent[0]}; there are {len(extents)}")
    spans: dict[int, Span] = {}
    pending = 0
    for partition, (low, high) in extents.items():
        first, end = (wish.offsets or {}).get(partition, (0, 0) if wish.offsets else (0, OFFSET_MAX))
        first, end = max(first, since.get(partition, first), low), min(end, until.get(partition, end), high)
        done = min(end, max(low, committed.get(partition, end)))
        pending += max(0, end - max(first, done))
        if first < done:
            spans[partition] = first, done
    closed = wish.offsets is not None or wish.until_ms is not None
    gone = None if wish.offsets is not None else wish.since_ms or 0
    return Range(spans, extents, gone, not closed, pending)


def pieces(spans: Mapping[int, Span], size: int) -> list[tuple[int, Span]]:
    """The stretches cut at every `size` offsets, as (partition, span); those of one partition in order."""
    return [
        (partition, (at, min(at + size, end)))
        for partition, (first, end) in sorted(spans.items())
        for at in range(first, end, size)
    ]


def waves(cut: Sequence[tuple[int, Span]], size: int) -> list[list[int]]:
    """Which pieces are worked on together: at most `size` offsets in all, or one piece, and one piece a partition."""
    found: list[list[int]] = []
    room: list[int] = []
    first_open = 0
    for number, (_, (first, end)) in enumerate(cut):  # two of one partition never fit: all but its last are full
        length = end - first
        at = next((at for at in range(first_open, len(found)) if room[at] >= length), None)
        if at is None:
            found.append([])
            room.append(size)
            at = len(found) - 1
        found[at].append(number)
        room[at] -= length
        while first_open < len(found) and room[first_open] <= 0:
            first_open += 1
    return found


def piece_of(cut_first: Mapping[int, int], spans: Mapping[int, Span], size: int, place: Place) -> int | None:
    """The number of the piece that holds a place; None if none does. `cut_first`: the first piece of each partition."""
    span = spans.get(place[0])
    if span is None or not span[0] <= place[1] < span[1]:
        return None
    return cut_first[place[0]] + (place[1] - span[0]) // size
