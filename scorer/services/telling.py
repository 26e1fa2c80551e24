"""What a worker tells of itself while it turns: whether it does its work now, if not, why, and how far behind it is."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from scorer.core.offsets import InFlight, Ledger
from scorer.core.ports import Clock, Lagging, Observer
from scorer.core.state import State, Status

LAG_EVERY_MS = 500
UNCONFIRMED_MS_MAX = 1000
"""How long the oldest batch may be unconfirmed. A quiet stream has nobody else who would ask."""


@dataclass(slots=True)
class Telling:
    """Keeps a worker's status and lag up to date. All calls come from its thread, none from inside the source.

    Attributes:
        status, clock, observer, ledger: the surroundings.
        turned_ms: ticks of the loop's last turn.
    """

    status: Status
    clock: Clock
    observer: Observer
    ledger: Ledger
    turned_ms: float = 0.0
    _oldest: InFlight | None = None
    _oldest_since_ms: float = 0.0
    _lag_at_ms: float = -inf

    def turns(self, source: Lagging) -> None:
        """The loop takes a turn, working, waiting or halted."""
        self.turned_ms = now_ms = self.clock.ticks_ms()
        self.status.beat(now_ms)
        if now_ms - self._lag_at_ms >= LAG_EVERY_MS:  # not with commits: a quiet or halted stream has none
            self._lag_at_ms = now_ms
            self.observer.lag(source.lag())

    def pauses(self, ms_max: float) -> None:
        """What comes next may take so long before the next turn."""
        self.status.beat(self.clock.ticks_ms(), ms_max)

    def works(self, source: Lagging) -> None:
        """It is through with what it had in hand, and waits for nothing that it knows of."""
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
