"""A plain subscriber that keeps account: which events have come out, as what, and how fast.

It reads the output topics like any application does, decodes what it reads, and trusts nothing that the worker says.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scorer.core.dead_letters import PREFIX
from scorer.core.decode import by_column
from scorer.core.records import RecordBatch
from scorer.core.schema import WriterSchema

Position = tuple[str, int, int]
"""Topic, partition and offset of an event."""

EXAMPLES_MAX = 3


@dataclass(slots=True)
class Tally:
    """What one subscriber has seen so far.

    Attributes:
        schemas: prediction schemas by topic.
        predicted: events that have a prediction.
        rejected: events that have a dead letter, by reason.
        repeats: predictions of an event that had one already.
        delays_ms: from an event's Kafka timestamp to the receipt of its prediction here.
        examples: a few predictions per topic, decoded.
        first_s, last_s: monotonic time of the first and the latest receipt.
    """

    schemas: Mapping[str, WriterSchema]
    predicted: set[Position] = field(default_factory=set)
    rejected: dict[Position, str] = field(default_factory=dict)
    repeats: int = 0
    delays_ms: list[Any] = field(default_factory=list)
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    first_s: float = 0.0
    last_s: float = 0.0

    @property
    def accounted(self) -> int:
        """Events that came out, one way or the other."""
        return len(self.predicted) + len(self.rejected)

    def reasons(self) -> Counter[str]:
        """Dead letters by reason."""
        return Counter(self.rejected.values())

    def add(self, batch: RecordBatch, received_ms: int) -> None:
        """Takes in what was read from one output topic."""
        self.last_s = time.monotonic()
        self.first_s = self.first_s or self.last_s
        schema = self.schemas.get(batch.topic)
        if schema is None:
            self._add_letters(batch)
        else:
            self._add_predictions(batch, schema, received_ms)

    def percentiles(self, since_ms: int) -> tuple[float, float, int]:
        """p50 and p99 in milliseconds, and the count, over events that were sent from `since_ms` on."""
        pairs = np.concatenate(self.delays_ms) if self.delays_ms else np.empty((0, 2), dtype=np.int64)
        delays = pairs[pairs[:, 0] >= since_ms, 1]
        if not len(delays):
            return float("nan"), float("nan"), 0
        return float(np.percentile(delays, 50)), float(np.percentile(delays, 99)), len(delays)

    def _add_predictions(self, batch: RecordBatch, schema: WriterSchema, received_ms: int) -> None:
        values = [value for value in batch.values if value is not None]
        if not values:
            return
        table = by_column(values, schema)
        if table is None:
            raise AssertionError(f"{batch.topic} holds bytes that are no {schema.text[:60]}")
        sent = table.column("source_timestamp").to_numpy()
        self.delays_ms.append(np.column_stack([sent, received_ms - sent]))
        topics = table.column("source_topic").to_pylist()
        partitions, offsets = table.column("source_partition").to_pylist(), table.column("source_offset").to_pylist()
        before = len(self.predicted)
        self.predicted.update(zip(topics, partitions, offsets, strict=True))
        self.repeats += table.num_rows - (len(self.predicted) - before)
        kept = self.examples.setdefault(batch.topic, [])
        kept += table.slice(0, max(0, EXAMPLES_MAX - len(kept))).to_pylist()

    def _add_letters(self, batch: RecordBatch) -> None:
        for row in range(len(batch)):
            notes = {name.removeprefix(PREFIX): (value or b"").decode() for name, value in batch.headers[row] or []}
            position = (notes["topic"], int(notes["partition"]), int(notes["offset"]))
            self.rejected[position] = f"{notes['stage'].lower()}: {notes['exception.class.name']}"
