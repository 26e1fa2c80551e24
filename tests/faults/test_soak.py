"""The soak's measure of growth, on made-up samples."""

from __future__ import annotations

import random

import pytest

from tests.faults.soak import SLOPE_MB_MAX, Sample, floor_of, slope_of

pytestmark = [pytest.mark.faults, pytest.mark.smoke]


def held(minutes: float, leak_mb: float) -> list[Sample]:
    """A process of 180 MB that loses so much in ten minutes, while every now and then 10 to 60 MB are in flight."""
    chance = random.Random(25)
    busy = [chance.random() < 0.3 for _ in range(int(minutes * 30))]
    return [
        Sample(at * 2.0, 180 + leak_mb * at * 2 / 600 + chance.random() + chance.uniform(10, 60) * work, 40, 30)
        for at, work in enumerate(busy)
    ]


@pytest.mark.parametrize("leak_mb", [2.0, 30.0])
def test_a_leak_shows_through_what_comes_and_goes(leak_mb: float) -> None:
    assert 600 * slope_of(floor_of(held(22.5, leak_mb))) == pytest.approx(leak_mb, abs=0.3)


def test_what_comes_and_goes_is_no_leak() -> None:
    assert abs(600 * slope_of(floor_of(held(22.5, 0.0)))) < SLOPE_MB_MAX / 4
