"""How long a batch waits for company: scorer/edges/kafka/pace.py, on a clock that only sleeping and work move."""

from __future__ import annotations

import pytest

from scorer.edges.kafka.pace import APART_S_MAX, TIMES, Pace


class Hands:
    """Makes batches at given moments and says when each could begin."""

    def __init__(self, **properties: int | str) -> None:
        self.now_s, self.slept_s = 100.0, 0.0
        self.pace = Pace({name.replace("_", "."): value for name, value in properties.items()}, self.now, self.sleep)

    def now(self) -> float:
        return self.now_s

    def sleep(self, for_s: float) -> None:
        assert for_s > 0
        self.now_s += for_s
        self.slept_s += for_s

    def batch(self, rows: int, took_s: float, *, full: bool = False, idle_s: float = 0.0) -> float:
        """One batch whose first record comes after idle_s. Returns how long it waited for company, s."""
        before_s = self.slept_s
        self.pace.asked()
        self.now_s += idle_s
        self.pace.begin()
        self.pace.handed(rows, full)
        self.now_s += took_s
        return self.slept_s - before_s


def test_a_batch_begins_three_times_what_the_last_one_took_after_the_last_one_began() -> None:
    hands = Hands()
    hands.batch(8, 0.0005)
    assert hands.batch(8, 0.0004) == pytest.approx((TIMES - 1) * 0.0005)
    assert hands.batch(8, 0.0004) == pytest.approx((TIMES - 1) * 0.0004)


def test_what_has_passed_while_nothing_came_counts_as_waiting() -> None:
    hands = Hands()
    hands.batch(8, 0.0005)
    assert hands.batch(8, 0.0005, idle_s=0.0004) == pytest.approx((TIMES - 1) * 0.0005 - 0.0004)
    assert hands.batch(8, 0.0005, idle_s=1.0) == 0


def test_no_batch_waits_beyond_the_most_that_they_are_kept_apart() -> None:
    hands = Hands()
    hands.batch(8, 0.0015)
    assert hands.batch(8, 0.0015) == pytest.approx(APART_S_MAX - 0.0015)
    hands.batch(8, 0.1)
    assert hands.batch(8, 0.0005) == 0


def test_after_a_record_that_came_alone_nobody_waits() -> None:
    hands = Hands()
    hands.batch(1, 0.0005)
    assert hands.batch(1, 0.0005) == 0


def test_after_a_full_batch_nobody_waits() -> None:
    hands = Hands()
    hands.batch(4000, 0.0005, full=True)
    assert hands.batch(4000, 0.0005) == 0


def test_the_first_batch_waits_for_nobody() -> None:
    assert Hands().batch(8, 0.0005) == 0


def test_where_the_broker_gathers_records_no_batch_waits_as_well() -> None:
    hands = Hands(fetch_min_bytes=1_000_000)
    hands.batch(8, 0.0005)
    assert hands.batch(8, 0.0005) == 0


def test_with_one_byte_as_the_least_that_is_fetched_batches_keep_apart() -> None:
    hands = Hands(fetch_min_bytes=1)
    hands.batch(8, 0.0005)
    assert hands.batch(8, 0.0005) > 0


@pytest.mark.parametrize(("text", "apart"), [("1", True), ("0x10000", False), ("many", False)])
def test_a_text_as_the_least_that_is_fetched_is_never_a_crash(text: str, apart: bool) -> None:
    hands = Hands(fetch_min_bytes=text)
    hands.batch(8, 0.0005)
    assert (hands.batch(8, 0.0005) > 0) is apart
