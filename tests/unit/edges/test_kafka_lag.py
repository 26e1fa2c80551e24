"""How far a member is behind, from librdkafka's built-in cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from scorer.edges.kafka.lag import Lag
from tests.unit.edges.mock_cluster import PARTITIONS, Cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    yield made
    made.close()


def test_lag_is_what_is_left_behind_the_last_record_handed_out(cluster: Cluster) -> None:
    topic = cluster.topic(records=10)
    cluster.commit(topic, {0: 4, 1: 10, 2: 0, 3: 9})
    member = cluster.member(topic)
    member.gather(6 + 10 + 1)
    assert member.source.lag() == dict.fromkeys(range(PARTITIONS), 0)
    cluster.produce(topic, 3, partitions=[2])
    member.gather(18, rows_max=1)
    assert member.source.lag()[2] == 2


def test_lag_grows_while_held_though_nothing_is_fetched(cluster: Cluster) -> None:
    topic = cluster.topic(records=2)
    member = cluster.member(topic)
    member.gather(PARTITIONS * 2)
    member.source.hold(20)
    cluster.produce(topic, 3, partitions=[1])
    member.source.hold(20)
    assert member.source.lag() == {0: 0, 1: 3, 2: 0, 3: 0}


def test_a_broker_that_does_not_say_how_far_behind_we_are_is_not_asked_again_at_once() -> None:
    lonely = Cluster()
    member = lonely.member(lonely.topic(records=2))
    member.gather(PARTITIONS * 2)
    member.source.hold(20)
    del lonely.broker
    began_s = time.monotonic()
    told = [member.source.lag() for _ in range(20)]
    assert time.monotonic() - began_s < 5
    assert told == [dict.fromkeys(range(PARTITIONS), 0)] * 20
    member.source.close()


class Told:
    """A consumer that has heard where partitions end, and what a broker says of it."""

    def __init__(self, heard: dict[int, int], asked: dict[int, int] | None = None) -> None:
        self.heard, self.asked, self.questions = heard, asked, 0

    def get_watermark_offsets(self, of: TopicPartition, cached: bool) -> tuple[int, int]:
        assert cached
        return -1001, self.heard[of.partition]

    def offsets_for_times(self, wanted: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        assert timeout > 0
        self.questions += 1
        if self.asked is None:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return [TopicPartition(each.topic, each.partition, self.asked[each.partition]) for each in wanted]


def test_the_later_of_what_was_heard_and_what_is_answered_counts_and_nothing_is_said_of_what_nobody_knows() -> None:
    told = Lag(cast(Any, Told({0: 9, 1: 4, 2: -1001}, {0: 5, 1: 8, 2: -1})), "events")
    assert told.behind({0: 6, 1: 6, 2: 0}, paused=True) == {0: 3, 1: 2}
    assert told.behind({0: 6, 1: 6, 2: 0}, paused=False) == {0: 3, 1: 0}


def test_nobody_is_asked_again_soon_after_a_question_without_an_answer() -> None:
    silent = Told({0: 9})
    told = Lag(cast(Any, silent), "events")
    assert [told.behind({0: 6}, paused=True) for _ in range(3)] == [{0: 3}] * 3
    assert silent.questions == 1
