"""Waiting out an outage: tries again with growing pauses, says so, and stops when told to."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import TypeVar

from scorer.core.errors import TransientError
from scorer.core.ports import Report

PAUSE_MS_MIN = 100
PAUSE_MS_MAX = 5_000

T = TypeVar("T")


class StoppedError(Exception):
    """Told to stop while waiting; no failure."""


def pause_ms(attempt: int) -> int:
    """The pause after that many failed attempts: doubling from 100 ms to 5 s."""
    return int(min(PAUSE_MS_MAX, PAUSE_MS_MIN * 2 ** min(attempt - 1, 10)))


def wait_out(attempt: Callable[[], T], stop: Event, say: Report, attempts_max: int = 0) -> T:
    """Calls until it succeeds.

    Args:
        attempt: what to do; only TransientError is waited out.
        stop: set to give up.
        say: told of every failed attempt.
        attempts_max: give up after so many; 0 never does.

    Raises:
        StoppedError: told to stop.
        TransientError: attempts_max are spent; the last failure.
    """
    failed = 0
    while True:
        try:
            return attempt()
        except TransientError as error:
            failed += 1
            if failed == attempts_max:
                raise
            wait = pause_ms(failed)
            say("neighbour.waiting", {"why": str(error), "attempt": failed, "next_try_ms": wait})
            if stop.wait(wait / 1000):
                raise StoppedError from error
