"""Counts of starts in an offset's metadata, and what the end of a sandbox tells."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.core.sandbox import End, end_of, mark, starts_of


@given(st.integers(min_value=0, max_value=10**9))
def test_a_count_comes_back_from_the_metadata(starts: int) -> None:
    assert starts_of(mark(starts)) == starts


@pytest.mark.parametrize(
    "text", [None, "", "3", *(f"scorer-starts={end}" for end in ("", "-1", "x", "²", "٣", "9" * 5000)), "mine=3"]
)
def test_metadata_of_others_counts_for_nothing(text: str | None) -> None:
    assert starts_of(text) == 0


def test_only_sigkill_comes_from_outside() -> None:
    assert end_of(-9) is End.OUTSIDE
    assert [end_of(code) for code in (-11, -6, -4, 1, 0)] == [End.DIED] * 5
