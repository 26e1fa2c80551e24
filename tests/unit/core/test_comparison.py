"""Two lanes side by side, against sums that a plain loop makes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.core.comparison import MOVERS_MAX, QUANTILES, Comparison
from tests.unit.core.judged import CONTRACT, fields

scores = st.floats(0, 1, width=32)
pairs = st.lists(st.tuples(scores, scores), min_size=1, max_size=40)


def own(number: int, score: float, codes: str = "") -> dict[str, Any]:
    return fields(
        prediction_id=f"p{number}",
        score=score,
        bucket="A" if score >= 0.5 else "B",
        items=[{"points": 0.5, "code": code} for code in codes],
    )


@given(pairs)
def test_numbers_and_bins_are_those_of_a_plain_loop(found: list[tuple[float, float]]) -> None:
    comparison = Comparison(CONTRACT)
    for number, (one, other) in enumerate(found):
        comparison.add(own(number, one), own(number, other))
    numbers = comparison.numbers["score"]
    firsts, seconds = ([each[at] for each in found] for at in (0, 1))
    assert numbers.same == sum(one == other for one, other in found)
    assert numbers.quantiles() == list(
        zip(QUANTILES, np.quantile(firsts, QUANTILES), np.quantile(seconds, QUANTILES), strict=True)
    )
    moves = sorted((abs(other - one) for one, other in found if one != other), reverse=True)
    assert [abs(other - one) for _, one, other in numbers.movers] == moves[:MOVERS_MAX]
    for one in "AB":
        for other in "AB":
            wanted = sum(((a >= 0.5) == (one == "A")) and ((b >= 0.5) == (other == "A")) for a, b in found)
            assert comparison.moves["bucket"][one, other] == wanted
    assert comparison.labels("bucket") == ["A", "B"]


@pytest.mark.parametrize(
    ("one", "other", "overlap", "same"),
    [
        ("abcdefghij", "abcdefghij", 1.0, 1),
        ("abcdefghij", "jihgfedcba", 1.0, 0),
        ("abcdefghij", "abcdeklmno", 0.5, 0),
        ("abcdefghijX", "abcdefghijY", 1.0, 1),
        ("ab", "cdef", 0.0, 0),
        ("ab", "abcd", 0.5, 0),
        ("", "", 1.0, 1),
    ],
)
def test_overlap_is_the_share_of_the_first_ten_items_that_both_have(
    one: str, other: str, overlap: float, same: int
) -> None:
    comparison = Comparison(CONTRACT)
    comparison.add(own(0, 0.5, one), own(0, 0.5, other))
    lists = comparison.lists["items"]
    assert (lists.overlap / lists.events, lists.same) == (overlap, same)


def test_a_sub_field_that_is_null_names_no_item() -> None:
    one, other = ([{"note": None, "code": code, "points": 0.5} for code in codes] for codes in ("ab", "bc"))
    comparison = Comparison(CONTRACT)
    comparison.add(fields(items=one), fields(items=other))
    lists = comparison.lists["items"]
    assert (lists.overlap, lists.same) == (0.5, 0)


def test_items_that_are_numbers_alone_are_told_apart_by_them() -> None:
    one, other = ([{"points": 0.5}, {"points": second}] for second in (0.25, 0.75))
    comparison = Comparison(CONTRACT)
    comparison.add(fields(items=one), fields(items=other))
    lists = comparison.lists["items"]
    assert (lists.overlap, lists.same) == (0.5, 0)


def test_events_of_one_lane_alone_are_counted_and_compared_with_nothing() -> None:
    comparison = Comparison(CONTRACT)
    comparison.add(own(0, 0.1), None)
    comparison.add(None, own(1, 0.1))
    comparison.add(None, own(2, 0.1))
    assert (comparison.both, comparison.first_alone, comparison.second_alone) == (0, 1, 2)
    assert comparison.numbers == {}
    assert [each.total() for each in comparison.models] == [1, 2]


def test_labels_that_the_contract_does_not_know_come_last() -> None:
    comparison = Comparison(CONTRACT)
    comparison.add(fields(bucket="Z"), fields(bucket="B"))
    assert comparison.labels("bucket") == ["A", "B", "Z"]


@pytest.mark.parametrize("strange", [float("nan"), float("inf")])
def test_a_number_that_is_none_moves_nothing(strange: float) -> None:
    comparison = Comparison(CONTRACT)
    comparison.add(own(1, 0.5), own(1, 0.25))
    comparison.add(own(2, strange), own(2, 0.5))
    assert comparison.both == 2
    numbers = comparison.numbers["score"]
    assert (list(numbers.first), numbers.movers) == ([0.5], [("p1", 0.5, 0.25)])
