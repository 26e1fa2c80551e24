"""Rules of the line through costs."""

from __future__ import annotations

import pytest

from bench.growth import line


def test_costs_on_a_straight_line_give_that_line() -> None:
    found = line([1, 10, 1000], [4.02, 4.2, 24.0])
    assert (found.at_none, found.per_one, found.off) == pytest.approx((4.0, 0.02, 0.0))


def test_a_point_off_the_line_is_told_as_a_part_of_its_own_cost() -> None:
    straight, bent = line([1, 2, 3], [5.0, 5.0, 5.0]), line([1, 2, 3], [5.0, 10.0, 5.0])
    assert straight.off == pytest.approx(0.0)
    assert 0.2 < bent.off < 0.6
