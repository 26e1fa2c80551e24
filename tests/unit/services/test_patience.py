"""Waiting out an outage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Event
from typing import Any

import pytest

from scorer.core.errors import ConfigError, TransientError
from scorer.services.patience import PAUSE_MS_MAX, StoppedError, pause_ms, wait_out


class Waits(Event):
    """A stop flag that waits for nobody and notes how long it was asked to; set after so many waits."""

    def __init__(self, stop_after: int = 1_000_000) -> None:
        super().__init__()
        self.waits_ms: list[int] = []
        self.stop_after = stop_after

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waits_ms.append(round(timeout * 1000))
        return len(self.waits_ms) > self.stop_after


class Neighbour:
    """Down for so many questions; then it answers."""

    def __init__(self, down: int) -> None:
        self.down, self.asked = down, 0

    def __call__(self) -> str:
        self.asked += 1
        if self.asked <= self.down:
            raise TransientError(f"no answer {self.asked}")
        return "answer"


def silent(event: str, fields: Mapping[str, Any]) -> None:
    """Hears what is said, and forgets it."""


def test_pauses_double_from_100_ms_to_5_s() -> None:
    assert [pause_ms(failed) for failed in range(1, 9)] == [100, 200, 400, 800, 1600, 3200, 5000, 5000]
    assert pause_ms(1_000_000) == PAUSE_MS_MAX


def test_an_answer_at_once_waits_for_nothing() -> None:
    stop = Waits()
    assert wait_out(Neighbour(0), stop, silent) == "answer"
    assert stop.waits_ms == []


def test_an_outage_is_waited_out_with_growing_pauses_and_each_failure_is_told() -> None:
    stop, told = Waits(), []
    neighbour = Neighbour(3)
    assert wait_out(neighbour, stop, lambda event, fields: told.append((event, dict(fields)))) == "answer"
    assert neighbour.asked == 4
    assert stop.waits_ms == [100, 200, 400]
    assert told == [
        ("neighbour.waiting", {"why": f"no answer {attempt}", "attempt": attempt, "next_try_ms": 50 * 2**attempt})
        for attempt in (1, 2, 3)
    ]


def test_being_told_to_stop_ends_the_wait_and_is_no_failure() -> None:
    neighbour = Neighbour(99)
    with pytest.raises(StoppedError):
        wait_out(neighbour, Waits(stop_after=2), silent)
    assert neighbour.asked == 3


def test_when_the_attempts_are_spent_the_last_failure_comes_out_without_another_pause() -> None:
    stop, neighbour = Waits(), Neighbour(99)
    with pytest.raises(TransientError, match="no answer 3"):
        wait_out(neighbour, stop, silent, attempts_max=3)
    assert (neighbour.asked, stop.waits_ms) == (3, [100, 200])


def test_the_last_attempt_may_still_succeed() -> None:
    assert wait_out(Neighbour(2), Waits(), silent, attempts_max=3) == "answer"


@pytest.mark.parametrize("error", [ConfigError("wrong"), ValueError("bug")])
def test_what_waiting_cannot_cure_comes_out_at_once(error: Exception) -> None:
    def refuse() -> None:
        raise error

    attempt: Callable[[], None] = refuse
    stop = Waits()
    with pytest.raises(type(error)):
        wait_out(attempt, stop, silent)
    assert stop.waits_ms == []
