"""A bounded source hands on what is in its piece, once, and commits nothing that was not; history says with what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.core.deployments import History, Identity, Spans
from scorer.core.pieces import Piece
from scorer.core.scoring import Recipe
from scorer.core.state import State
from scorer.services.following import Following, live_within
from scorer.services.replay import ASK_MS, LOOK_MS, REST_MS_MAX, Pace
from tests.unit.services.past import TURN_MS, Past, batch_of
from tests.unit.services.samples import recipe

PARTITIONS = (0, 1)


@st.composite
def pasts(draw: st.DrawFn) -> Past:
    records, highs, ranges, positions = {}, {}, {}, {}
    for partition in PARTITIONS:
        records[partition] = sorted(draw(st.sets(st.integers(0, 25), max_size=20)))
        highs[partition] = draw(st.integers(max([*records[partition], -1]) + 1, 27))
        first = draw(st.integers(0, highs[partition]))
        ranges[partition] = (first, draw(st.integers(first, highs[partition])))
        positions[partition] = tuple(sorted(draw(st.sets(st.integers(0, 25), max_size=6))))
    return Past(records, highs, Piece(ranges, positions=draw(st.sampled_from([None, positions]))))


@given(pasts(), st.lists(st.sampled_from(["turn", "turn", "confirm", "back", "swap", "away"]), max_size=40))
def test_whatever_happens_each_record_of_the_piece_is_committed_once_and_then_it_ends(
    past: Past, steps: list[str]
) -> None:
    past.own(*PARTITIONS)
    for step in steps:
        if past.stop.is_set():
            break
        if step == "turn":
            past.turn()
        elif step == "confirm":
            past.confirm()
        elif step == "back":
            past.go_back()
        elif step == "away":
            past.away = not past.away
        else:
            past.disown(1)
            past.own(1)
    past.away = False
    for _ in range(200):
        if past.stop.is_set():
            break
        past.turn()
        past.confirm()
    assert past.bounded.complete
    assert sorted(past.done) == sorted(past.wanted)
    assert past.piece.left(past.committed) == 0


def test_a_partition_that_is_done_is_not_read_on_also_where_it_had_to_be_read_again() -> None:
    n = 900
    past = Past({0: range(n), 1: range(n)}, {0: n, 1: n}, Piece({0: (0, 2), 1: (0, 300)}))
    past.own(*PARTITIONS)
    past.turn(rows_max=4)
    past.go_back()
    while not past.stop.is_set():
        past.turn(rows_max=4)
        past.confirm()
    assert past.read_past <= 4 * 4


def test_it_does_not_end_before_others_have_done_their_part() -> None:
    past = Past({0: [0, 1], 1: [0, 1]}, {0: 2, 1: 2}, Piece({0: (0, 2), 1: (0, 2)}))
    past.own(0)
    for _ in range(100):
        past.turn()
        past.confirm()
    assert not past.stop.is_set()
    past.committed[1] = 2
    past.ms += LOOK_MS
    past.turn()
    assert past.bounded.complete


def test_a_stream_that_halts_ends_instead_of_standing_still() -> None:
    past = Past({0: [0], 1: []}, {0: 1, 1: 0}, Piece({0: (0, 1), 1: (0, 0)}))
    past.status.enter(State.HALTED, "a flood")
    past.bounded.hold(10)
    assert past.stop.is_set()
    assert str(past.bounded.halted) == "a flood"
    assert not past.bounded.complete


def test_a_pace_is_kept_to_and_batches_are_small_enough_for_it() -> None:
    n = 400
    past = Past({0: range(n), 1: []}, {0: n, 1: 0}, Piece({0: (0, n), 1: (0, 0)}), Pace(rate_per_s=100))
    past.own(*PARTITIONS)
    sizes = []
    while not past.stop.is_set():
        before = len(past.handed) + len(past.done)
        past.turn(rows_max=2000)
        sizes.append(len(past.handed) + len(past.done) - before)
        past.confirm()
    assert max(sizes) == 20
    assert past.ms == pytest.approx(1000 * n / 100, rel=0.1, abs=LOOK_MS)


def test_it_pauses_while_live_is_behind_and_asks_once_a_second() -> None:
    asked: list[float] = []
    lag = 100

    def ask() -> int:
        asked.append(past.ms)
        return lag

    past = Past({0: range(9), 1: []}, {0: 9, 1: 0}, Piece({0: (0, 9), 1: (0, 0)}), Pace(0, ask, 50))
    past.own(*PARTITIONS)
    for _ in range(100):
        past.turn()
    assert past.handed == []
    assert past.held == 100
    assert len(asked) <= past.ms / ASK_MS + 1
    lag = 50
    while not past.stop.is_set():
        past.turn()
        past.confirm()
    assert past.said == ["replay.yields", "replay.goes_on"]


def test_with_a_share_of_one_half_it_rests_as_long_as_it_works() -> None:
    took_ms = {}
    for share in (1.0, 0.5):
        past = Past({0: range(300), 1: []}, {0: 300, 1: 0}, Piece({0: (0, 300), 1: (0, 0)}), Pace(share=share))
        past.own(*PARTITIONS)
        while len(past.handed) < 300:
            past.turn()
        took_ms[share] = past.ms
    assert 2.0 <= took_ms[0.5] / took_ms[1.0] <= 2.3  # looking whether it may go on takes time as well


def rests_for(past: Past) -> float:
    """How long it rests until a next record is handed on."""
    before, began_ms = len(past.handed), past.ms
    while len(past.handed) == before:
        past.turn()
    return past.ms - began_ms


def test_an_outage_that_is_waited_out_with_a_batch_in_hand_is_no_work_to_rest_from() -> None:
    past = Past({0: range(9), 1: []}, {0: 9, 1: 0}, Piece({0: (0, 9), 1: (0, 0)}), Pace(share=0.2))
    past.own(*PARTITIONS)
    past.turn()
    for _ in range(36_000):
        past.bounded.hold(100)
    assert rests_for(past) <= 8 * TURN_MS


def test_while_it_yields_it_does_not_work() -> None:
    lag = 0
    past = Past({0: range(9), 1: []}, {0: 9, 1: 0}, Piece({0: (0, 9), 1: (0, 0)}), Pace(0, lambda: lag, 50, 0.2))
    past.own(*PARTITIONS)
    past.turn()
    past.ms += ASK_MS
    lag = 100
    for _ in range(1000):
        past.turn()
    lag = 0
    assert rests_for(past) <= 2 * ASK_MS


def test_no_rest_is_longer_than_a_few_seconds_and_a_long_one_goes_on_as_a_member_of_the_group() -> None:
    past = Past({0: range(9), 1: []}, {0: 9, 1: 0}, Piece({0: (0, 9), 1: (0, 0)}), Pace(share=0.2))
    past.own(*PARTITIONS)
    past.turn()
    past.ms += 3_600_000
    assert REST_MS_MAX <= rests_for(past) <= REST_MS_MAX + 2 * TURN_MS
    assert past.held > 0


def test_a_pace_of_less_than_a_record_a_second_is_kept_as_a_member_of_the_group() -> None:
    past = Past({0: range(2), 1: []}, {0: 2, 1: 0}, Piece({0: (0, 2), 1: (0, 0)}), Pace(rate_per_s=0.001))
    past.own(*PARTITIONS)
    past.turn()
    rests_for(past)
    assert past.held > 10_000


def named(version: str) -> Identity:
    return Identity("lead", version, version * 64)


def recipes() -> dict[str, Recipe]:
    return {named(each).sha256: replace(recipe(), topic=each) for each in "ab"}


@given(
    st.lists(st.tuples(st.sampled_from(PARTITIONS), st.integers(0, 12), st.sampled_from("ab")), max_size=8),
    st.sets(st.tuples(st.sampled_from(PARTITIONS), st.integers(0, 12)), min_size=1),
)
def test_each_record_goes_to_the_bundle_that_was_live_at_its_position(
    activations: list[tuple[int, int, str]], places: set[tuple[int, int]]
) -> None:
    history = History("group", "id")
    for partition in PARTITIONS:
        history.spans[partition] = Spans([0], {0: named("a")})
    for partition, first, version in activations:
        history.spans[partition].put(first, named(version))
    batch = batch_of(sorted(places))
    parts = Following(history, recipes()).plan(batch, batch.next_offsets).parts
    found = {}
    for part, chosen in parts:
        for place in zip(part.partitions.tolist(), part.offsets.tolist(), strict=True):
            assert place not in found
            found[place] = chosen.topic * 64
    wanted = {place: history.of(place[0]).at(place[1]) for place in places}
    assert found == {place: bundle.sha256 for place, bundle in wanted.items() if bundle is not None}


def test_between_two_boundaries_a_batch_is_scored_as_it_is() -> None:
    history = History("group", "id", spans={0: Spans([0, 5], {0: named("a"), 5: named("b")})})
    batch = batch_of([(0, 1), (0, 4)])
    parts = Following(history, recipes()).plan(batch, batch.next_offsets).parts
    assert [part is batch for part, _ in parts] == [True]


def test_the_bundles_of_a_range_are_those_of_the_stretches_that_it_touches() -> None:
    history = History("group", "id", spans={0: Spans([2, 5], {2: named("a"), 5: named("b")})})
    assert live_within(history, 0, 0, 5) == {named("a")}
    assert live_within(history, 0, 4, 6) == {named("a"), named("b")}
    assert live_within(history, 0, 5, 5) == set()


def test_the_groups_positions_are_asked_for_once_in_a_while_and_not_at_every_poll() -> None:
    past = Past({0: range(300)}, {0: 300}, Piece({0: (0, 300)}))
    asked_ms: list[float] = []

    def ask() -> Mapping[int, int]:
        asked_ms.append(past.ms)
        return past.ask()

    past.bounded.committed = ask
    past.own(0)
    for _ in range(60):
        past.turn()
        past.confirm()
    assert len(asked_ms) == 60 * TURN_MS // LOOK_MS
    assert all(later - earlier >= LOOK_MS for earlier, later in pairwise(asked_ms))
