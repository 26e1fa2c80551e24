"""The machine's time."""

from __future__ import annotations

import time

import pytest

from scorer.edges.clock import Stopwatch, SystemClock


def test_now_is_the_wall_clock_in_whole_milliseconds() -> None:
    before = time.time() * 1000
    now = SystemClock().now_ms()
    assert type(now) is int
    assert before - 1 <= now <= time.time() * 1000


def test_ticks_are_milliseconds_that_never_go_back() -> None:
    clock = SystemClock()
    ticks = [clock.ticks_ms() for _ in range(1000)]
    assert ticks == sorted(ticks)
    assert abs(clock.ticks_ms() - time.monotonic() * 1000) < 1000


def test_sleeping_takes_milliseconds() -> None:
    clock = SystemClock()
    before = clock.ticks_ms()
    clock.sleep(20)
    assert 19.9 <= clock.ticks_ms() - before < 5000


@pytest.mark.parametrize(("ticks_s", "wall_s", "passed_s"), [(1.0, 1.0, 1.0), (1.0, 20.0, 20.0), (20.0, -60.0, 20.0)])
def test_a_stopwatch_goes_on_while_the_machine_is_suspended_and_never_back(
    ticks_s: float, wall_s: float, passed_s: float
) -> None:
    began = Stopwatch(time.monotonic() - ticks_s, time.time() - wall_s)
    assert began.passed_s() == pytest.approx(passed_s, abs=0.5)
