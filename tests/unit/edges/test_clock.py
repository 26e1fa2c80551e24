"""The machine's time."""

from __future__ import annotations

import time

from scorer.edges.clock import SystemClock


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
