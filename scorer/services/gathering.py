"""Puts the predictions and dead letters about a range aside, by the part of the range that their event lies in.

One pass over the output topic, in its own order; the parts are taken back one wave at a time. Records of other lanes
and other input topics are counted and left. What can be judged without its event is judged here: predictions whose
event is gone, and those that name one that never was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from scorer.core.account import Account
from scorer.core.compose import PROVENANCE
from scorer.core.decode import Events
from scorer.core.letters import Author
from scorer.core.pieces import Span
from scorer.core.ranges import Aside, Range, part_of, parts, waves
from scorer.core.records import RecordBatch
from scorer.core.schema import WriterSchema
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
        compacted: whether it is compacted, so that events may be gone from between others.
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
    compacted: bool = False
    window: int = WINDOW
    kept_since_ms: int = 0
    cut: list[tuple[int, Span]] = field(init=False)
    _first: dict[int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.cut = parts(self.range.spans, self.window)
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

    def letters(self, topic: str, group: str, spans: Mapping[int, Span]) -> None:
        """Reads these stretches of the dead-letter topic for what the stream of a group wrote; see `predictions`."""
        author = Author(self.topic, group)
        for batch in self.topics.stretch(topic, spans):
            found: dict[int, list[Aside]] = {}
            for _, letter in author.letters(batch):
                part = part_of(self._first, self.range.spans, self.window, letter.source)
                if part is not None:
                    reason = letter.reason.encode()
                    found.setdefault(part, []).append(Aside(letter.source[1], letter.place, reason, None))
            for part, rows in found.items():
                self.shelf.put(part, rows)

    def _sort(self, batch: RecordBatch) -> None:
        skipped = self.account.skipped
        tables = [events for events in self.decoder.tables(batch.values) if _is_prediction(events.schema)]
        erased = sum(value is None for value in batch.values)
        skipped["erasure"] += erased
        skipped["no_prediction"] += len(batch) - erased - sum(map(len, tables))
        found: dict[int, list[tuple[int, int]]] = {}
        for events in tables:
            columns = (_column(events, name) for name in ("lane", "source_topic", "source_partition", "source_offset"))
            for at, (lane, topic, partition, offset) in enumerate(zip(*columns, strict=True)):
                if lane != self.lane or topic != self.topic:
                    skipped["other_lane" if lane != self.lane else "other_topic"] += 1
                    continue
                part = part_of(self._first, self.range.spans, self.window, (partition, offset))
                if part is not None:
                    found.setdefault(part, []).append((int(events.rows[at]), offset))
                elif self._concerns(partition, offset):
                    row = int(events.rows[at])
                    (decoded,) = self.decoder.records([batch.values[row]])
                    assert decoded is not None, "it was decoded a moment ago"
                    place = int(batch.partitions[row]), int(batch.offsets[row])
                    self._outside(Published(place, batch.keys[row], *decoded))
        self.account.skipped += Counter()  # without zeros
        places = list(zip(batch.partitions.tolist(), batch.offsets.tolist(), strict=True))
        for part, rows in found.items():
            self.shelf.put(
                part, [Aside(offset, places[row], batch.keys[row], batch.values[row]) for row, offset in sorted(rows)]
            )

    def _concerns(self, partition: int, offset: int) -> bool:
        """Whether a prediction outside the range may be judged: its event is gone, or was never there."""
        low, high = self.range.extents.get(partition, (0, 0))
        return self.range.open if offset >= high else offset < low and self.range.since_ms is not None

    def _outside(self, published: Published) -> None:
        """Judges a prediction that `_concerns` the range, though the topic does not hold its event."""
        partition, offset = published.source
        low, high = self.range.extents.get(partition, (0, 0))
        if offset >= high:
            self.account.judged(published, nowhere(published, self.topic, self.recreated))
        elif published.fields["source_timestamp"] >= (self.range.since_ms or 0):
            why = forged_why(published, self.topic)
            gone = Verdict(Level.UNCHECKED, Cause.EVENT_GONE, f"the topic begins at {low}")
            self.account.judged(published, gone if why is None else Verdict(Level.SURPLUS, Cause.FORGED, why))


def _is_prediction(schema: WriterSchema) -> bool:
    return PROVENANCE.keys() <= {name for name, _ in schema.root.fields}


def _column(events: Events, name: str) -> list[Any]:
    if isinstance(events.table, list):
        return [record[name] for record in events.table]
    return list(events.table.column(name).to_pylist())


def nowhere(published: Published, topic: str, recreated: bool, compacted: bool = False) -> Verdict:
    """The verdict on a prediction at whose event's place the topic holds nothing."""
    why = forged_why(published, topic)
    if why is None and recreated:
        return Verdict(Level.UNCHECKED, Cause.RECREATED, "the topic that is there now has no event at its place")
    if why is None and compacted:
        return Verdict(Level.UNCHECKED, Cause.EVENT_GONE, "the topic is compacted, and has no event at its place")
    return Verdict(Level.SURPLUS, Cause.FORGED, why or "there is no event at its place")
