"""One day's figures against another's."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.demands import Verdict
from bench.history import compared, day, keep_day, load_days
from bench.results import Spread, ratio

ABOUT = {"date": "2026-11-24 04:36 UTC", "machine": "a machine"}


def verdict(demand: str, middle: float, least: float, greatest: float, unit: str = "x") -> Verdict:
    return Verdict(demand, "", True, Spread(middle, least, greatest), unit)


def test_days_that_are_kept_come_back_in_their_order(tmp_path: Path) -> None:
    kept = tmp_path / "days.jsonl"
    days = [day(ABOUT, [verdict("a", number, 0, 9)]) for number in (1, 2)]
    assert load_days(kept) == []
    for each in days:
        keep_day(kept, each)
    assert load_days(kept) == days


@pytest.mark.parametrize(("last", "stays"), [(0.9, "no"), (1.0, "yes"), (3.0, "yes"), (3.1, "no")])
def test_a_figure_stays_if_it_lies_within_what_the_repeats_of_the_day_before_allow(last: float, stays: str) -> None:
    lines = [verdict("a", last, 0.0, 9.0)]
    _, row = compared([day(ABOUT, [verdict("a", 2.0, 1.0, 3.0)]), day(ABOUT, lines)], lines)
    assert row == ("a", "2.00x (1.00 to 3.00)", f"{last:.2f}x (0.00 to 9.00)", stays)


def test_a_demand_that_is_new_has_no_day_before() -> None:
    lines = [verdict("a", 5.0, 4.0, 6.0, "us")]
    _, row = compared([day(ABOUT, []), day(ABOUT, lines)], lines)
    assert row == ("a", "", "5.0us (4.0 to 6.0)", "")


def test_a_ratio_is_of_medians_and_as_wide_as_the_runs_allow() -> None:
    assert ratio(Spread(6.0, 4.0, 9.0), Spread(3.0, 2.0, 4.0)) == Spread(2.0, 1.0, 4.5)
