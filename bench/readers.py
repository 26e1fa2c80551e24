"""Readers outside of what is measured: how far a topic has come, what it holds, and when each record was received."""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Event
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from bench.plan import PARTITIONS

REQUEST_S_MAX = 10.0
READ_S_MAX = 60.0
CHUNK_ROWS = 5_000


class Progress:
    """Counts the records of a topic by its partitions' ends: one small request a look, nothing is read."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap})
        self._ends = {TopicPartition(topic, number): OffsetSpec.latest() for number in range(PARTITIONS)}

    def count(self) -> int:
        """How many records there are by now."""
        found = self._admin.list_offsets(self._ends, request_timeout=REQUEST_S_MAX)
        return sum(future.result().offset for future in found.values())

    def wait(self, count: int, every_s: float, wait_s_max: float) -> float:
        """Waits for so many records, looking `every_s`. Returns when they were there (time.monotonic(), s).

        Raises:
            RuntimeError: they did not come in time.
        """
        deadline_s = time.monotonic() + wait_s_max
        while (there := self.count()) < count:
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"{there} of {count} predictions after {wait_s_max:.0f} s")
            time.sleep(every_s)
        return time.monotonic()


def read_all(bootstrap: str, topic: str, count: int) -> list[Any]:
    """Every record of a topic, at least so many, as confluent-kafka's messages.

    Raises:
        RuntimeError: fewer came.
    """
    consumer = _assigned(bootstrap, topic)
    found: list[Any] = []
    deadline_s = time.monotonic() + READ_S_MAX
    try:
        while len(found) < count:
            found += [each for each in consumer.consume(CHUNK_ROWS, 0.05) if each.error() is None]
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"{len(found)} of {count} records of {topic} can be read")
        return found + [each for each in consumer.consume(CHUNK_ROWS, 0.2) if each.error() is None]
    finally:
        consumer.close()


def receive(bootstrap: str, topic: str, count: int, stop: Event, into: list[tuple[float, bytes]]) -> None:
    """Subscribes as any application would, librdkafka's defaults, and notes when each record was in its hands.

    Ends once `count` records have come, or `stop` is set.
    """
    consumer = _assigned(bootstrap, topic)
    try:
        while len(into) < count and not stop.is_set():
            first = consumer.poll(0.1)
            messages = [] if first is None else [first, *consumer.consume(CHUNK_ROWS, 0)]
            now_s = time.monotonic()
            into += [(now_s, message.value()) for message in messages if message.error() is None]
    finally:
        consumer.close()


def _assigned(bootstrap: str, topic: str, partitions: Sequence[int] = range(PARTITIONS)) -> Consumer:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
    return consumer
