"""What every service of ours tells of itself: one status, one way to wait out a neighbour, one health server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Event
from typing import Any, Protocol, TypeVar

from scorer.cli.conflicts import PORT_MAX
from scorer.core.errors import ConfigError
from scorer.core.ports import Report
from scorer.core.state import State, Status
from scorer.edges.clock import SystemClock
from scorer.edges.status_server import StatusServer
from scorer.services.patience import wait_out

STEP_MS_MAX = 900_000.0
"""How long a step of the start may take: a large bundle is loaded and proved in one go."""

T = TypeVar("T")


class StateObserver(Protocol):
    """Told of a service's state."""

    def state(self, state: State) -> None:
        """It is in this one from now on."""


class Patience(Protocol):
    """Tries until it succeeds; only TransientError is waited out. Raises StoppedError when told to stop."""

    def __call__(self, attempt: Callable[[], T]) -> T:
        """What the attempt returns."""


def told_status(metrics: StateObserver, clock: SystemClock, report: Report) -> Status:
    """A status that metrics show from now on, and whose changes reach the log as well; its first beat is now."""

    def changed(state: State, detail: str) -> None:
        metrics.state(state)
        report(f"stream.{state}", {"why": detail} if detail else {})

    status = Status(changed)
    metrics.state(status.state)  # it is no change, so nobody else would tell of it
    status.beat(clock.ticks_ms())
    return status


def patience(stop: Event, status: Status, clock: SystemClock, report: Report) -> Patience:
    """Waits out outages while a service starts, with its status kept up to date; see STEP_MS_MAX."""

    def waiting(event: str, fields: Mapping[str, Any]) -> None:
        status.beat(clock.ticks_ms())
        status.enter(State.WAITING, str(fields.get("why", "")))
        report(event, fields)

    def patient(attempt: Callable[[], T]) -> T:
        def step() -> T:
            status.beat(clock.ticks_ms(), STEP_MS_MAX)
            return attempt()

        try:
            return wait_out(step, stop, waiting)
        finally:
            status.beat(clock.ticks_ms())

    return patient


def status_server(
    host: str, first_port: int, place: int, status: Status, exposition: Callable[[], bytes], clock: SystemClock
) -> StatusServer | None:
    """Health and metrics on a port of a row of services; None if it is switched off.

    Args:
        host: the address to listen on.
        first_port: that of the row's first service; 0 takes any free one, below 0 there is none.
        place: this service's place in the row.
        status, exposition: what is told.
        clock: the service's own.

    Raises:
        ConfigError: there is no such port, or it is in use.
    """
    if first_port < 0:
        return None
    port = first_port + place if first_port else 0
    if port > PORT_MAX:
        raise ConfigError(f"no port is left for this service, number {place} behind {first_port}: set a lower one")
    return StatusServer(host, port, status=status, exposition=exposition, ticks_ms=clock.ticks_ms)
