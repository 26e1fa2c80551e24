"""A request for a new epoch that arrives late fences the producer that was made after it."""

from __future__ import annotations

import time

import numpy as np
import pytest
from confluent_kafka import Consumer

from scorer.core.errors import AbortedError, FencedError, TransientError
from scorer.core.offsets import InFlight
from scorer.core.records import Outbound
from scorer.edges.kafka.settings import producer_properties, transactional
from scorer.edges.kafka.starts import Member
from scorer.edges.kafka.transactions import KafkaTransactions
from tests.harness.fault_kafka import FaultKafka
from tests.harness.kafka_proxy import INIT_PRODUCER_ID
from tests.harness.topics import Topics, fresh_group, stream_topics

pytestmark = [pytest.mark.faults, pytest.mark.smoke]

MESSAGE_BYTES_MAX = 1_000_000
TIMEOUT_MS = 10_000
SETTLE_S = 1.0
READY_S_MAX = 60.0


def test_a_producer_that_its_own_late_request_has_fenced_begins_again(one_node: FaultKafka) -> None:
    with stream_topics(one_node.direct) as topics:
        held = one_node.way.hold(INIT_PRODUCER_ID)
        transactions = _transactions(one_node, topics, "a")
        _recovered(transactions)  # the client asks twice: nobody answers the first time
        assert held.taken.is_set()
        transactions.begin()
        one_node.way.release(held)
        time.sleep(SETTLE_S)
        with pytest.raises(AbortedError):
            _committed_one(one_node, topics, transactions)
        _recovered(transactions)
        _committed_one(one_node, topics, transactions)
        transactions.close(1_000)


def test_a_producer_that_another_one_has_fenced_stays_away(one_node: FaultKafka) -> None:
    with stream_topics(one_node.direct) as topics:
        first, older, younger = (_transactions(one_node, topics, slot) for slot in "abb")
        _recovered(first)  # so that the coordinator is there: an older one that had to ask twice goes on once more
        _recovered(older)
        _committed_one(one_node, topics, older)
        _recovered(younger)
        with pytest.raises(FencedError):
            _committed_one(one_node, topics, older)
        with pytest.raises(FencedError):
            older.recover()
        _committed_one(one_node, topics, younger)
        for each in (first, older, younger):
            each.close(1_000)


def _transactions(kafka: FaultKafka, topics: Topics, slot: str) -> KafkaTransactions:
    properties = producer_properties({"bootstrap.servers": kafka.address}, "eager", MESSAGE_BYTES_MAX)
    own = transactional(properties, f"{topics.events}.{slot}", TIMEOUT_MS)
    return KafkaTransactions(own, topics.events, lambda _event, _fields: None)


def _recovered(transactions: KafkaTransactions) -> None:
    """A coordinator that has just come up takes its time."""
    until_s = time.monotonic() + READY_S_MAX
    while True:
        try:
            transactions.recover()
        except TransientError:
            assert time.monotonic() < until_s, "no coordinator"
        else:
            return


def _committed_one(kafka: FaultKafka, topics: Topics, transactions: KafkaTransactions) -> None:
    """One prediction and one offset in a transaction of their own."""
    consumer = Consumer({"bootstrap.servers": kafka.direct, "group.id": fresh_group()})
    try:
        transactions.begin()
        batch = InFlight({0: 1}, 1)
        transactions.publish(Outbound(topics.predictions, np.arange(1), [b"key"], [b"value"]), [], batch)
        while batch.outstanding:
            transactions.poll(100)
        transactions.commit({0: 1}, Member(consumer.consumer_group_metadata()))
    finally:
        consumer.close()
