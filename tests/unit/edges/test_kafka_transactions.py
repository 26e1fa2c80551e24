"""Which of the client's own words leave a transaction in doubt, and what is told after a fence."""

from __future__ import annotations

import pytest

from scorer.core.errors import FencedError
from scorer.core.transactions import left_in_doubt
from scorer.edges.kafka.transactions import KafkaTransactions


@pytest.mark.parametrize(
    "text",
    [
        "REQTMOUT [s#producer-1] [thrd:b]: b:1: Timed out EndTxnRequest in flight (after 9000ms, timeout #0)",
        "FAIL [s#producer-1] [thrd:TxnCoordinator]: b:1: Disconnected (after 4021ms in state UP)",
        "b:9092/1: Disconnected (after 4021ms in state UP, 1 identical error(s) suppressed)",
    ],
)
def test_a_request_without_answer_and_a_connection_that_broke_leave_a_doubt(text: str) -> None:
    assert left_in_doubt(text)


@pytest.mark.parametrize(
    "text",
    [
        "FAIL [s#producer-1] [thrd:b]: b:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused "
        "(after 0ms in state CONNECT)",
        "GETPID [s#producer-1] [thrd:main]: Failed to acquire transactional PID",
        "",
    ],
)
def test_a_broker_that_was_never_reached_leaves_none(text: str) -> None:
    assert not left_in_doubt(text)


def transactions() -> KafkaTransactions:
    return KafkaTransactions({"transaction.timeout.ms": 10_000}, "events", lambda *_: None)


def test_whoever_waits_for_deliveries_after_a_fence_is_told_of_it() -> None:
    fenced = transactions()
    fenced._fenced = True
    with pytest.raises(FencedError):
        fenced.poll(100)
