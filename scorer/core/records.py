"""What travels between the steps: one micro-batch as columns, and the records that dropped out of it.

Every step returns what went well and a list of rejections. Rows are named by their index in the RecordBatch that
they came from (`rows`, ascending, so offset order within each partition is kept).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.intp]
VECTOR_ROWS_MIN, VECTOR_ROWS_MIN_REPEATED = 40, 12
"""From so many rows on a batch goes by column in all steps, where one record after the other is cheaper below: of flat
records, and of those with arrays or maps. Where the two cross, all steps together: docs/why.md."""
Headers = list[tuple[str, bytes | None]]


class Closed(StrEnum):
    """Why a micro-batch was closed."""

    FULL = "full"
    WAIT = "wait"
    IDLE = "idle"
    REVOKE = "revoke"
    SHUTDOWN = "shutdown"


class Stage(StrEnum):
    """The step in which a record was rejected."""

    DECODE = "decode"
    ASSEMBLE = "assemble"
    INFER = "infer"
    ENCODE = "encode"


@dataclass(frozen=True)
class RecordBatch:
    """One micro-batch as Kafka delivered it. All columns have the same length n.

    Attributes:
        topic: the input topic; one stream has one.
        partitions: int32 [n].
        offsets: int64 [n], ascending within each partition.
        timestamps: int64 [n], Kafka timestamps in milliseconds since the epoch, UTC.
        values: the raw values; None is a tombstone.
        keys: the raw keys, read only for dead letters.
        headers: the raw headers, read only for dead letters and trace propagation.
        closed: why the batch was closed.
    """

    topic: str
    partitions: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    timestamps: npt.NDArray[np.int64]
    values: list[bytes | None]
    keys: Sequence[bytes | None]
    headers: Sequence[Headers | None]
    closed: Closed

    def __len__(self) -> int:
        return len(self.values)

    def row(self, at: int) -> RecordBatch:
        """One record as a batch of its own, all columns in memory."""
        return self.take(np.array([at]))

    def take(self, rows: Rows) -> RecordBatch:
        """Those records alone, rows ascending, all columns in memory."""
        listed = rows.tolist()
        return RecordBatch(
            self.topic,
            self.partitions[rows],
            self.offsets[rows],
            self.timestamps[rows],
            [self.values[at] for at in listed],
            [self.keys[at] for at in listed],
            [self.headers[at] for at in listed],
            self.closed,
        )

    def behind(self, reached: Mapping[int, int]) -> RecordBatch:
        """Those records alone that are not below the next offset of their partition, where it has one here."""
        floors = np.array([reached.get(partition, 0) for partition in self.partitions.tolist()], dtype=np.int64)
        return self.take(np.flatnonzero(self.offsets >= floors))

    @cached_property
    def next_offsets(self) -> Mapping[int, int]:
        """Per partition the next offset to read once this batch is done. Asked for in four places for each batch."""
        if len(self) < VECTOR_ROWS_MIN:
            latest = dict(zip(self.partitions.tolist(), self.offsets.tolist(), strict=True))  # offsets ascend
            return {partition: offset + 1 for partition, offset in latest.items()}
        ends = np.zeros(int(self.partitions.max()) + 1, dtype=np.int64)
        ends[self.partitions] = self.offsets + 1  # of several the last one stays
        return {partition: int(ends[partition]) for partition in np.flatnonzero(ends).tolist()}


@dataclass(frozen=True, slots=True)
class Rejection:
    """A record that could not be scored.

    Attributes:
        row: its index in the RecordBatch.
        stage: the step that rejected it.
        reason: a code from a closed list (REASONS).
        detail: for people: field paths and limits, never a value of the payload.
    """

    row: int
    stage: Stage
    reason: str
    detail: str


REASONS: Mapping[str, str] = {
    "bad_frame": "the value does not start with the registry's wire format (magic byte and schema id)",
    "too_large": "the value is longer than the limit in bytes",
    "unknown_schema": "the registry does not know the schema id, also after the grace period",
    "inadmissible_schema": "the writer schema is recursive, has items of zero bytes, or is no record",
    "malformed": "the bytes are not a valid encoding of the writer schema",
    "trailing_bytes": "the record ends before its bytes do",
    "missing_field": "a field that the contract demands is absent or null",
    "wrong_type": "a field has a type that the model's input cannot take",
    "out_of_range": "a number is outside the contract's range or does not fit the tensor's type",
    "non_finite": "a number is NaN or infinite, in the event or in the model's output",
    "in_future": "occurred_at is more than a day ahead of the record's timestamp",
    "model_failed": "the model raised an error on this row alone",
    "kills_process": "scoring it ends or hangs the process, as was found by scoring it in a process of its own",
    "unencodable": "the prediction cannot be encoded with its schema",
    "prediction_too_large": "the prediction is larger than the broker takes",
}


@dataclass(frozen=True, slots=True)
class Outbound:
    """Encoded predictions, ready to publish, in the order of `rows`.

    Attributes:
        topic: the output topic.
        rows: the rows of the RecordBatch that the predictions were made from.
        keys: entity ids in UTF-8.
        values: the registry's wire format.
        headers: per prediction, or None for no headers at all.
    """

    topic: str
    rows: Rows
    keys: list[bytes]
    values: list[bytes]
    headers: list[Headers] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def take(self, indices: list[int]) -> Outbound:
        """Those predictions alone, in that order."""
        headers = None if self.headers is None else [self.headers[at] for at in indices]
        rows = self.rows[np.array(indices, dtype=np.intp)]
        return Outbound(
            self.topic, rows, [self.keys[at] for at in indices], [self.values[at] for at in indices], headers
        )


def no_rows(n: int) -> Rows:
    """The rows of n messages that come from no batch."""
    return np.arange(n)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A rejection as published: the original bytes untouched, and headers that say what went wrong.

    Attributes:
        topic: the dead-letter topic.
        timestamp: the original record's, milliseconds.
        headers: the original ones first, then `__connect.errors.*`.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: Headers


@dataclass(frozen=True, slots=True)
class Scored:
    """All that one micro-batch comes to: every row is a prediction, a rejection or a tombstone."""

    outbound: Outbound
    rejections: list[Rejection]
    tombstones: int
