"""Which bundle scores which record: deployments as events, and the spans that they come to. Decided purely.

An intent says what is to be live on a stream. An activation says what is: from its first offset on, up to the first
offset of the next activation of that partition, its bundle scores a partition. Whoever scores a record, the worker
live, the next owner of its partition, or a replay a year later, follows activations and never intents.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import fastavro
import numpy as np

from scorer.core.records import RecordBatch, Rows
from scorer.core.replays import KINDS, Replay, fields_of, replay_of
from scorer.core.schema import WriterSchema
from scorer.core.wire import prefix

INTENT, ACTIVATED = "intent", "activated"


@dataclass(frozen=True, slots=True)
class Identity:
    """A bundle by name, version and the sha256 over its files, in hex."""

    name: str
    version: str
    sha256: str

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.name}/{self.version}"


@dataclass(frozen=True, slots=True)
class Intent:
    """A bundle is to be live on a stream.

    Attributes:
        group: the stream's consumer group.
        stream: its name.
        bundle: what is to be live.
        place: where the bundle is: a folder or a URL.
        who, why: for the auditor.
        said_ms: when it was given, milliseconds since the epoch, UTC.
        effective_ms: from the first record of a partition on whose timestamp is not earlier; None is from now on.
        source_topic: the stream's input topic.
        number: its offset in the topic of deployments; -1 before it is there.
    """

    group: str
    stream: str
    bundle: Identity
    place: str
    who: str
    why: str
    said_ms: int
    source_topic: str
    effective_ms: int | None = None
    number: int = -1


@dataclass(frozen=True, slots=True)
class Activation:
    """A bundle is live on a partition from an offset on.

    Attributes:
        group, stream, bundle, said_ms, source_topic: as of an intent.
        source_topic_id: tells the input topic from one of the same name that was made anew.
        partition: of the input topic.
        first_offset: the first offset that it scores.
        intent: number of the intent that it carries out; -1 for one that only sets the record straight.
        who: the process.
        number: its offset in the topic of deployments; -1 before it is there.
    """

    group: str
    stream: str
    bundle: Identity
    said_ms: int
    source_topic: str
    source_topic_id: str
    partition: int
    first_offset: int
    intent: int
    who: str
    number: int = -1


Entry = Intent | Activation | Replay


def encode_entry(entry: Entry, schema: WriterSchema, scorer_version: str) -> bytes:
    """An entry as it stands in the topic, in the registry's wire format."""
    body = BytesIO()
    fastavro.schemaless_writer(body, schema.parsed, {**_fields(entry), "scorer_version": scorer_version})
    return prefix(schema.id) + body.getvalue()


def _fields(entry: Entry) -> dict[str, Any]:
    if isinstance(entry, Replay):
        return fields_of(entry)
    own: dict[str, Any] = {
        "group": entry.group,
        "stream": entry.stream,
        "model_name": entry.bundle.name,
        "model_version": entry.bundle.version,
        "model_sha256": entry.bundle.sha256,
        "who": entry.who,
        "said_at": entry.said_ms,
        "source_topic": entry.source_topic,
    }
    if isinstance(entry, Intent):
        own |= {"kind": INTENT, "place": entry.place, "why": entry.why, "effective_from": entry.effective_ms}
        own |= {"source_topic_id": ""}
    else:
        own |= {"kind": ACTIVATED, "place": "", "why": "", "intent_offset": entry.intent if entry.intent >= 0 else None}
        own |= {"source_topic_id": entry.source_topic_id, "source_partition": entry.partition}
        own |= {"first_offset": entry.first_offset}
    return own


def entry_of(record: Mapping[str, Any], number: int) -> Entry:
    """A decoded record of the topic of deployments as an entry; `number` is its offset.

    Raises:
        KeyError: it is of a kind that this version does not know.
    """
    if record["kind"] in KINDS:
        return replay_of(record, number)
    if record["kind"] not in (INTENT, ACTIVATED):
        raise KeyError(record["kind"])
    bundle = Identity(record["model_name"], record["model_version"], record["model_sha256"])
    if record["kind"] == INTENT:
        return Intent(
            record["group"],
            record["stream"],
            bundle,
            record["place"],
            record["who"],
            record["why"],
            record["said_at"],
            record["source_topic"],
            record["effective_from"],
            number,
        )
    intent = record["intent_offset"]
    return Activation(
        record["group"],
        record["stream"],
        bundle,
        record["said_at"],
        record["source_topic"],
        record["source_topic_id"],
        record["source_partition"],
        record["first_offset"],
        -1 if intent is None else intent,
        record["who"],
        number,
    )


@dataclass(slots=True)
class Spans:
    """Which bundle scored which offsets of one partition: (first offset, bundle), ascending by offset."""

    starts: list[int] = field(default_factory=list)
    bundles: dict[int, Identity] = field(default_factory=dict)

    def put(self, first_offset: int, bundle: Identity) -> None:
        """From this offset on, up to the next start, it is this bundle."""
        if first_offset not in self.bundles:
            insort(self.starts, first_offset)
        self.bundles[first_offset] = bundle

    def at(self, offset: int) -> Identity | None:
        """The bundle at an offset; the first one also before its start, where nobody has scored yet; None if empty."""
        if not self.starts:
            return None
        return self.bundles[self.starts[max(0, bisect_right(self.starts, offset) - 1)]]

    @property
    def last(self) -> tuple[int, Identity] | None:
        """The last start and its bundle."""
        return (self.starts[-1], self.bundles[self.starts[-1]]) if self.starts else None

    def changes(self, first: int, end: int) -> list[int]:
        """Starts within first < start < end."""
        return self.starts[bisect_right(self.starts, first) : bisect_right(self.starts, end - 1)]


@dataclass(slots=True)
class History:
    """The deployments of one stream, as far as they have been read, in the order of the topic.

    Attributes:
        group: the stream's consumer group; entries of others are passed over.
        topic_id: the input topic as it is; activations on one of the same name before it are passed over.
        intents: by number.
        spans: by partition.
    """

    group: str
    topic_id: str
    intents: dict[int, Intent] = field(default_factory=dict)
    spans: dict[int, Spans] = field(default_factory=dict)

    def apply(self, entries: Iterable[Entry]) -> bool:
        """Takes further entries in. Returns whether any concerned this stream."""
        concerned = False
        for entry in entries:
            if entry.group != self.group or isinstance(entry, Replay):
                continue
            if isinstance(entry, Intent):
                self.intents[entry.number] = entry
            elif entry.source_topic_id != self.topic_id:
                continue
            else:
                self.spans.setdefault(entry.partition, Spans()).put(entry.first_offset, entry.bundle)
            concerned = True
        return concerned

    @property
    def wanted(self) -> Intent | None:
        """The newest intent; it takes the place of every earlier one, also of one that has not come into effect."""
        return self.intents[max(self.intents)] if self.intents else None

    def of(self, partition: int) -> Spans:
        """The spans of a partition; empty if nothing was ever live on it."""
        return self.spans.get(partition, Spans())

    def intent_for(self, sha256: str) -> Intent | None:
        """The newest intent for a bundle: says where it is."""
        found = [each for each in self.intents.values() if each.bundle.sha256 == sha256]
        return max(found, key=lambda each: each.number) if found else None


def differences(truth: Spans, told: Spans, first: int, end: int) -> list[tuple[int, Identity]]:
    """What has to be put into `told` so that it says the same as `truth` of the offsets from `first` up to `end`."""
    found = []
    for start in sorted({first, *truth.changes(first, end), *told.changes(first, end)}):
        true = truth.at(start)
        if true is not None and told.at(start) != true:
            found.append((start, true))
    return found


def boundary(batch: RecordBatch, partition: int, intent: Intent) -> int | None:
    """The first offset of a partition in this batch at which an intent is in effect, or None."""
    rows = np.flatnonzero(batch.partitions == partition)
    if intent.effective_ms is not None:
        rows = rows[batch.timestamps[rows] >= intent.effective_ms]
    return int(batch.offsets[rows[0]]) if len(rows) else None


def parted(batch: RecordBatch, history: History) -> list[tuple[RecordBatch, Identity]]:
    """A batch by the bundles that score it. Within each partition, parts come in the order of offsets.

    Every partition of the batch has spans.
    """
    turns: list[list[tuple[Rows, Identity]]] = []
    for partition in batch.next_offsets:
        rows = np.flatnonzero(batch.partitions == partition)
        offsets = batch.offsets[rows]
        spans = history.of(partition)
        starts = np.array([int(offsets[0]), *spans.changes(int(offsets[0]), int(offsets[-1]) + 1)])
        at = np.searchsorted(starts, offsets, side="right") - 1
        own = []
        for turn, start in enumerate(starts.tolist()):
            bundle = spans.at(start)
            assert bundle is not None
            own.append((rows[at == turn], bundle))
        turns.append(own)
    found: list[tuple[RecordBatch, Identity]] = []
    for turn in range(max(map(len, turns))):
        by_bundle: dict[Identity, list[Rows]] = {}
        for own in turns:
            if turn < len(own) and len(own[turn][0]):
                by_bundle.setdefault(own[turn][1], []).append(own[turn][0])
        for bundle, pieces in by_bundle.items():
            found.append((batch.take(np.sort(np.concatenate(pieces))), bundle))
    return found
