"""What of an input topic is looked at, cut into parts that are worked on one after another. Decided purely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scorer.core.errors import ConfigError
from scorer.core.letters import Place
from scorer.core.pieces import Asked, Span, piece_of


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


def fixed(
    asked: Asked,
    extents: Mapping[int, Span],
    committed: Mapping[int, int],
    since: Mapping[int, int] | None = None,
    until: Mapping[int, int] | None = None,
) -> Range:
    """The range that is looked at.

    Args:
        asked, extents, since, until: see pieces.piece_of.
        committed: partition to the next offset of the stream's group; where it says nothing all was scored.

    Raises:
        ConfigError: a partition that was named is not there.
    """
    absent = sorted(set(asked.offsets or {}) - extents.keys())
    if absent:
        raise ConfigError(f"there is no partition {absent[0]}; there are {len(extents)}")
    spans: dict[int, Span] = {}
    pending = 0
    for partition, (first, end) in piece_of(asked, extents, since, until).ranges.items():
        done = min(end, max(extents[partition][0], committed.get(partition, end)))
        pending += max(0, end - max(first, done))
        if first < done:
            spans[partition] = first, done
    closed = asked.offsets is not None or asked.until_ms is not None
    gone = None if asked.offsets is not None else asked.since_ms or 0
    return Range(spans, extents, gone, not closed, pending)


def parts(spans: Mapping[int, Span], size: int) -> list[tuple[int, Span]]:
    """The stretches cut at every `size` offsets, as (partition, span); those of one partition in order."""
    return [
        (partition, (at, min(at + size, end)))
        for partition, (first, end) in sorted(spans.items())
        for at in range(first, end, size)
    ]


def waves(cut: Sequence[tuple[int, Span]], size: int) -> list[list[int]]:
    """Which parts are worked on together: at most `size` offsets in all, or one part, and one of a partition."""
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


def part_of(cut_first: Mapping[int, int], spans: Mapping[int, Span], size: int, place: Place) -> int | None:
    """The number of the part that holds a place; None if none does. `cut_first`: the first part of each partition."""
    span = spans.get(place[0])
    if span is None or not span[0] <= place[1] < span[1]:
        return None
    return cut_first[place[0]] + (place[1] - span[0]) // size
