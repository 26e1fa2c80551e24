"""librdkafka's built-in cluster, for the offline demo alone.

It keeps about 5 MB a partition, knows no topic settings and does not fence: it shows how things work, no more.
"""

from __future__ import annotations

from confluent_kafka import Producer

from scorer.core.ports import Report
from scorer.edges.kafka.failures import REQUEST_S_MAX
from scorer.edges.kafka.messages import librdkafka_log


class MockBroker:
    """A cluster of one that lives as long as this object."""

    def __init__(self, report: Report) -> None:
        self._owner = Producer({"test.mock.num.brokers": 1}, logger=librdkafka_log(report))
        broker = next(iter(self._owner.list_topics(timeout=REQUEST_S_MAX).brokers.values()))
        self.bootstrap = f"{broker.host}:{broker.port}"

    def create(self, topics: list[str]) -> None:
        """Makes topics with the cluster's number of partitions: asking for one makes it."""
        for topic in topics:
            self._owner.list_topics(topic, timeout=REQUEST_S_MAX)
