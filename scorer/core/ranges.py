"""What of an input topic is looked at, cut into parts that are worked on one after another. Decided purely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scorer.core.errors import ConfigError
from scorer.core.letters import Place
from scorer.core.pieces import Asked, Span, piece_of

LATE_MS = 3_600_000
"""How far upstream's clock may be ahead of the others: brokers refuse more (message.timestamp.after.max.ms)."""
ANY_TIME_MS = 2**62
"""Later than any record."""


@dataclass(frozen=True, slots=True)
class Gone:
    """What a topic may have held and has no more. By default nothing.

    Attributes:
        before_ms: what was written before that may be gone: the first record that is left of a partition that has lost
            some; ANY_TIME_MS where none is left of it.
        kept_ms: for so long the topic keeps everything, as its settings say; None where they do not say.
        now_ms: when that was asked.
        compacted: whether records may be gone from between others, whenever they were written.
    """

    before_ms: int = 0
    kept_ms: int | None = None
    now_ms: int = 0
    compacted: bool = False

    def may_be(self, event_ms: int) -> bool:
        """Whether what was written of an event of that time may be gone; see LATE_MS."""
        sure_ms = ANY_TIME_MS if self.kept_ms is None else self.now_ms - self.kept_ms
        return self.compacted or (self.before_ms > 0 and event_ms < min(self.before_ms, sure_ms) + LATE_MS)


@dataclass(frozen=True, slots=True)
class Aside:
    """A record that was put aside until its event is read.

    Attributes:
        offset: of the event that it is about.
        place: of the record itself, in its own topic.
        key, value: its bytes; of a dead letter no value, and as key the sha256 in hex of the record that it is about,
            or nothing where it does not say.
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
        lost: offsets that the group had not committed when the topic lost them.
    """

    spans: Mapping[int, Span]
    extents: Mapping[int, Span]
    since_ms: int | None
    open: bool
    pending: int = 0
    lost: int = 0

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
    pending = lost = 0
    for partition, (first, end) in piece_of(asked, extents, since, until).ranges.items():
        low = extents[partition][0]
        done = min(end, max(low, committed.get(partition, end)))
        if first == low and asked.offsets is None:
            lost += max(0, low - committed.get(partition, low))
        pending += max(0, end - max(first, done))
        if first < done:
            spans[partition] = first, done
    closed = asked.offsets is not None or asked.until_ms is not None
    gone = None if asked.offsets is not None else asked.since_ms or 0
    return Range(spans, extents, gone, not closed, pending, lost)


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
