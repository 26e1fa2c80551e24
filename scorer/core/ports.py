"""What a service asks of its surroundings. Edges implement these; tests hand in what they like."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # the supervisor knows its clock from here, and needs neither a model runtime nor its threads
    from scorer.core.compose import Origin
    from scorer.core.load import Load
    from scorer.core.model import Model
    from scorer.core.offsets import InFlight
    from scorer.core.records import DeadLetter, Outbound, RecordBatch, Scored
    from scorer.core.sandbox import Death
    from scorer.core.schema import WriterSchema
    from scorer.core.scoring import Recipe

Report = Callable[[str, Mapping[str, Any]], None]
"""Told of what happens, for the log: the event's name and its fields. Never a payload, an entity's id or a secret."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """When a micro-batch is closed.

    Attributes:
        rows_max: at so many records.
        wait_ms_max: so long after its first record, though more keep coming.
        value_bytes_max: values longer than this are rejected unread.
    """

    rows_max: int = 4000
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

    def membership(self) -> Any:
        """Who we are in the group, for a transaction: the broker refuses the offsets of a member it has given up."""


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

    def close(self, wait_ms_max: int) -> int:
        """Waits for what is under way, and ends. Returns how many messages are still not confirmed."""


class Transactions(Publisher, Protocol):
    """Publishes predictions, dead letters and input offsets in one transaction after another. Driven by one thread.

    Every method may raise FencedError: another instance has taken our id.
    """

    def begin(self) -> None:
        """Opens a transaction if none is open.

        Raises:
            TransientError: the coordinator does not answer.
        """

    def commit(self, offsets: Mapping[int, int], membership: Any, wait_ms_max: float | None = None) -> None:
        """Commits the open transaction with these next offsets, of which there is one at least.

        Args:
            offsets: partition of the input topic to the next offset.
            membership: Source.membership(), so that a member that was left behind is refused.
            wait_ms_max: at most so long; None for as long as a transaction lasts.

        Raises:
            AbortedError: it came to nothing, or nobody can say; recover, and read again from what is committed.
        """

    def recover(self) -> None:
        """Makes sure that the open transaction can never be committed any more, and that the next can be begun.

        Raises:
            TransientError: the coordinator does not answer; call again.
        """


class Observer(Protocol):
    """Told once per batch, and now and again; for metrics."""

    def serving(self, model: Model, origin: Origin) -> None:
        """This model scores from now on, by this build."""

    def batch(self, batch: RecordBatch, scored: Scored, took_ms: float, now_ms: int) -> None:
        """A batch was scored and published."""

    def lag(self, lag: Mapping[int, int]) -> None:
        """Partition that is ours to records behind the end."""

    def aborted(self) -> None:
        """A transaction came to nothing."""


class Lagging(Source, Protocol):
    """A source that knows how far behind it is, and whether anything can come."""

    def outage(self) -> str | None:
        """For people: why nothing can come, or None."""

    def lag(self) -> Mapping[int, int]:
        """Partition to records between the next one and the end."""

    def unfinished(self) -> Mapping[int, int]:
        """Partition to how often it was begun at its position before and never left in good order."""

    def rewind(self) -> Mapping[int, int]:
        """Reads on from what is committed; partition to the next offset.

        Raises:
            TransientError: the broker does not say what is committed.
        """


class Sink(Protocol):
    """A place for predictions that keeps the positions itself, with what it writes."""

    def positions(self, topic: str) -> Mapping[int, int]:
        """Partition to the stored next offset; partitions that were never written are left out.

        Raises:
            TransientError: it does not answer.
        """

    def write(self, load: Load) -> Mapping[str, int]:
        """Writes a load and its next offsets, all or nothing; what is there already changes nothing.

        Returns how many records of each kind there were.

        Raises:
            TransientError: it does not answer, or is locked or full; the same load may be written again.
            HaltError: it cannot take this load; the message says what to do.
        """


class Sandbox(Protocol):
    """Scores records in a process that may die of them."""

    def score(
        self, batch: RecordBatch, schemas: Mapping[int, WriterSchema | str], recipe: Recipe, now_ms: int
    ) -> Scored | Death:
        """What came of a batch, all of whose columns are in memory; see scoring.score_batch."""

    def close(self) -> None:
        """Ends the process, if there is one; the next batch starts another."""


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
