"""What a worker tells of itself while it turns: whether it does its work now, and if not, why."""

from __future__ import annotations

from dataclasses import dataclass

from scorer.core.offsets import InFlight, Ledger
from scorer.core.ports import Clock, Lagging
from scorer.core.state import State, Status

UNCONFIRMED_MS_MAX = 1000
"""How long the oldest batch may be unconfirmed. A quiet stream has nobody else who would ask."""


@dataclass(slots=True)
class Telling:
    """Keeps a worker's status. All calls come from its thread."""

    status: Status
    clock: Clock
    ledger: Ledger
    _oldest: InFlight | None = None
    _oldest_since_ms: float = 0.0

    def turned(self, source: Lagging) -> None:
        """The loop has taken a turn, and waits for nothing that it knows of."""
        if why := source.outage() or self._unconfirmed():
            self.status.enter(State.WAITING, why)
        elif self.ledger.generations:
            self.status.enter(State.RUNNING, "")
        else:
            self.status.enter(State.STARTING, "no partitions assigned")

    def _unconfirmed(self) -> str | None:
        """For people: that what was published is unconfirmed for too long, or None."""
        oldest = next((batch for batch in self.ledger.pending if batch.outstanding), None)
        if oldest is None:
            return None
        now_ms = self.clock.ticks_ms()
        if oldest is not self._oldest:
            self._oldest, self._oldest_since_ms = oldest, now_ms
        waited_ms = now_ms - self._oldest_since_ms
        return unconfirmed(self.ledger, waited_ms) if waited_ms > UNCONFIRMED_MS_MAX else None


def unconfirmed(ledger: Ledger, waited_ms: float) -> str:
    """For people: how much is unconfirmed, for how long."""
    return f"{len(ledger.pending)} batches unconfirmed for {waited_ms:.0f} ms"
