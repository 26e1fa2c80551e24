"""Framed values to records, with schemas from the registry; told to stop, it gives up with StoppedError."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

import numpy as np

from scorer.core.decode import Events, decode
from scorer.core.ports import Clock, Report
from scorer.core.records import Closed, RecordBatch
from scorer.core.schema import WriterSchema
from scorer.core.wire import split_frames
from scorer.services.patience import StoppedError
from scorer.services.schemas import Schemas, Waiting

VALUE_BYTES_MAX = 64 << 20
"""Predictions are ours; an event's own limit is the stream's."""


@dataclass(slots=True)
class Decoder:
    """Decodes values whose schemas the registry knows. All calls come from one thread.

    Attributes:
        schemas, clock, report, stop: the surroundings.
    """

    schemas: Schemas
    clock: Clock
    report: Report
    stop: Event

    def known(self, ids: Iterable[int]) -> Mapping[int, WriterSchema | str]:
        """Schema ids to schemas, or to the reason why there is none; waited for while the registry is down.

        Raises:
            StoppedError: told to stop.
        """
        found = self.schemas.resolve(ids, self.clock.ticks_ms, self.stop, self._wait)
        if found is None:
            raise StoppedError
        return found

    def tables(self, values: Sequence[bytes | None]) -> tuple[list[Events], dict[int, str]]:
        """The records by schema; and of what is no record of a schema that the registry knows, the reason by row.

        Nulls are neither.

        Raises:
            StoppedError: told to stop.
        """
        frames = split_frames(values, VALUE_BYTES_MAX)
        numbers = np.zeros(len(values), dtype=np.int64)
        nothing: list[None] = [None] * len(values)
        places = numbers.astype(np.int32), numbers, numbers
        batch = RecordBatch("", *places, list(values), nothing, nothing, Closed.FULL)
        tables, rejections = decode(batch, frames, self.known(frames.groups))
        return tables, {each.row: each.reason for each in rejections}

    def records(self, values: Sequence[bytes | None]) -> list[tuple[int, dict[str, Any]] | None]:
        """Per value its schema id and its record; None for a null, and for what is no such record.

        Raises:
            StoppedError: told to stop.
        """
        found: list[tuple[int, dict[str, Any]] | None] = [None] * len(values)
        for events in self.tables(values)[0]:
            rows = events.table if isinstance(events.table, list) else events.table.to_pylist()
            for row, record in zip(events.rows.tolist(), rows, strict=True):
                found[row] = events.schema.id, record
        return found

    def _wait(self, waiting: Waiting) -> None:
        self.report("neighbour.waiting", {"why": waiting.why, "next_try_ms": waiting.wait_ms})
        self.stop.wait(waiting.wait_ms / 1000)
