"""Which records are scored in a sandbox, and what becomes of those that kill it. The sandboxes are written by hand."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from scorer.core.errors import HaltError
from scorer.core.records import Closed, RecordBatch, Scored, Stage
from scorer.core.sandbox import SUSPECT_ROWS, Death, End
from scorer.core.schema import WriterSchema, writer_schema
from scorer.core.scoring import Recipe, score_batch
from scorer.core.wire import split_frames
from scorer.services.suspects import OUTSIDE_MAX, Suspects
from tests.unit.services.samples import BAD, BASE_MS, EVENT_ID, EVENT_TEXT, lead, recipe

SCHEMAS: Mapping[int, WriterSchema | str] = {EVENT_ID: writer_schema(EVENT_ID, EVENT_TEXT)}


@dataclass
class Hand:
    """A sandbox that scores for real, but for the records whose deaths were planned by their offsets.

    `whole` is how it ends over a batch that holds one of them.
    """

    deaths: dict[int, deque[Death]] = field(default_factory=dict)
    whole: Death = field(default_factory=lambda: Death(End.DIED, False, "SIGSEGV"))
    asked: list[list[int]] = field(default_factory=list)
    closed: int = 0

    def score(
        self, batch: RecordBatch, schemas: Mapping[int, WriterSchema | str], recipe: Recipe, now_ms: int
    ) -> Scored | Death:
        offsets = batch.offsets.tolist()
        self.asked.append(offsets)
        planned = [offset for offset in offsets if self.deaths.get(offset)]
        if planned:
            return self.deaths[planned[0]].popleft() if len(offsets) == 1 else self.whole
        return score_batch(batch, split_frames(batch.values, 1 << 20), schemas, recipe, now_ms)

    def close(self) -> None:
        self.closed += 1


def batch(*values: bytes | None, first: int = 0, partition: int = 0) -> RecordBatch:
    n = len(values)
    offsets = np.arange(first, first + n)
    columns = np.full(n, partition, np.int32), offsets, np.full(n, BASE_MS, np.int64)
    return RecordBatch(
        "events.new-lead",
        *columns,
        list(values),
        [b"k"] * n,
        [[("traceparent", b"%d" % at)] for at in range(n)],
        Closed.IDLE,
    )


def suspects(hand: Hand, deaths: int = 2) -> tuple[Suspects, list[tuple[str, Mapping[str, Any]]]]:
    told: list[tuple[str, Mapping[str, Any]]] = []
    made = Suspects(hand, lambda event, fields: told.append((event, fields)))
    made.assigned({0: 0}, {0: deaths})
    return made, told


def going_on(*_: object) -> bool:
    return True


def same(found: Scored | None, wanted: Scored) -> bool:
    assert found is not None
    return (
        found.outbound.rows.tolist() == wanted.outbound.rows.tolist()
        and found.outbound.values == wanted.outbound.values
        and found.outbound.keys == wanted.outbound.keys
        and found.outbound.headers == wanted.outbound.headers
        and found.rejections == wanted.rejections
        and found.tombstones == wanted.tombstones
    )


def test_nothing_is_suspect_before_the_second_death() -> None:
    for deaths in (0, 1):
        made, told = suspects(Hand(), deaths)
        assert not made.holds(batch(lead()))
        assert told == []


def test_records_behind_two_deaths_are_suspect_and_no_others() -> None:
    made, _ = suspects(Hand())
    assert made.holds(batch(lead()))
    assert made.holds(batch(lead(), first=SUSPECT_ROWS - 1))
    assert not made.holds(batch(lead(), first=SUSPECT_ROWS))
    assert not made.holds(batch(lead(), partition=1))


def test_a_partition_that_comes_back_in_good_order_is_suspect_no_more() -> None:
    made, _ = suspects(Hand())
    made.assigned({0: 40}, {0: 0})
    assert not made.holds(batch(lead(), first=40))


def test_the_sandbox_is_ended_once_nothing_in_hand_is_suspect() -> None:
    hand = Hand()
    made, _ = suspects(hand)
    made.holds(batch(lead(), first=SUSPECT_ROWS))
    assert hand.closed == 1


def test_suspects_that_do_no_harm_are_scored_as_one_batch() -> None:
    hand = Hand()
    made, told = suspects(hand)
    assert made.score(batch(*map(lead, range(9))), SCHEMAS, recipe(), 5, going_on) is not None
    assert hand.asked == [list(range(9))]
    assert [event for event, _ in told] == ["partition.suspect"]


@pytest.mark.parametrize("trace", [False, True])
@pytest.mark.parametrize("end", End)
def test_a_batch_scored_record_by_record_is_what_it_is_as_a_whole(end: End, trace: bool) -> None:
    rows = batch(lead(0), BAD, None, lead(1), b"x", lead(2), lead(3))
    made, _ = suspects(hand := Hand({6: deque([Death(End.OUTSIDE, False, "SIGKILL")])}, Death(end, False, "")))
    with_trace = replace(recipe(), trace=trace)
    wanted = score_batch(rows, split_frames(rows.values, 1 << 20), SCHEMAS, with_trace, 5)
    assert same(made.score(rows, SCHEMAS, with_trace, 5, going_on), wanted)
    assert len(hand.asked) == 1 + 7 + 1


def test_a_record_that_kills_its_sandbox_is_rejected_alone_with_how_it_ended() -> None:
    hand = Hand({1: deque([Death(End.DIED, False, "SIGSEGV")]), 2: deque([Death(End.HUNG, True, "no answer")])})
    made, told = suspects(hand)
    found = made.score(batch(lead(0), lead(1), lead(2), lead(3)), SCHEMAS, recipe(), 5, going_on)
    assert found is not None
    assert found.outbound.rows.tolist() == [0, 3]
    assert [(each.row, each.stage, each.reason) for each in found.rejections] == [
        (1, Stage.DECODE, "kills_process"),
        (2, Stage.INFER, "kills_process"),
    ]
    assert [fields for event, fields in told if event == "record.set_aside"] == [
        {"partition": 0, "offset": 1, "end": "died", "detail": "SIGSEGV"},
        {"partition": 0, "offset": 2, "end": "hung", "detail": "no answer"},
    ]


def test_a_sandbox_that_was_killed_from_outside_is_started_again_for_the_same_record() -> None:
    hand = Hand({0: deque([Death(End.OUTSIDE, False, "SIGKILL")] * 3)})
    made, told = suspects(hand)
    found = made.score(batch(lead(0), lead(1)), SCHEMAS, recipe(), 5, going_on)
    assert found is not None
    assert (hand.asked, found.rejections) == ([[0, 1], [0], [0], [0], [0], [1]], [])
    assert [event for event, _ in told].count("sandbox.ended") == 1 + 3


def test_each_try_after_an_end_from_outside_waits_longer_and_says_why() -> None:
    waits: list[tuple[str, int]] = []

    def wait(why: str, wait_ms: int) -> bool:
        waits.append((why, wait_ms))
        return True

    made, _ = suspects(Hand({0: deque([Death(End.OUTSIDE, False, "SIGKILL")] * 3)}))
    made.score(batch(lead(0)), SCHEMAS, recipe(), 5, wait)
    assert [wait_ms for _, wait_ms in waits] == [0, 100, 200, 400]
    assert [bool(why) for why, _ in waits] == [False, True, True, True]


def test_a_record_whose_every_try_is_ended_from_outside_halts_its_stream_and_is_not_set_aside() -> None:
    hand = Hand({7: deque([Death(End.OUTSIDE, False, "SIGKILL")] * 100)})
    made, told = suspects(hand)
    with pytest.raises(HaltError, match=r"offset 7 of partition 0 was ended from outside 8 times.*SIGKILL"):
        made.score(batch(lead(0), first=7), SCHEMAS, recipe(), 5, going_on)
    assert len(hand.asked) == OUTSIDE_MAX
    assert "record.set_aside" not in [event for event, _ in told]


@pytest.mark.parametrize("asked", [[], [[0, 1, 2]], [[0, 1, 2], [0]]])
def test_a_stop_is_heeded_before_each_try(asked: list[list[int]]) -> None:
    hand = Hand({2: deque([Death(End.DIED, False, "SIGSEGV")])})
    made, _ = suspects(hand)
    answers = iter([True] * len(asked) + [False])
    assert made.score(batch(lead(0), lead(1), lead(2)), SCHEMAS, recipe(), 5, lambda *_: next(answers)) is None
    assert hand.asked == asked
