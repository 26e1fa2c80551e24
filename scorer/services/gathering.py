"""Puts the predictions and dead letters about a range aside, by the part of the range that their event lies in.

One pass over the output topic, in its own order; the parts are taken back one wave at a time. Records of other lanes
and other input topics are counted and left. What can be judged without its event is judged here: predictions whose
event is gone, and those that name one that never was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from scorer.core.account import Account
from scorer.core.compose import PROVENANCE
from scorer.core.decode import Events
from scorer.core.letters import Author
from scorer.core.lineage import Lineage, Standing, nowhere
from scorer.core.pieces import Span
from scorer.core.ranges import ANY_TIME_MS, Aside, Gone, Range, part_of, parts, waves
from scorer.core.records import RecordBatch
from scorer.core.schema import Node, WriterSchema
from scorer.core.verdicts import Published, Verdict
from scorer.services.reading import Decoder
from scorer.services.spans import Topics

UNREADABLE = frozenset({"unknown_schema", "inadmissible_schema"})
"""Why a record may be a prediction that nobody can read any more."""
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
        lineage: what was live; None for a lane.
        predictions_gone, letters_gone: what the other topics have no more.
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
    lineage: Lineage | None = None
    predictions_gone: Gone = field(default_factory=Gone)
    letters_gone: Gone = field(default_factory=Gone)
    cut: list[tuple[int, Span]] = field(init=False)
    _first: dict[int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.account.lost = self.range.lost
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
        firsts = []
        for batch in self.topics.stretch(topic, spans):
            for partition in fresh & set(batch.partitions.tolist()):
                firsts.append(int(batch.timestamps[batch.partitions == partition][0]))
                fresh = fresh - {partition}
            self._sort(batch)
        if fresh:  # nothing is left of them
            firsts.append(ANY_TIME_MS)
        self.predictions_gone = replace(self.predictions_gone, before_ms=max(firsts, default=0))

    def letters(self, topic: str, group: str, spans: Mapping[int, Span]) -> None:
        """Reads these stretches of the dead-letter topic for what the stream of a group wrote; see `predictions`.

        Letters have their records' timestamps, which need not ascend: nothing is told by the first that is left.
        """
        author = Author(self.topic, group)
        for batch in self.topics.stretch(topic, spans):
            found: dict[int, list[Aside]] = {}
            for _, letter in author.letters(batch):
                part = part_of(self._first, self.range.spans, self.window, letter.source)
                if part is not None:
                    about = letter.sha256.encode() or None
                    found.setdefault(part, []).append(Aside(letter.source[1], letter.place, about, None))
            for part, rows in found.items():
                self.shelf.put(part, rows)
        lows = self.topics.extents.extents(topic).values()  # now: what has expired meanwhile was not read
        before_ms = ANY_TIME_MS if any(low > 0 for low, _ in lows) else 0
        self.letters_gone = replace(self.letters_gone, before_ms=before_ms)

    def _sort(self, batch: RecordBatch) -> None:
        skipped = self.account.skipped
        decoded, unread = self.decoder.tables(batch.values)
        tables = [events for events in decoded if _is_prediction(events.schema)]
        erased = sum(value is None for value in batch.values)
        unknown = sum(reason in UNREADABLE for reason in unread.values())
        others = len(batch) - erased - unknown - sum(map(len, tables))
        found: dict[int, list[tuple[int, int]]] = {}
        for events in tables:
            columns = (_column(events, name) for name in ("lane", "source_topic", "source_partition", "source_offset"))
            partial = _partial(events)
            others += len(partial)
            for at, (lane, topic, partition, offset) in enumerate(zip(*columns, strict=True)):
                if at in partial:
                    continue
                if lane != self.lane or topic != self.topic:
                    skipped["other_lane" if lane != self.lane else "other_topic"] += 1
                    continue
                part = part_of(self._first, self.range.spans, self.window, (partition, offset))
                if part is not None:
                    found.setdefault(part, []).append((int(events.rows[at]), offset))
                elif self._concerns(partition, offset):
                    row = int(events.rows[at])
                    (record,) = self.decoder.records([batch.values[row]])
                    assert record is not None, "it was decoded a moment ago"
                    place = int(batch.partitions[row]), int(batch.offsets[row])
                    self._outside(Published(place, batch.keys[row], *record))
        skipped.update(erasure=erased, no_prediction=others, unknown_schema=unknown)
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
        extent = self.range.extents.get(partition, (0, 0))
        if self.lineage is not None and self.lineage.foreign(published.bundle, self.topic):
            self.account.skipped["other_stream"] += 1
        elif offset >= extent[1] or published.fields["source_timestamp"] >= (self.range.since_ms or 0):
            self.account.judged(published, self.nowhere(published, extent))

    def nowhere(self, published: Published, extent: Span) -> Verdict:
        """The verdict on a prediction at whose event's place the topic, which holds that extent, has nothing."""
        at = Standing(self.topic, self.recreated, self.lineage, None)
        return nowhere(published, at, extent, compacted=self.compacted)


def _is_prediction(schema: WriterSchema) -> bool:
    """Whether it has what every prediction has, of the types that it has there; other writers' records may not."""
    nodes = {name: schema.root.child(name) for name in PROVENANCE}
    return all(node is not None and _kinds(node) <= {*PROVENANCE[name], "null"} for name, node in nodes.items())


def _kinds(node: Node) -> set[str]:
    return {branch.kind for branch in node.branches} if node.kind == "union" else {node.kind}


def _partial(events: Events) -> set[int]:
    """Which records have a null where every prediction says something."""
    may_be = [name for name in PROVENANCE if (node := events.schema.root.child(name)) is None or node.kind == "union"]
    return {at for name in may_be for at, value in enumerate(_column(events, name)) if value is None}


def _column(events: Events, name: str) -> list[Any]:
    if isinstance(events.table, list):
        return [record[name] for record in events.table]
    return list(events.table.column(name).to_pylist())
