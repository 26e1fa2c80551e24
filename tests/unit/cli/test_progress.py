"""Long work says how far it is."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from scorer.cli.progress import progress


@dataclass
class Hands:
    """A clock that is set by hand; it began at noon."""

    ms: float = 0.0

    def ticks_ms(self) -> float:
        return self.ms

    def now_ms(self) -> int:
        return 43_200_000 + int(self.ms)

    def sleep(self, wait_ms: float) -> None:
        self.ms += wait_ms


def test_it_is_said_once_a_second_with_rate_and_predicted_end(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Hands()
    say = progress(clock, "offsets")
    for done in range(0, 2_600, 100):
        say(done, 10_000)
        clock.sleep(100)
    assert capsys.readouterr().err.splitlines() == [
        "1,000 of 10,000 offsets, 1,000/s, done at about 12:00:10 UTC, in 9 s",
        "2,000 of 10,000 offsets, 1,000/s, done at about 12:00:10 UTC, in 8 s",
    ]


def test_what_waits_to_begin_does_not_count_as_slow(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Hands()
    say = progress(clock, "offsets")
    for done in (500, 500, 1_500):
        say(done, 2_500)
        clock.sleep(10_000)
    assert capsys.readouterr().err.splitlines() == [
        "500 of 2,500 offsets, 0/s",
        "1,500 of 2,500 offsets, 100/s, done at about 12:00:30 UTC, in 10 s",
    ]
