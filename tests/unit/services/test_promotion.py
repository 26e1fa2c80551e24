"""A lane is copied as it is, once, and what came to nothing is read again. The lane and the broker are by hand."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any, cast

import pytest

from scorer.core.errors import AbortedError, ConfigError, HaltError, TransientError
from scorer.core.offsets import InFlight
from scorer.core.records import DeadLetter, Headers, Outbound, RecordBatch
from scorer.core.state import State, Status
from scorer.edges.clock import SystemClock
from scorer.services.delivery import ExactlyOnce
from scorer.services.limits import Limits
from scorer.services.promotion import IN_FLIGHT_BATCHES_MAX, Promotion
from tests.unit.core.batches import batch_of

Copy = tuple[bytes, bytes, Headers | None]
ABORTED = AbortedError("the broker says so")


@dataclass
class Lane:
    """The lane, as Promotion reads it, and the topic that it is copied to, in transactions.

    Attributes:
        records: of its one partition; key, value, headers.
        fails: what the next commits raise.
        fails_early: what the next polls for confirmations raise.
        away: what the next recovery raises.
        refused: indices of each batch that the topic does not take.
        silent: how many polls confirm nothing.
        turns: what happens before the record at an offset is read.
        visible: what readers of committed records see.
        most: how many batches were unconfirmed at once.
    """

    records: list[tuple[bytes | None, bytes | None, Headers | None]]
    fails: deque[Exception] = field(default_factory=deque)
    fails_early: deque[Exception] = field(default_factory=deque)
    away: deque[Exception] = field(default_factory=deque)
    refused: list[int] = field(default_factory=list)
    silent: int = 0
    visible: list[Copy] = field(default_factory=list)
    committed: dict[int, int] = field(default_factory=lambda: {0: 0})
    at: int = 0
    open: list[Copy] = field(default_factory=list)
    waiting: list[InFlight] = field(default_factory=list)
    most: int = 0
    recovered: int = 0
    turns: dict[int, Callable[[], object]] = field(default_factory=dict)
    states: list[State] = field(default_factory=list)
    stop: Event = field(default_factory=Event)

    def __post_init__(self) -> None:
        status = Status(lambda state, _: self.states.append(state))
        clock = SystemClock()
        delivery = ExactlyOnce(cast(Any, self), clock, lambda *_: None, every_ms=0)
        self.promotion = Promotion(
            "live", cast(Any, self), delivery, clock, lambda *_: None, status, self.stop, Limits()
        )
        self.promotion.assigned({0: 0})

    def poll(self, *asked: Any) -> RecordBatch | None:
        """Of a source, two records of the lane at most; of a publisher, what the broker has confirmed."""
        if len(asked) == 1:
            if self.fails_early:
                raise self.fails_early.popleft()
            self.silent -= 1
            for each in self.waiting if self.silent < 0 else []:
                each.outstanding = 0
            return None
        if (turn := self.turns.pop(self.at, None)) is not None:
            turn()
        first, self.at = self.at, min(self.at + 2, len(self.records))
        if first == self.at:
            self.stop.set()
            return None
        keys, values, headers = zip(*self.records[first : self.at], strict=True)
        batch = batch_of(values, offsets=range(first, self.at), headers=headers)
        return replace(batch, keys=list(keys))

    def begin(self) -> None:
        """Nothing is to be done."""

    def publish(self, outbound: Outbound, _: Sequence[DeadLetter], batch: InFlight) -> list[int]:
        assert outbound.topic == "live"
        headers = outbound.headers or [None] * len(outbound)
        self.open += zip(outbound.keys, outbound.values, headers, strict=True)
        self.waiting.append(batch)
        self.most = max(self.most, len(self.promotion.delivery.ledger.pending))
        return self.refused

    def commit(self, offsets: Mapping[int, int], *_: Any) -> None:
        if self.fails:
            raise self.fails.popleft()
        self.visible, self.open = [*self.visible, *self.open], []
        self.committed.update(offsets)

    def recover(self) -> None:
        self.recovered += 1
        assert self.recovered < 5, "it begins again for ever"
        if self.away:
            raise self.away.popleft()
        self.open, self.waiting = [], []

    def rewind(self) -> Mapping[int, int]:
        self.at = self.committed[0]
        return dict(self.committed)

    def membership(self) -> object:
        return None

    def outage(self) -> str | None:
        return None

    def hold(self, _: int) -> None:
        """The group is kept."""


RECORDS: list[tuple[bytes | None, bytes | None, Headers | None]] = [
    (b"k%d" % at, b"v%d" % at, [("h", b"%d" % at)] if at == 3 else None) for at in range(7)
]


def copied(lane: Lane) -> list[tuple[bytes, bytes]]:
    return [(key, value) for key, value, _ in lane.visible]


def test_every_record_is_copied_once_with_its_key_value_and_headers() -> None:
    lane = Lane(RECORDS)
    lane.promotion.run()
    assert copied(lane) == [(key, value) for key, value, _ in RECORDS]
    assert [headers for _, _, headers in lane.visible if headers] == [[("h", b"3")]]
    assert lane.committed == {0: 7}
    assert lane.states[-1] is State.STOPPING


@pytest.mark.parametrize("away", [[], [TransientError("the coordinator is away")]])
def test_what_came_to_nothing_is_read_again_and_is_there_once(away: list[Exception]) -> None:
    lane = Lane(RECORDS, fails=deque([ABORTED]), away=deque(away))
    lane.promotion.run()
    assert copied(lane) == [(key, value) for key, value, _ in RECORDS]
    assert lane.committed == {0: 7}


def test_what_came_to_nothing_unconfirmed_is_waited_for_no_more() -> None:
    lane = Lane(RECORDS, fails_early=deque([ABORTED]))
    lane.promotion.delivery.timeout_ms = 200  # type: ignore[attr-defined]
    lane.promotion.run()
    assert copied(lane) == [(key, value) for key, value, _ in RECORDS]


def test_records_of_a_partition_that_was_lost_are_not_committed() -> None:
    lane = Lane(RECORDS)
    lane.promotion.delivery.every_ms = 60_000  # type: ignore[attr-defined]
    spoiled: list[bool] = []

    def lost() -> None:
        lane.promotion.lost([0])
        spoiled.append(lane.promotion.delivery.spoiled)
        lane.stop.set()

    lane.turns[2] = lost
    lane.promotion.run()
    assert (lane.visible, lane.committed, spoiled) == ([], {0: 0}, [True])


def test_what_is_open_is_committed_before_a_partition_is_handed_over() -> None:
    lane = Lane(RECORDS)
    lane.promotion.delivery.every_ms = 60_000  # type: ignore[attr-defined]
    lane.turns[2] = lambda: (lane.promotion.revoked([0]), lane.stop.set())
    lane.promotion.run()
    assert (copied(lane), lane.committed) == ([(b"k0", b"v0"), (b"k1", b"v1")], {0: 2})
    assert lane.promotion.delivery.ledger.generations == {}


def test_no_more_than_so_many_batches_are_unconfirmed() -> None:
    lane = Lane(RECORDS, silent=20)
    lane.promotion.delivery.every_ms = 60_000  # type: ignore[attr-defined]
    lane.promotion.run()
    assert lane.most == IN_FLIGHT_BATCHES_MAX
    assert lane.committed == {0: 7}


@pytest.mark.parametrize("foreign", [(None, b"v", None), (b"k", None, None)])
def test_what_is_no_prediction_ends_it(foreign: tuple[bytes | None, bytes | None, Headers | None]) -> None:
    lane = Lane([foreign])
    with pytest.raises(ConfigError, match="no predictions"):
        lane.promotion.run()
    assert lane.visible == []


def test_a_topic_that_takes_less_than_the_lane_did_halts_it() -> None:
    lane = Lane(RECORDS, refused=[1])
    with pytest.raises(HaltError, match=r"raise its max\.message\.bytes"):
        lane.promotion.run()
    assert lane.visible == []
