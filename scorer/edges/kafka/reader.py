"""Reading topics without a group: every partition, nothing committed. For watching, for the demo, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaException, TopicPartition

from scorer.core.errors import ConfigError, TransientError
from scorer.core.records import Closed, RecordBatch
from scorer.edges.kafka.messages import Report, as_batch, made

REQUEST_S_MAX = 10.0


class KafkaReader:
    """Reads committed records of some topics, from their beginning or from now on."""

    def __init__(self, properties: Mapping[str, Any], topics: list[str], *, start: str, report: Report) -> None:
        own = {
            "group.id": "unused",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "isolation.level": "read_committed",
        }
        self._consumer = made(Consumer, {"fetch.wait.max.ms": 10, **properties, **own}, report)
        try:
            self._partitions = [
                TopicPartition(topic, partition, OFFSET_BEGINNING if start == "earliest" else OFFSET_END)
                for topic in topics
                for partition in self._numbers(topic)
            ]
        except BaseException:
            self._consumer.close()
            raise
        self._consumer.assign(self._partitions)

    def read(self, rows_max: int, wait_ms_max: int) -> list[RecordBatch]:
        """Records that came, by topic, in offset order per partition; empty if none came in that time.

        Raises:
            TransientError: the broker refuses, or the client has failed.
        """
        by_topic: dict[str, list[Any]] = {}
        first = self._consumer.poll(wait_ms_max / 1000)
        if first is None:
            return []
        for message in [first, *self._consumer.consume(rows_max - 1, 0)]:
            error = message.error()
            if error is None:
                by_topic.setdefault(str(message.topic()), []).append(message)
            elif error.fatal():
                raise TransientError(f"reading {message.topic()} failed: {error}")
        return [as_batch(topic, messages, Closed.IDLE) for topic, messages in by_topic.items()]

    def ends(self) -> dict[tuple[str, int], int]:
        """Topic and partition to the offset behind the last record, as it is now; without those that hold none."""
        found: dict[tuple[str, int], int] = {}
        for each in self._partitions:
            low, high = self._consumer.get_watermark_offsets(each, REQUEST_S_MAX)
            if low < high:
                found[each.topic, each.partition] = high
        return found

    def close(self) -> None:
        """Ends reading."""
        self._consumer.close()

    def _numbers(self, topic: str) -> list[int]:
        try:
            found = self._consumer.list_topics(topic, timeout=REQUEST_S_MAX).topics[topic]
        except KafkaException as error:
            raise TransientError(f"Kafka does not answer: {error.args[0]}") from error
        if found.error is not None or not found.partitions:
            raise ConfigError(f"topic {topic} does not exist; run: scorer setup")
        return sorted(found.partitions)
