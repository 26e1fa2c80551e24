"""Reads the topic of deployments as entries. Belongs to no group and commits nothing; driven by one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event
from typing import Any, Protocol

from scorer.core.deployments import Entry, entry_of
from scorer.core.errors import ShutOutError, TransientError
from scorer.core.ports import Clock, Report
from scorer.core.records import RecordBatch
from scorer.core.schema import WriterSchema
from scorer.core.strict import MalformedError, record_decoder
from scorer.core.wire import PREFIX_BYTES, split_frames
from scorer.services.schemas import Schemas, Waiting

ROWS_MAX = 1000
VALUE_BYTES_MAX = 1 << 20
PARTITION = 0


class Reader(Protocol):
    """Reads on from where it was opened."""

    @property
    def ended(self) -> Mapping[tuple[str, int], int]:
        """Topic and partition to the offset at which the end was met."""

    def read(self, rows_max: int, wait_ms_max: int) -> list[RecordBatch]:
        """Records that came; empty if none did in that time."""

    def ends(self) -> Mapping[tuple[str, int], int]:
        """Topic and partition to the offset behind the last record, as it is now; without those that hold none."""

    def close(self) -> None:
        """Ends reading."""


class Log(Protocol):
    """The topic of deployments."""

    def read(self, wait_ms_max: int) -> list[Entry]:
        """Entries that came, in order; empty if none did.

        Raises:
            TransientError, ShutOutError: it cannot be read now.
            RefusedError: we may not read it.
        """

    def end(self) -> int:
        """The offset behind the last entry, as it is now.

        Raises:
            TransientError, ShutOutError, RefusedError: as `read` does.
        """

    @property
    def position(self) -> int:
        """The offset up to which it has been read."""

    def close(self) -> None:
        """Ends reading; the next call begins again where it was."""


@dataclass(slots=True)
class DeploymentLog:
    """Implements Log.

    Attributes:
        topic: of deployments; its first partition is all of it.
        open: a reader of it from an offset on.
        schemas, clock, report, stop: the surroundings.
        position: the offset up to which it has been read.
    """

    topic: str
    open: Callable[[int], Reader]
    schemas: Schemas
    clock: Clock
    report: Report
    stop: Event
    position: int = 0
    _reader: Reader | None = None
    _decoders: dict[int, Callable[[bytes, int], dict[str, Any]]] = field(default_factory=dict)

    def read(self, wait_ms_max: int) -> list[Entry]:
        """See Log."""
        found: list[Entry] = []
        with self._opened() as reader:
            for batch in reader.read(ROWS_MAX, wait_ms_max):
                found += self._entries(batch)
                self.position = max(self.position, *batch.next_offsets.values())
            self.position = max(self.position, reader.ended.get((self.topic, PARTITION), 0))
        return found

    def end(self) -> int:
        """See Log."""
        with self._opened() as reader:
            return reader.ends().get((self.topic, PARTITION), 0)

    def close(self) -> None:
        """See Log."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    @contextmanager
    def _opened(self) -> Iterator[Reader]:
        """The reader; one that fails is let go of, since only a new one takes up a new password."""
        if self._reader is None:
            self._reader = self.open(self.position)
        try:
            yield self._reader
        except (TransientError, ShutOutError):
            self.close()
            raise

    def _entries(self, batch: RecordBatch) -> list[Entry]:
        frames = split_frames(batch.values, VALUE_BYTES_MAX)
        known = self.schemas.resolve(frames.groups, self.clock.ticks_ms, self.stop, self._wait)
        if known is None:
            raise TransientError("told to stop while the registry was asked")
        found: dict[int, Entry] = {}
        for schema_id, rows in frames.groups.items():
            schema = known[schema_id]
            for row in rows.tolist():
                offset = int(batch.offsets[row])
                with suppress(MalformedError, KeyError):
                    if isinstance(schema, WriterSchema):
                        found[row] = entry_of(self._decoder(schema)(batch.values[row] or b"", PREFIX_BYTES), offset)
        if len(found) < len(batch):
            self.report("deployments.foreign_records", {"records": len(batch) - len(found)})
        return [found[row] for row in sorted(found)]

    def _decoder(self, schema: WriterSchema) -> Callable[[bytes, int], dict[str, Any]]:
        if schema.id not in self._decoders:
            self._decoders[schema.id] = record_decoder(schema)
        return self._decoders[schema.id]

    def _wait(self, waiting: Waiting) -> None:
        self.report("neighbour.waiting", {"why": waiting.why, "next_try_ms": waiting.wait_ms})
        self.stop.wait(waiting.wait_ms / 1000)
