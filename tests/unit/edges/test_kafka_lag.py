"""How far a member is behind, from librdkafka's built-in cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

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
