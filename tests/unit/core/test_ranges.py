"""Ranges of an input topic and their parts: nothing is left out, nothing comes twice, no wave is too large."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.core.errors import ConfigError
from scorer.core.pieces import Asked, parse_spans
from scorer.core.ranges import LATE_MS, Gone, fixed, part_of, parts, waves

EXTENTS = {0: (10, 100), 1: (0, 50), 2: (7, 7)}


def test_without_a_wish_it_is_all_that_the_group_has_committed() -> None:
    found = fixed(Asked(), EXTENTS, {0: 90, 1: 50})
    assert found.spans == {0: (10, 90), 1: (0, 50)}
    assert (found.pending, found.open, found.since_ms, found.events) == (10, True, 0, 130)


def test_a_group_without_a_position_has_scored_all() -> None:
    assert fixed(Asked(), EXTENTS, {}).spans == {0: (10, 100), 1: (0, 50)}


def test_a_position_before_what_is_left_leaves_all_of_it_pending() -> None:
    found = fixed(Asked(), {0: (10, 100)}, {0: 3})
    assert (found.spans, found.pending) == ({}, 90)


def test_what_expired_before_the_group_had_committed_it_is_lost_where_the_range_reaches_it() -> None:
    assert fixed(Asked(), EXTENTS, {0: 3, 1: 5}).lost == 7
    assert fixed(Asked(), EXTENTS, {0: 10, 1: 5}).lost == 0
    assert fixed(Asked(), EXTENTS, {}).lost == 0
    assert fixed(Asked(offsets={0: (0, 50)}), EXTENTS, {0: 3}).lost == 0
    assert fixed(Asked(since_ms=5), EXTENTS, {0: 3}, {0: 11, 1: 0, 2: 0}).lost == 0
    assert fixed(Asked(since_ms=5), EXTENTS, {0: 3}, {0: 10, 1: 0, 2: 0}).lost == 7


def test_what_a_topic_has_lost_is_told_by_what_is_left_by_its_settings_and_by_clocks_that_are_ahead() -> None:
    assert not Gone().may_be(-1)
    assert Gone(before_ms=100).may_be(99 + LATE_MS)
    assert not Gone(before_ms=100).may_be(100 + LATE_MS)
    assert Gone(before_ms=100, kept_ms=50, now_ms=70).may_be(19 + LATE_MS)
    assert not Gone(before_ms=100, kept_ms=50, now_ms=70).may_be(20 + LATE_MS)
    assert Gone(compacted=True).may_be(10**15)


def test_what_is_pending_begins_with_the_range_where_the_group_is_before_it() -> None:
    found = fixed(Asked(since_ms=5), {0: (10, 100)}, {0: 15}, {0: 20})
    assert (found.spans, found.pending) == ({}, 80)


def test_times_narrow_each_partition_by_what_the_broker_says() -> None:
    found = fixed(Asked(since_ms=5, until_ms=9), EXTENTS, {0: 95}, {0: 20, 1: 50, 2: 7}, {0: 99, 1: 50, 2: 7})
    assert found.spans == {0: (20, 95)}
    assert (found.pending, found.open, found.since_ms) == (4, False, 5)


def test_offsets_name_partitions_and_no_others_are_looked_at() -> None:
    found = fixed(Asked(offsets=parse_spans(["0:0-20", "1:40-"])), EXTENTS, {})
    assert found.spans == {0: (10, 20), 1: (40, 50)}
    assert (found.open, found.since_ms) == (False, None)


def test_a_partition_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="no partition 3"):
        fixed(Asked(offsets={3: (0, 1)}), EXTENTS, {})


def test_parts_that_fill_a_wave_exactly_are_worked_on_together() -> None:
    assert waves([(0, (0, 5)), (1, (0, 5)), (2, (0, 1))], 10) == [[0, 1], [2]]


stretches = st.tuples(st.integers(0, 50), st.integers(1, 60)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(st.dictionaries(st.integers(0, 6), stretches), st.integers(1, 25))
def test_every_offset_is_in_one_part_and_every_part_in_one_wave(spans: dict[int, tuple[int, int]], size: int) -> None:
    cut = parts(spans, size)
    first: dict[int, int] = {}
    for number, (partition, _) in enumerate(cut):
        first.setdefault(partition, number)
    places = [(partition, at) for partition, (start, end) in spans.items() for at in range(start, end)]
    for place in places:
        number = part_of(first, spans, size, place)
        assert number is not None
        partition, (start, end) = cut[number]
        assert partition == place[0]
        assert start <= place[1] < end
    assert sum(end - start for _, (start, end) in cut) == len(places)
    assert part_of(first, spans, size, (7, 0)) is None
    assert all(part_of(first, spans, size, (p, s - 1)) is None for p, (s, _) in spans.items())
    assert all(part_of(first, spans, size, (p, e)) is None for p, (_, e) in spans.items())
    together = waves(cut, size)
    assert sorted(number for wave in together for number in wave) == list(range(len(cut)))
    for wave in together:
        assert sum(cut[number][1][1] - cut[number][1][0] for number in wave) <= size
        assert len({cut[number][0] for number in wave}) == len(wave)
