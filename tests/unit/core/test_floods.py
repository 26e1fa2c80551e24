"""When rejections become a flood."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scorer.core.floods import FloodLimit, FloodWatch
from scorer.core.records import Rejection, Stage


def rejected(*rows: int) -> list[Rejection]:
    return [Rejection(row, Stage.DECODE, "malformed", f"row {row}") for row in rows]


def watch(**limits: float) -> FloodWatch:
    return FloodWatch(FloodLimit(**{"ratio_max": 1.0, "window_rows": 1000, "run_rows_max": 1000} | limits))  # type: ignore[arg-type]


def test_a_stream_without_rejections_goes_on() -> None:
    assert [watch(run_rows_max=0).saw(10, []) for _ in range(5)] == [None] * 5


def test_a_run_halts_the_stream_from_one_record_over_the_limit() -> None:
    assert watch(run_rows_max=3).saw(3, rejected(0, 1, 2)) is None
    assert watch(run_rows_max=3).saw(4, rejected(0, 1, 2, 3)) == (
        "4 records in a row were rejected, more than 3; the latest: decode, malformed: row 3"
    )


def test_a_run_goes_on_from_batch_to_batch() -> None:
    seen = watch(run_rows_max=3)
    assert seen.saw(5, rejected(3, 4)) is None
    assert seen.saw(2, rejected(0)) is None
    assert seen.run == 0
    assert seen.saw(5, rejected(3, 4)) is None
    assert seen.saw(3, rejected(0, 1)) is not None


def test_a_good_record_ends_a_run() -> None:
    seen = watch(run_rows_max=3)
    for _ in range(10):
        assert seen.saw(4, rejected(0, 1, 3)) is None


def test_a_batch_without_rejections_ends_a_run() -> None:
    seen = watch(run_rows_max=3)
    assert seen.saw(2, rejected(0, 1)) is None
    assert seen.saw(1, []) is None
    assert seen.saw(2, rejected(0, 1)) is None


def test_a_run_inside_a_batch_counts_though_the_batch_begins_and_ends_well() -> None:
    assert watch(run_rows_max=3).saw(100, rejected(40, 41, 42, 43)) is not None
    assert watch(run_rows_max=4).saw(100, rejected(40, 41, 42, 43)) is None


@given(st.lists(st.lists(st.booleans(), max_size=6), max_size=8), st.integers(1, 6))
def test_runs_are_those_of_the_whole_stream_however_it_is_cut_into_batches(
    batches: list[list[bool]], limit: int
) -> None:
    seen, run = watch(run_rows_max=limit), 0
    for batch in batches:
        longest = 0
        for bad in batch:
            run = run + 1 if bad else 0
            longest = max(longest, run)
        verdict = seen.saw(len(batch), rejected(*(row for row, bad in enumerate(batch) if bad)))
        assert (verdict is not None) == (longest > limit)


def test_a_share_is_judged_over_a_full_window_alone() -> None:
    seen = watch(ratio_max=0.5, window_rows=10)
    assert seen.saw(9, rejected(*range(8))) is None
    text = seen.saw(1, rejected(0))
    assert text is not None
    assert text.startswith("9 of the latest 10 records were rejected, more than 50%; the latest: decode")


def test_a_share_at_the_limit_is_no_flood() -> None:
    assert watch(ratio_max=0.5, window_rows=10).saw(10, rejected(0, 2, 4, 6, 8)) is None
    assert watch(ratio_max=0.5, window_rows=10).saw(10, rejected(0, 2, 4, 6, 8, 9)) is not None


def test_the_share_is_of_the_latest_records_so_that_old_ones_neither_hide_nor_cause_a_flood() -> None:
    seen = watch(ratio_max=0.5, window_rows=10)
    for _ in range(100):
        assert seen.saw(10, []) is None
    assert seen.saw(10, rejected(*range(0, 10, 2), 9)) is not None
    seen = watch(ratio_max=0.5, window_rows=10)
    assert seen.saw(10, rejected(*range(0, 10, 2), 9)) is not None
    assert seen.saw(10, []) is None


def test_the_latest_rejection_is_named_also_where_it_was_not_in_the_batch_that_tips_the_scales() -> None:
    seen = watch(ratio_max=0.5, window_rows=10)
    seen.saw(9, rejected(*range(8)))
    assert seen.saw(1, []) == (
        "8 of the latest 10 records were rejected, more than 50%; the latest: decode, malformed: row 7"
    )


def test_the_window_forgets_whole_batches_so_that_its_memory_is_bounded() -> None:
    seen = watch(window_rows=10)
    for _ in range(1000):
        seen.saw(3, rejected(0))
    assert len(seen.batches) <= 5
    assert 10 <= seen.rows < 13
    assert seen.rejected == len(seen.batches)


def test_by_default_half_of_a_thousand_or_five_hundred_in_a_row_are_too_much() -> None:
    assert FloodLimit() == FloodLimit(ratio_max=0.5, window_rows=1000, run_rows_max=500)
