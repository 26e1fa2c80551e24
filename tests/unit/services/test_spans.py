"""What was written before it was asked for is waited for, be it hidden by a transaction that is open."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Event

import pytest

from scorer.core.errors import TransientError
from scorer.services.patience import StoppedError
from scorer.services.spans import SETTLE_MS, SETTLE_MS_MAX, settled


@dataclass
class Topic:
    """A topic of two partitions: what readers of committed records see of the first one, look by look."""

    seen: Iterator[int]
    written: int
    waits: list[float] = field(default_factory=list)
    stopped: bool = False

    def extents(self, topic: str) -> dict[int, tuple[int, int]]:
        assert topic == "topic"
        return {0: (2, next(self.seen)), 1: (0, 9)}

    def ends(self, topic: str, partitions: list[int]) -> dict[int, int]:
        assert (topic, partitions) == ("topic", [0, 1])
        return {0: self.written, 1: 9}

    def wait(self, s: float) -> bool:
        self.waits.append(s)
        return self.stopped


def ask(it: Topic) -> dict[int, tuple[int, int]]:
    stop = Event()
    stop.wait = it.wait  # type: ignore[method-assign, assignment]
    return dict(settled(it, it, "topic", stop))


def test_a_topic_without_open_transactions_is_asked_once() -> None:
    it = Topic(iter([5]), 5)
    assert (ask(it), it.waits) == ({0: (2, 5), 1: (0, 9)}, [])


def test_what_an_open_transaction_hides_is_waited_for_and_no_more() -> None:
    it = Topic(iter([3, 3, 7]), 5)
    assert ask(it) == {0: (2, 7), 1: (0, 9)}
    assert it.waits == [SETTLE_MS / 1000] * 2


def test_a_transaction_that_stays_open_is_named_with_its_place() -> None:
    it = Topic(iter([3] * 1000), 5)
    with pytest.raises(TransientError, match="topic/0: an open transaction hides what is behind offset 3"):
        ask(it)
    assert sum(it.waits) * 1000 == pytest.approx(SETTLE_MS_MAX)


def test_told_to_stop_it_waits_no_longer() -> None:
    with pytest.raises(StoppedError):
        ask(Topic(iter([3, 3]), 5, stopped=True))
