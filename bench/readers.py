"""Readers outside of what is measured: how far a topic has come, what it holds, and when each record was received."""

from __future__ import annotations

import time
from collections.abc import Mapping
from threading import Event

from confluent_kafka import OFFSET_BEGINNING, Consumer, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from bench.plan import PARTITIONS
from bench.stage import silent
from scorer.edges.kafka.messages import librdkafka_log

REQUEST_S_MAX = 10.0
READ_S_MAX = 60.0
CHUNK_ROWS = 5_000


class Progress:
    """How far a contender has come: one small request a look, nothing is read.

    By the ends of its output's partitions. Where it writes transactions, whose markers take offsets too: by the offsets
    that its group has committed, which come with its predictions.

    Args:
        bootstrap: of the broker.
        source, target: its topics.
        group: its consumer group if it writes transactions, else None.
        partitions: of each topic.
    """

    def __init__(
        self, bootstrap: str, source: str, target: str, group: str | None = None, partitions: int = PARTITIONS
    ) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap}, logger=librdkafka_log(silent))
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        self._ends = {TopicPartition(target, number): latest for number in range(partitions)}
        self._read = [TopicPartition(source, number) for number in range(partitions)]
        self._group = group

    def count(self) -> int:
        """How many records are done by now."""
        if self._group is None:
            return sum(self.ends().values())
        wanted = ConsumerGroupTopicPartitions(self._group, self._read)
        answer = self._admin.list_consumer_group_offsets([wanted], request_timeout=REQUEST_S_MAX)[self._group].result()
        return sum(max(0, each.offset) for each in answer.topic_partitions)

    def ends(self) -> dict[int, int]:
        """Where its output's partitions end now."""
        found = self._admin.list_offsets(self._ends, request_timeout=REQUEST_S_MAX)
        return {place.partition: int(future.result().offset) for place, future in found.items()}

    def wait(self, count: int, every_s: float, wait_s_max: float) -> float:
        """Waits for so many records, looking `every_s`. Returns when they were there (time.monotonic(), s).

        Raises:
            RuntimeError: they did not come in time.
        """
        deadline_s = time.monotonic() + wait_s_max
        while (there := self.count()) < count:
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"{there} of {count} records after {wait_s_max:.0f} s")
            time.sleep(every_s)
        return time.monotonic()


def read_all(bootstrap: str, topic: str, at_least: int, partitions: int = PARTITIONS) -> list[bytes]:
    """Every value of a topic; waits for so many, and then a little for any that are too many.

    Raises:
        RuntimeError: fewer came.
    """
    consumer = _assigned(bootstrap, topic, {}, partitions)
    found: list[bytes] = []
    deadline_s = time.monotonic() + READ_S_MAX
    try:
        while True:
            messages = consumer.consume(CHUNK_ROWS, 0.2)
            found += [value for each in messages if each.error() is None and (value := each.value()) is not None]
            if not messages and len(found) >= at_least:
                return found
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"{len(found)} of {at_least} records of {topic} can be read")
    finally:
        consumer.close()


def receive(
    bootstrap: str,
    topic: str,
    count: int,
    stop: Event,
    into: list[tuple[float, bytes]],
    *,
    starts: Mapping[int, int] | None = None,
) -> None:
    """Subscribes as any application would, librdkafka's defaults, and notes when each value was in its hands.

    Ends once `count` records have come, or `stop` is set. `starts` are next offsets by partition; the beginning
    otherwise.
    """
    consumer = _assigned(bootstrap, topic, starts or {})
    try:
        while len(into) < count and not stop.is_set():
            first = consumer.poll(0.1)
            messages = [] if first is None else [first, *consumer.consume(CHUNK_ROWS, 0)]
            now_s = time.monotonic()
            into += [(now_s, each.value() or b"") for each in messages if each.error() is None]
    finally:
        consumer.close()


def _assigned(bootstrap: str, topic: str, starts: Mapping[int, int], partitions: int = PARTITIONS) -> Consumer:
    settings = {"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False}
    consumer = Consumer(settings, logger=librdkafka_log(silent))
    consumer.assign(
        [TopicPartition(topic, number, starts.get(number, OFFSET_BEGINNING)) for number in range(partitions)]
    )
    return consumer
