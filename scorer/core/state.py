"""What a service tells about itself: alive, ready, and why not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """What a stream is doing."""

    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"
    HALTED = "halted"
    STOPPING = "stopping"


@dataclass(slots=True)
class Status:
    """Written by the service's thread, read by health checks; each attribute is replaced whole.

    Attributes:
        changed: told of every change of state, for logs and metrics.
        state: what the service is doing.
        detail: why, for people.
        beat_ms: ticks of the loop's last turn; of one that may take longer, until when it may.
    """

    changed: Callable[[State, str], None]
    state: State = State.STARTING
    detail: str = ""
    beat_ms: float = 0.0

    @property
    def ready(self) -> bool:
        """Whether the service does its work now. Waiting out an outage is not ready; it is alive."""
        return self.state is State.RUNNING

    def enter(self, state: State, detail: str) -> None:
        """Changes the state; the same state again is no change, though its detail is kept up to date."""
        news = state is not self.state
        self.state, self.detail = state, detail
        if news:
            self.changed(state, detail)

    def beat(self, ticks_ms: float, takes_ms_max: float = 0.0) -> None:
        """The loop has taken another turn, and the next one may take so much longer than usual."""
        self.beat_ms = ticks_ms + takes_ms_max

    def alive(self, ticks_ms: float, silence_ms_max: float) -> bool:
        """Whether the loop has turned lately."""
        return ticks_ms - self.beat_ms < silence_ms_max
