"""How predictions and input offsets reach Kafka together, in the two ways that a stream can ask for.

At least once: an offset is committed, by time, only when every prediction and dead letter up to it is confirmed. A
crash repeats some work, with the same ids, and loses none.

Exactly once: predictions, dead letters and offsets are one transaction, closed by time or by rows. What came to nothing
is read again from what is committed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from scorer.core.errors import AbortedError, FencedError, HaltError, ScorerError, TransientError
from scorer.core.offsets import InFlight, Ledger
from scorer.core.ports import Clock, Publisher, Report, Source, Transactions
from scorer.core.records import Outbound

POLL_MS_MAX = 100

GoingOn = Callable[[float], bool]

Reached = Callable[[str], None]
"""Told by name of the places where the fault tests end the process; does nothing otherwise."""


class Delivery(Protocol):
    """Settles what was published. All calls come from the worker's thread, revoke and lose from inside its polls."""

    ledger: Ledger

    @property
    def publisher(self) -> Publisher:
        """Where predictions and dead letters go."""

    @property
    def spoiled(self) -> bool:
        """Whether what was published since the last commit cannot be committed any more; settle says why."""

    def begin(self, rows: int) -> None:
        """So many records are about to be published."""

    def conclude(self, source: Source) -> None:
        """Commits what would not outlast a long pause: an open transaction.

        Raises:
            AbortedError, TransientError: see settle.
        """

    def announce(self, source: Source, outbound: Outbound, going_on: GoingOn) -> bool:
        """Publishes what has to stand before anything that comes after it, and waits until it is confirmed.

        Args:
            source: for a transaction of its own.
            outbound: what to publish.
            going_on: asked while it is waited for, with the milliseconds so far; False gives up.

        Returns:
            whether it is confirmed.

        Raises:
            AbortedError, TransientError: see settle.
        """

    def idle_ms(self, idle_ms_max: int) -> int:
        """How long the source may be waited for."""

    def settle(self, source: Source) -> bool:
        """Serves delivery reports and commits what is due; returns whether a commit was.

        Raises:
            AbortedError: what was published since the last commit came to nothing: recover, and begin again.
            TransientError: a delivery failed for good.
        """

    def finish(self, source: Source, until_ms: float, why: str) -> None:
        """Commits whatever can be until then; afterwards the partitions may go to others."""

    def lost(self) -> None:
        """Partitions went to others already."""

    def recover(self) -> None:
        """At the start, and after AbortedError: makes sure that what was published and not committed is never seen.

        Raises:
            TransientError: nobody answers; call again.
        """


@dataclass(slots=True)
class AtLeastOnce:
    """Implements Delivery."""

    publisher: Publisher
    clock: Clock
    report: Report
    every_ms: int = 500
    ledger: Ledger = field(default_factory=Ledger)
    reached: Reached = lambda _: None
    spoiled: bool = field(default=False, init=False)
    _committed_at_ms: float = 0.0

    def begin(self, rows: int) -> None:
        """See Delivery."""

    def conclude(self, source: Source) -> None:
        """See Delivery. What is published stays published."""

    def announce(self, source: Source, outbound: Outbound, going_on: GoingOn) -> bool:  # noqa: ARG002 - the port's
        """See Delivery."""
        return _published(self.publisher, outbound, self.clock, going_on)

    def idle_ms(self, idle_ms_max: int) -> int:
        """See Delivery."""
        return idle_ms_max

    def settle(self, source: Source) -> bool:
        """See Delivery."""
        self.publisher.poll(0)
        now_ms = self.clock.ticks_ms()
        if now_ms - self._committed_at_ms < self.every_ms:
            return False
        self._committed_at_ms = now_ms
        self.ledger.note_committed(source.commit({}, wait=False))  # so that nothing is committed twice
        offsets = self.ledger.committable()
        if offsets:
            self.reached("flushed")
            self.reached("before_commit")
        self.ledger.note_committed(source.commit(offsets, wait=False))
        if offsets:
            self.reached("after_commit")
        return True

    def finish(self, source: Source, until_ms: float, why: str) -> None:
        """See Delivery. Waits for deliveries and commits what is confirmed."""
        self.ledger.committable()
        try:
            while self.ledger.pending and (left_ms := until_ms - self.clock.ticks_ms()) > 0:
                self.publisher.poll(int(min(left_ms, POLL_MS_MAX)))
                self.ledger.committable()
        except (HaltError, TransientError) as error:  # that is told already; what came before it is committed
            why = f"{why}: {error}"
        if self.ledger.pending:
            self.report("drain.incomplete", {"why": why, "batches": len(self.ledger.pending)})
        try:
            self.ledger.note_committed(source.commit(self.ledger.committable(), wait=True))
        except TransientError as error:
            self.report("drain.not_committed", {"why": why, "error": str(error)})

    def lost(self) -> None:
        """See Delivery. Nothing to undo: their new owner repeats what was not committed."""

    def recover(self) -> None:
        """See Delivery. Nothing here is ever taken back."""


@dataclass(slots=True)
class ExactlyOnce:
    """Implements Delivery.

    Attributes:
        publisher: publishes in transactions.
        every_ms, rows_max: how long a transaction stays open, and how many records it holds at most.
        timeout_ms: after which the broker aborts it.
    """

    publisher: Transactions
    clock: Clock
    report: Report
    every_ms: int = 100
    rows_max: int = 20_000
    timeout_ms: int = 10_000
    ledger: Ledger = field(default_factory=Ledger)
    reached: Reached = lambda _: None
    _opened_ms: float | None = None
    _rows: int = 0
    _spoiled: ScorerError | None = None

    @property
    def spoiled(self) -> bool:
        """See Delivery."""
        return self._spoiled is not None

    def begin(self, rows: int) -> None:
        """See Delivery. A transaction is opened by its first record, so that none is open while nothing comes."""
        try:
            self.publisher.begin()
        except TransientError as error:  # the batch is read again once somebody answers
            raise AbortedError(str(error)) from error
        if self._opened_ms is None:
            self._opened_ms = self.clock.ticks_ms()
        self._rows += rows

    def conclude(self, source: Source) -> None:
        """See Delivery."""
        self._refuse_spoiled()
        if self._opened_ms is not None:
            self._commit(source, self._opened_ms + self.timeout_ms, None)

    def announce(self, source: Source, outbound: Outbound, going_on: GoingOn) -> bool:
        """See Delivery. A transaction of its own, behind what is open, so that a member given up by its group fails."""
        self.conclude(source)
        self.begin(0)
        if not _published(self.publisher, outbound, self.clock, going_on):
            raise AbortedError("told to stop before a deployment was confirmed")
        if not self.ledger.committed:
            raise AbortedError("none of its partitions is ours any more")
        self.publisher.commit(dict(self.ledger.committed), source.membership())
        self._closed()
        return True

    def idle_ms(self, idle_ms_max: int) -> int:
        """See Delivery."""
        if self._opened_ms is None:
            return idle_ms_max
        return max(0, min(idle_ms_max, int(self._opened_ms + self.every_ms - self.clock.ticks_ms())))

    def settle(self, source: Source) -> bool:
        """See Delivery."""
        self._refuse_spoiled()
        try:
            self.publisher.poll(0)
            if self._opened_ms is None:
                return False
            now_ms = self.clock.ticks_ms()
            if now_ms - self._opened_ms < self.every_ms and self._rows < self.rows_max:
                return False
            self._commit(source, self._opened_ms + self.timeout_ms, None)
        except (AbortedError, FencedError, HaltError) as error:
            self._spoiled = error  # so that leaving the group does not try to commit it after all
            raise
        return True

    def finish(self, source: Source, until_ms: float, why: str) -> None:
        """See Delivery. What cannot be committed in time is left to be aborted: its records are read again."""
        if self._opened_ms is None or self._spoiled is not None:
            return
        left_ms = until_ms - self.clock.ticks_ms()
        try:
            self._commit(source, until_ms, max(1.0, left_ms))
        except (AbortedError, FencedError, HaltError) as error:
            self._spoiled = error  # the loop raises it, outside the callback that this may be
            self.report("drain.not_committed", {"why": why, "error": str(error)})

    def lost(self) -> None:
        """See Delivery. A transaction that holds a lost partition's records must not be committed, nor in parts."""
        if self._opened_ms is not None:
            self._spoiled = AbortedError("partitions were lost")

    def recover(self) -> None:
        """See Delivery."""
        if self._spoiled is None:  # until it has succeeded, leaving the group has nothing to wait for
            self._spoiled = AbortedError("the last transaction is not undone yet")
        self.publisher.recover()
        self._closed()

    def _refuse_spoiled(self) -> None:
        if self._spoiled is not None:
            raise self._spoiled.with_traceback(None)  # else each time that it is raised would add to it

    def _commit(self, source: Source, until_ms: float, wait_ms_max: float | None) -> None:
        offsets = self.ledger.committable()
        while self.ledger.pending:
            left_ms = until_ms - self.clock.ticks_ms()
            if left_ms <= 0:
                raise AbortedError(f"{len(self.ledger.pending)} batches were not confirmed in time")
            self.publisher.poll(int(min(left_ms, POLL_MS_MAX)) or 1)
            offsets = self.ledger.committable()
        self.reached("flushed")
        if not offsets:  # every partition of it has gone to others
            raise AbortedError("none of its partitions is ours any more")
        self.publisher.commit(offsets, source.membership(), wait_ms_max)
        self.ledger.note_committed(offsets)
        self._closed()

    def _closed(self) -> None:
        self._opened_ms, self._rows, self._spoiled = None, 0, None


def _published(publisher: Publisher, outbound: Outbound, clock: Clock, going_on: GoingOn) -> bool:
    told, began_ms = InFlight({}, len(outbound)), clock.ticks_ms()
    publisher.publish(outbound, [], told)
    publisher.poll(POLL_MS_MAX)
    while told.outstanding:
        if not going_on(clock.ticks_ms() - began_ms):
            return False
        publisher.poll(POLL_MS_MAX)
    return True
