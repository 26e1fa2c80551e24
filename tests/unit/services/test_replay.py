"""A bounded source hands on what is in its piece, once, and commits nothing that was not; history says with what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.core.deployments import History, Identity, Spans
from scorer.core.errors import TransientError
from scorer.core.pieces import Piece
from scorer.core.ports import BatchLimits
from scorer.core.records import Closed, RecordBatch
from scorer.core.scoring import Recipe
from scorer.core.state import State, Status
from scorer.services.replay import ASK_MS, LOOK_MS, Bounded, Following, Pace, live_within
from tests.unit.services.samples import recipe

PARTITIONS = (0, 1)
TURN_MS = 50.0


def batch_of(records: Sequence[tuple[int, int]]) -> RecordBatch:
    n = len(records)
    partitions, offsets = np.array(records, dtype=np.int64).reshape(n, 2).T
    empty: tuple[list[bytes | None], list[bytes | None], list[None]] = ([b""] * n, [None] * n, [None] * n)
    return RecordBatch("events", partitions.astype(np.int32), offsets, np.zeros(n, np.int64), *empty, Closed.IDLE)


@dataclass
class Past:
    """A topic whose offsets partly hold no record, a group's positions, and a member that reads.

    Attributes:
        records: offsets that hold one, by partition.
        highs: ends of the partitions.
        piece: what is wanted.
    """

    records: Mapping[int, Sequence[int]]
    highs: Mapping[int, int]
    piece: Piece
    pace: Pace = field(default_factory=Pace)
    ms: float = 0.0
    committed: dict[int, int] = field(default_factory=dict)
    at: dict[int, int] = field(default_factory=dict)
    met: dict[int, int] = field(default_factory=dict)
    resting: set[int] = field(default_factory=set)
    handed: list[tuple[int, int]] = field(default_factory=list)
    done: list[tuple[int, int]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    held: int = 0
    read_past: int = 0
    away: bool = False

    def __post_init__(self) -> None:
        self.committed = dict(self.piece.starts)
        self.status = Status(lambda *_: None)
        self.stop = Event()
        self.bounded = Bounded(
            self.piece, self.ask, self.pace, lambda _: None, self, self.report, self.status, self.stop, self, self
        )

    def ask(self) -> Mapping[int, int]:
        if self.away:
            raise TransientError("nobody answers")
        return dict(self.committed)

    def report(self, event: str, _: Mapping[str, Any]) -> None:
        self.said.append(event)

    def now_ms(self) -> int:
        return int(self.ms)

    def ticks_ms(self) -> float:
        return self.ms

    def sleep(self, ms: float) -> None:
        self.ms += ms

    def own(self, *partitions: int) -> None:
        """They are given to us, at what is committed."""
        positions = {p: self.committed[p] for p in partitions}
        self.at.update(positions)
        self.resting.difference_update(partitions)
        for partition in partitions:
            self.met.pop(partition, None)
        self.bounded.assigned(positions)

    def disown(self, partition: int) -> None:
        """Taken away; what was handed on and is not committed comes to nothing."""
        self.bounded.lost([partition])
        del self.at[partition]
        self.handed = [each for each in self.handed if each[0] != partition]

    def turn(self, rows_max: int = 3) -> None:
        """One turn of the worker's loop."""
        self.ms += TURN_MS
        batch = self.bounded.poll(BatchLimits(rows_max), 10)
        if batch is not None:
            self.handed += zip(batch.partitions.tolist(), batch.offsets.tolist(), strict=True)

    def confirm(self) -> None:
        """All that was handed on is delivered, and committed with the offsets behind it."""
        self.done += self.handed
        for partition, offset in self.handed:
            self.committed[partition] = max(self.committed[partition], offset + 1)
        self.handed = []

    def go_back(self) -> None:
        """A transaction came to nothing."""
        self.handed = []
        self.bounded.rewind()

    @property
    def wanted(self) -> set[tuple[int, int]]:
        every = [(p, offset) for p, own in self.records.items() for offset in own]
        return {every[row] for row in self.piece.rows(batch_of(every))} if every else set()

    # The source, as Kafka's is.

    def poll(self, limits: BatchLimits, _: int) -> RecordBatch | None:
        found: list[tuple[int, int]] = []
        for partition in sorted(self.at.keys() - self.resting):
            there = [each for each in self.records[partition] if each >= self.at[partition]]
            taken = there[: limits.rows_max - len(found)]
            found += [(partition, offset) for offset in taken]
            self.read_past += sum(offset >= self.piece.end(partition) for offset in taken)
            if taken:
                self.at[partition] = taken[-1] + 1
            if taken == there:
                self.at[partition] = self.met[partition] = self.highs[partition]
        return batch_of(found) if found else None

    def hold(self, wait_ms: int) -> None:
        self.held += 1
        self.ms += wait_ms

    def rest(self, partitions: Iterable[int]) -> None:
        self.resting |= set(partitions)

    def ends(self) -> Mapping[int, int]:
        return {p: end for p, end in self.met.items() if p in self.at}

    def commit(self, offsets: Mapping[int, int], wait: bool) -> Mapping[int, int]:
        assert wait
        for partition, offset in offsets.items():
            below = {each for each in self.wanted if each[0] == partition and each[1] < offset}
            assert below <= set(self.done), "offsets of records that were not scored are committed"
            assert self.committed[partition] < offset <= self.piece.end(partition)
            self.committed[partition] = offset
        return {}

    def rewind(self) -> Mapping[int, int]:
        self.at = {p: self.committed[p] for p in self.at}
        self.met, self.resting = {}, set()
        return dict(self.at)

    def membership(self) -> Any:
        return None

    def outage(self) -> str | None:
        return None

    def lag(self) -> Mapping[int, int]:
        return {}

    def unfinished(self) -> Mapping[int, int]:
        return {}

    # The owner.

    def assigned(self, positions: Mapping[int, int]) -> None:
        assert positions

    def revoked(self, partitions: Sequence[int]) -> None:
        assert partitions

    def lost(self, partitions: Sequence[int]) -> None:
        assert partitions


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
