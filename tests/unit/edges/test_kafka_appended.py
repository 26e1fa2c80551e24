"""How far a topic is written is asked of all its partitions, also of those that hold nothing."""

from __future__ import annotations

from scorer.edges.kafka.appended import Appended
from tests.unit.edges.mock_cluster import Cluster


def test_each_partition_ends_behind_its_last_record() -> None:
    cluster = Cluster()
    topic = cluster.topic()
    cluster.produce(topic, 3, partitions=[0])
    cluster.produce(topic, 5, partitions=[1])
    assert Appended(cluster.own, lambda *_: None).ends(topic, [0, 1, 2]) == {0: 3, 1: 5, 2: 0}
    cluster.close()
