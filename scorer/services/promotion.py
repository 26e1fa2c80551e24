"""Copies a lane to the live topic, key and value untouched: exactly once, resumable from what its group committed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Event

from scorer.core.errors import AbortedError, ConfigError, HaltError, TransientError
from scorer.core.ports import Clock, Report
from scorer.core.records import Outbound, RecordBatch, no_rows
from scorer.core.state import State, Status
from scorer.services.delivery import Delivery
from scorer.services.limits import Limits
from scorer.services.patience import pause_ms
from scorer.services.replay import Bounded

IDLE_MS_MAX = 100
IN_FLIGHT_BATCHES_MAX = 2


@dataclass(slots=True)
class Promotion:
    """Copies what its source hands out. Implements ports.Ownership. All calls come from one thread.

    Attributes:
        topic: where it goes.
        source: the lane's piece.
        delivery: publishes it, with the offsets.
        clock, report, status, stop, limits: the surroundings.
    """

    topic: str
    source: Bounded
    delivery: Delivery
    clock: Clock
    report: Report
    status: Status
    stop: Event
    limits: Limits

    def run(self) -> None:
        """Works until told to stop, by a signal or by the source when all is done.

        Raises:
            HaltError, FencedError, TransientError: it cannot go on; what is committed stays.
        """
        self.status.enter(State.STARTING, "waiting for partitions")
        aborts = 0
        while not self.stop.is_set():
            try:
                if self._step():
                    aborts = 0
            except AbortedError as error:
                aborts += 1
                self.report("transaction.aborted", {"why": str(error), "in_a_row": aborts})
                self._begin_again()
                self.stop.wait(pause_ms(aborts) / 1000)
        self.status.enter(State.STOPPING, "draining")
        self.delivery.finish(self.source, self.clock.ticks_ms() + self.limits.shutdown_ms_max, "shutdown")

    def assigned(self, positions: Mapping[int, int]) -> None:
        """See ports.Ownership."""
        self.delivery.ledger.assign(positions)
        self.report("partitions.assigned", {"positions": dict(positions)})

    def revoked(self, partitions: Sequence[int]) -> None:
        """See ports.Ownership."""
        self.delivery.finish(self.source, self.clock.ticks_ms() + self.limits.revoke_ms_max, "revoke")
        self.delivery.ledger.drop(partitions)
        self.report("partitions.revoked", {"partitions": list(partitions)})

    def lost(self, partitions: Sequence[int]) -> None:
        """See ports.Ownership."""
        self.delivery.lost()
        self.delivery.ledger.drop(partitions)
        self.report("partitions.lost", {"partitions": list(partitions)})

    def _step(self) -> bool:
        """One batch at most; returns whether a commit was."""
        ledger, batch = self.delivery.ledger, None
        if len(ledger.pending) < IN_FLIGHT_BATCHES_MAX:
            batch = self.source.poll(self.limits.batch, self.delivery.idle_ms(IDLE_MS_MAX))
        else:
            self.delivery.publisher.poll(1)
            ledger.committable()
        if batch is not None and not self.delivery.spoiled:
            self._copy(batch, dict(ledger.generations))
        if outage := self.source.outage():
            self.status.enter(State.WAITING, outage)
        elif ledger.generations:
            self.status.enter(State.RUNNING, "")
        return self.delivery.settle(self.source)

    def _copy(self, batch: RecordBatch, since: Mapping[int, int]) -> None:
        if any(key is None or value is None for key, value in zip(batch.keys, batch.values, strict=True)):
            raise ConfigError(f"{batch.topic} holds records that are no predictions: nothing of ours writes there")
        headers = [list(each or []) for each in batch.headers]
        outbound = Outbound(
            self.topic,
            no_rows(len(batch)),
            [key for key in batch.keys if key is not None],
            [value for value in batch.values if value is not None],
            headers if any(headers) else None,
        )
        self.delivery.begin(len(batch))
        in_flight = self.delivery.ledger.begin(batch.next_offsets, len(outbound), since)
        refused = self.delivery.publisher.publish(outbound, [], in_flight)
        if refused:
            raise HaltError(
                f"{self.topic} does not take {len(refused)} records that {batch.topic} has taken: raise its "
                "max.message.bytes"
            )

    def _begin_again(self) -> None:
        attempt = 0
        while not self.stop.is_set():
            try:
                self.delivery.recover()
                self.delivery.ledger.restart(self.source.rewind())
            except TransientError as error:
                attempt += 1
                self.status.enter(State.WAITING, str(error))
                self.source.hold(pause_ms(attempt))
            else:
                return
