"""What a service asks of its surroundings. Edges implement these; tests hand in what they like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from scorer.core.offsets import InFlight
from scorer.core.records import DeadLetter, Outbound, RecordBatch


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """When a micro-batch is closed.

    Attributes:
        rows_max: at so many records.
        wait_ms_max: so long after its first record, though more keep coming.
        value_bytes_max: values longer than this are rejected unread.
    """

    rows_max: int = 2000
    wait_ms_max: int = 5
    value_bytes_max: int = 1 << 20


class Ownership(Protocol):
    """Told about rebalances from inside `Source.poll` and `Source.hold`."""

    def assigned(self, positions: Mapping[int, int]) -> None:
        """Partitions are ours, and reading starts at these offsets."""

    def revoked(self, partitions: Sequence[int]) -> None:
        """Partitions go to another member, and are still ours until this returns: finish and commit."""

    def lost(self, partitions: Sequence[int]) -> None:
        """Partitions went to another member already: drop what is in hand, commit nothing."""


class Source(Protocol):
    """Records of one input topic, as a member of a consumer group. Driven by one thread."""

    def poll(self, limits: BatchLimits, idle_ms_max: int) -> RecordBatch | None:
        """The next micro-batch, or None if nothing came within `idle_ms_max`.

        Raises:
            TransientError: the client has failed for good; a new process may do better.
            HaltError: offsets are out of range; the message names the lost range.
        """

    def hold(self, wait_ms: int) -> None:
        """Stays a member of the group for that long without taking records."""

    def commit(self, offsets: Mapping[int, int], wait: bool) -> Mapping[int, int]:
        """Commits next offsets; without `wait` in the background. Returns what the broker has taken meanwhile."""


class Publisher(Protocol):
    """Writes predictions and dead letters. Driven by one thread."""

    def publish(self, outbound: Outbound, letters: Sequence[DeadLetter], batch: InFlight) -> list[int]:
        """Hands a batch to the client, in order. `batch.outstanding` is counted down as deliveries are confirmed.

        Returns the indices in `outbound` of predictions that are too large for the broker. They stay outstanding: the
        caller publishes a dead letter in the place of each, with the same `batch`.
        """

    def poll(self, wait_ms: int) -> None:
        """Serves delivery reports, for at most that long.

        Raises:
            TransientError: a delivery has failed for good, so nothing behind it may be committed.
        """


class SchemaRegistry(Protocol):
    """Writer schemas by id. Ids never change their schema."""

    def text(self, schema_id: int) -> str | None:
        """The schema as JSON, or None if the registry does not know the id.

        Raises:
            TransientError: the registry does not answer.
        """


class SubjectRegistry(Protocol):
    """Schemas by subject, for start-up and setup."""

    def versions(self, subject: str) -> list[tuple[int, str]]:
        """Every registered version as (id, JSON), oldest first; empty for an unknown subject."""

    def register(self, subject: str, text: str, compatibility: str) -> int:
        """Registers a schema and sets the subject's compatibility. Returns its id.

        Raises:
            ContractError: the registry refuses it, with its reason.
        """


class Clock(Protocol):
    """Time, so that decisions can be tested."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch, UTC."""

    def ticks_ms(self) -> float:
        """Milliseconds from an arbitrary start that never go back."""

    def sleep(self, ms: float) -> None:
        """Waits."""
