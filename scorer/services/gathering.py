"""Puts the predictions and dead letters about a range aside, by the piece of the range that their event lies in.

One pass over the output topic, in its own order; the pieces are taken back one wave at a time. Records of other lanes
and other input topics are counted and left. What can be judged without its event is judged here: predictions whose
event is gone, and those that name one that never was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from scorer.core.account import Account
from scorer.core.compose import PROVENANCE
from scorer.core.letters import letter_of, stored
from scorer.core.ranges import Aside, Range, Span, piece_of, pieces, waves
from scorer.core.records import RecordBatch
from scorer.core.verdicts import Cause, Level, Published, Verdict, forged_why
from scorer.services.reading import Decoder
from scorer.services.spans import Topics

WINDOW = 50_000
"""Offsets of the range whose predictions are in memory at a time."""


class Shelf(Protocol):
    """Where rows are put aside."""

    def put(self, bucket: int, rows: Iterable[Aside]) -> None:
        """Puts rows behind those of the bucket."""

    def take(self, bucket: int) -> list[Aside]:
        """The rows of a bucket, in the order in which they came; they are gone from it then."""


@dataclass(slots=True)
class Gathering:
    """What was put aside about one range.

    Attributes:
        topics, decoder, shelf: where records are read, decoded, kept.
        topic: the input topic.
        range: what of it.
        lane: whose predictions count.
        recreated: whether the input topic is known to have been made anew.
        account: where verdicts go.
        kept_since_ms: predictions of events before that may be gone by retention.
    """

    topics: Topics
    decoder: Decoder
    shelf: Shelf
    topic: str
    range: Range
    lane: str
    recreated: bool
    account: Account
    window: int = WINDOW
    kept_since_ms: int = 0
    cut: list[tuple[int, Span]] = field(init=False)
    _first: dict[int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.cut = pieces(self.range.spans, self.window)
        self._first = {}
        for number, (partition, _) in enumerate(self.cut):
            self._first.setdefault(partition, number)

    def waves(self) -> list[list[int]]:
        """Pieces that are worked on together."""
        return waves(self.cut, self.window)

    def predictions(self, topic: str, spans: Mapping[int, Span], lows: Mapping[int, int]) -> None:
        """Reads these stretches of the output topic; `lows` are the first offsets that it holds.

        Raises:
            StoppedError, ConfigError, TransientError: told to stop; there is no such topic; Kafka does not answer.
        """
        fresh = {partition for partition, low in lows.items() if low > 0 and spans.get(partition, (0, 0))[0] <= low}
        for batch in self.topics.stretch(topic, spans):
            for partition in fresh & set(batch.partitions.tolist()):
                first = int(batch.timestamps[batch.partitions == partition][0])
                self.kept_since_ms = max(self.kept_since_ms, first)
                fresh = fresh - {partition}
            self._sort(batch)

    def letters(self, topic: str, spans: Mapping[int, Span]) -> None:
        """Reads these stretches of the dead-letter topic; see `predictions`."""
        for batch in self.topics.stretch(topic, spans):
            found: dict[int, list[Aside]] = {}
            for row, place in enumerate(zip(batch.partitions.tolist(), batch.offsets.tolist(), strict=True)):
                letter = letter_of(place, stored(batch, row))
                if letter is None or letter.topic != self.topic:
                    continue
                piece = piece_of(self._first, self.range.spans, self.window, letter.source)
                if piece is not None:
                    reason = letter.reason.encode()
                    found.setdefault(piece, []).append(Aside(letter.source[1], place, reason, None))
            for piece, rows in found.items():
                self.shelf.put(piece, rows)

    def _sort(self, batch: RecordBatch) -> None:
        found: dict[int, list[Aside]] = {}
        for row, decoded in enumerate(self.decoder.records(batch.values)):
            value = batch.values[row]
            place = int(batch.partitions[row]), int(batch.offsets[row])
            if decoded is None or value is None or not PROVENANCE.keys() <= decoded[1].keys():
                self.account.skipped["erasure" if value is None else "no_prediction"] += 1
                continue
            published = Published(place, batch.keys[row], *decoded)
            if published.fields["lane"] != self.lane:
                self.account.skipped["other_lane"] += 1
                continue
            if published.fields["source_topic"] != self.topic:
                self.account.skipped["other_topic"] += 1
                continue
            piece = piece_of(self._first, self.range.spans, self.window, published.source)
            if piece is not None:
                aside = Aside(published.source[1], place, batch.keys[row], value)
                found.setdefault(piece, []).append(aside)
            else:
                self._outside(published)
        for piece, rows in found.items():
            self.shelf.put(piece, rows)

    def _outside(self, published: Published) -> None:
        """Judges a prediction whose event the range does not hold, if it is one of the range all the same."""
        partition, offset = published.source
        low, high = self.range.extents.get(partition, (0, 0))
        if offset >= high:
            if self.range.open:
                self.account.judged(published, nowhere(published, self.topic, self.recreated))
        elif offset < low:
            since_ms = self.range.since_ms
            if since_ms is not None and published.fields["source_timestamp"] >= since_ms:
                why = forged_why(published, self.topic)
                gone = Verdict(Level.UNCHECKED, Cause.EVENT_GONE, f"the topic begins at {low}")
                self.account.judged(published, gone if why is None else Verdict(Level.SURPLUS, Cause.FORGED, why))


def nowhere(published: Published, topic: str, recreated: bool) -> Verdict:
    """The verdict on a prediction at whose event's place the topic holds nothing."""
    why = forged_why(published, topic)
    if why is None and recreated:
        return Verdict(Level.UNCHECKED, Cause.RECREATED, "the topic that is there now has no event at its place")
    return Verdict(Level.SURPLUS, Cause.FORGED, why or "there is no event at its place")
