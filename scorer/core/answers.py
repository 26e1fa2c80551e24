"""Predictions as readers of the latest one want them: JSON bodies, an order by which the newest wins, positions.

Pure: records of a prediction topic in, answers out. A body is made once, when its record is read; what changes with
the clock (`age_ms`) or with the question (`stale`) is put before it by whoever answers.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scorer.core.compose import PROVENANCE
from scorer.core.decode import Events
from scorer.core.errors import ConfigError
from scorer.core.records import RecordBatch

LIVE = "live"
INT64_MAX = 2**63 - 1
NESTED = frozenset(PROVENANCE) - {"event_id"}
"""What stands under `provenance` in a body, rather than beside the prediction's own fields."""

Positions = Mapping[int, int]
"""Partition to the next offset to read."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of prediction.

    Attributes:
        name: as paths and scopes call it: `lead-scores`.
        topic: where its predictions are.
        entity: the field with whom they are about.
    """

    name: str
    topic: str
    entity: str


@dataclass(frozen=True, slots=True)
class Answer:
    """One record of a prediction topic.

    Attributes:
        kind: the kind's name.
        entity: whom it is about.
        partition, offset: where it is in the prediction topic.
        event_id: the event that it was made from; "" for an erasure.
        order: occurred_at, source timestamp, partition and offset: the greater is the newer.
        scored_at: milliseconds since the epoch, UTC.
        tag: the same for the same prediction, and says nothing about it.
        body: the prediction as a JSON object without its opening brace, or None: the entity is erased.
    """

    kind: str
    entity: str
    partition: int
    offset: int
    event_id: str
    order: tuple[int, int, int, int]
    scored_at: int
    tag: str
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Reading:
    """What a batch of one topic comes to.

    Attributes:
        kind: the kind's name.
        answers: in offset order per partition.
        next_offsets: per partition of the batch, what was skipped included.
        skipped: how many records were left out, by why.
    """

    kind: str
    answers: list[Answer]
    next_offsets: Mapping[int, int]
    skipped: Mapping[str, int]


def kinds_of(found: Sequence[tuple[str, str]]) -> tuple[Kind, ...]:
    """The kinds of some prediction topics, given as (topic, entity field): the topic's last dotted part and an s.

    Raises:
        ConfigError: two topics would be called the same, or one topic is about two kinds of entity.
    """
    kinds: dict[str, Kind] = {}
    for topic, entity in found:
        name = topic.rpartition(".")[2] + "s"
        other = kinds.setdefault(name, Kind(name, topic, entity))
        if other.topic != topic:
            raise ConfigError(f"{other.topic} and {topic} would both be served as {name}: rename one of the topics")
        if other.entity != entity:
            raise ConfigError(f"{topic} is about {other.entity} for one stream and about {entity} for another")
    return tuple(kinds.values())


def newest(first: Answer | None, second: Answer | None) -> Answer | None:
    """The newer of two; the first if they are equally new."""
    if first is None or second is None:
        return first or second
    return second if second.order > first.order else first


def read_answers(kind: Kind, batch: RecordBatch, decoded: Sequence[Events], rejected: Mapping[str, int]) -> Reading:
    """The answers of a batch.

    Args:
        kind: of the batch's topic.
        batch: the raw records; null values erase the entity that their key names.
        decoded: its rows as core.decode gives them.
        rejected: why rows were not decoded, counted.
    """
    skipped = dict(rejected)
    by_row: dict[int, Answer] = {}
    partitions, offsets = batch.partitions.tolist(), batch.offsets.tolist()

    def skip(reason: str) -> None:
        skipped[reason] = skipped.get(reason, 0) + 1

    for events in decoded:
        records = events.table if isinstance(events.table, list) else events.table.to_pylist()
        for row, record in zip(events.rows.tolist(), records, strict=True):
            if record.get("lane") != LIVE:
                skip("lane")
                continue
            try:
                by_row[row] = _answer(kind, record, partitions[row], offsets[row])
            except (KeyError, TypeError, ValueError, OverflowError):
                skip("missing_field")
    for row, value in enumerate(batch.values):
        if value is None:
            entity = _key(batch.keys[row])
            if entity is None:
                skip("missing_field")
            else:
                nothing = (0, 0, 0, 0)
                by_row[row] = Answer(kind.name, entity, partitions[row], offsets[row], "", nothing, 0, "", None)
    return Reading(kind.name, [by_row[row] for row in sorted(by_row)], batch.next_offsets, skipped)


def _answer(kind: Kind, record: Mapping[str, Any], partition: int, offset: int) -> Answer:
    entity, event_id = record[kind.entity], record["event_id"]
    if not isinstance(entity, str) or not isinstance(event_id, str):
        raise TypeError("ids are texts")
    order = (
        _number(record["occurred_at"]),
        _number(record["source_timestamp"]),
        _number(record["source_partition"]),
        _number(record["source_offset"]),
    )
    own = {name: value for name, value in record.items() if name not in NESTED}
    whole = own | {"provenance": {name: record[name] for name in record if name in NESTED}}
    tag = hashlib.blake2b(str(record["prediction_id"]).encode(), digest_size=8).hexdigest()
    body = as_json(whole)[1:]
    return Answer(kind.name, entity, partition, offset, event_id, order, _number(record["scored_at"]), tag, body)


def _number(value: Any) -> int:
    """A number that is kept: of 64 bits, since stores take no other, and whoever may write to the topic can send it."""
    found = int(value)
    if not -INT64_MAX - 1 <= found <= INT64_MAX:
        raise OverflowError
    return found


def as_json(value: Any) -> bytes:
    """JSON in UTF-8, compact. Bytes become text as Avro writes them in JSON; NaN and infinities become null."""
    try:
        text = _ENCODE(value)
    except ValueError:
        text = _ENCODE(_finite(value))
    return text.encode()


def _latin(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    raise TypeError(f"{type(value).__name__} has no place in JSON")


_ENCODE: Callable[[Any], str] = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_latin
).encode


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _key(key: bytes | None) -> str | None:
    try:
        return None if key is None else key.decode()
    except UnicodeDecodeError:
        return None


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a stream of answers: per partition the next offset, of a topic as it was made at one time.

    Attributes:
        epoch: tells a topic from one of the same name that was made anew.
        positions: per partition; one that is not named begins at 0.
    """

    epoch: str
    positions: Positions

    def __str__(self) -> str:
        return ".".join(
            [self.epoch, *(f"{partition}-{offset}" for partition, offset in sorted(self.positions.items()))]
        )


def parse_mark(text: str) -> Mark | None:
    """What `str(mark)` gave, or None if it is no such text."""
    epoch, *parts = text.split(".")
    positions: dict[int, int] = {}
    for part in parts:
        partition, dash, offset = part.partition("-")
        if not dash or not _is_number(partition) or not _is_number(offset):
            return None
        positions[int(partition)] = int(offset)
    return Mark(epoch, positions) if epoch and len(positions) == len(parts) else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= INT64_MAX
