"""What a service tells of itself while it starts."""

from __future__ import annotations

from threading import Event

import pytest

from scorer.cli.status import STEP_MS_MAX, patience, told_status
from scorer.core.errors import TransientError
from scorer.core.state import State, Status
from scorer.edges.clock import SystemClock
from scorer.edges.status_server import SILENCE_MS_MAX


class Clock(SystemClock):
    """Time that is moved by hand."""

    ms = 5_000.0

    def ticks_ms(self) -> float:
        return self.ms


class Shown:
    """Metrics that remember the states that they were told."""

    def __init__(self) -> None:
        self.states: list[State] = []

    def state(self, state: State) -> None:
        self.states.append(state)


def test_metrics_show_a_service_that_has_just_begun_as_starting() -> None:
    shown, said = Shown(), list[str]()
    status = told_status(shown, SystemClock(), lambda event, _: said.append(event))
    assert (shown.states, said) == ([State.STARTING], [])
    status.enter(State.RUNNING, "")
    assert (shown.states, said) == ([State.STARTING, State.RUNNING], ["stream.running"])


def test_a_step_of_the_start_may_take_a_quarter_of_an_hour_and_only_then_is_the_process_dead() -> None:
    clock, status = Clock(), Status(lambda *_: None)
    alive: list[bool] = []

    def load() -> str:
        for ms in (SILENCE_MS_MAX + 1, STEP_MS_MAX - SILENCE_MS_MAX - 2, SILENCE_MS_MAX + 1):
            clock.ms += ms
            alive.append(status.alive(clock.ms, SILENCE_MS_MAX))
        return "loaded"

    assert patience(Event(), status, clock, lambda *_: None)(load) == "loaded"
    assert alive == [True, True, False]
    assert status.alive(clock.ms, SILENCE_MS_MAX)
    clock.ms += SILENCE_MS_MAX
    assert not status.alive(clock.ms, SILENCE_MS_MAX), "what comes after it has no more time than ever"


def test_an_outage_at_the_start_may_take_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scorer.services.patience.PAUSE_MS_MIN", 0)
    clock, status = Clock(), Status(lambda *_: None)
    alive: list[bool] = []

    def ask() -> str:
        alive.append(status.alive(clock.ms, SILENCE_MS_MAX))
        if len(alive) == 5:
            return "answered"
        clock.ms += STEP_MS_MAX - 1
        raise TransientError("nobody answers")

    assert patience(Event(), status, clock, lambda *_: None)(ask) == "answered"
    assert alive == [True] * 5
    assert status.state is State.WAITING
