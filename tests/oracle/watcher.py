"""Readers for the fault tests, by kafka-python: one that watches a topic all along, and one that reads it at the end.

They keep records as bytes, with the moment at which they came, and decode nothing: thousands come each second.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from tests.oracle.record import Isolation

POLL_MS = 100
Headers = list[tuple[str, bytes | None]]
At = tuple[int, int]
"""Partition and offset."""


@dataclass(frozen=True, slots=True)
class Read:
    """A record as it was read; `came_s` by the monotonic clock, `timestamp` in milliseconds."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    came_s: float

    @property
    def at(self) -> At:
        """Partition and offset."""
        return self.partition, self.offset


@dataclass(slots=True)
class Watcher:
    """Reads a topic from its beginning while the faults happen; `last_s` is when each partition last gave a record."""

    bootstrap: str
    topic: str
    isolation: Isolation = "read_committed"
    records: list[Read] = field(default_factory=list)
    last_s: dict[int, float] = field(default_factory=dict)
    _enough: threading.Event = field(default_factory=threading.Event)
    _error: BaseException | None = None

    def run(self) -> None:
        """Reads until told to stop."""
        try:
            consumer, _ = _consumer(self.bootstrap, self.topic, self.isolation)
            try:
                while not self._enough.is_set():
                    self._some(consumer)
            finally:
                consumer.close(autocommit=False)
        except BaseException as error:
            self._error = error

    def moved_since(self, moment_s: float, partitions: int) -> bool:
        """Whether every partition has given a record after that moment."""
        assert self._error is None, f"the watching reader failed: {self._error!r}"
        return sum(last_s > moment_s for last_s in self.last_s.values()) == partitions

    def stop(self) -> None:
        """Ends the reading."""
        self._enough.set()

    def _some(self, consumer: KafkaConsumer) -> None:
        try:
            polled = consumer.poll(timeout_ms=POLL_MS, max_records=5_000)
        except KafkaError:
            time.sleep(POLL_MS / 1000)  # a broker is away; the client finds its way back
            return
        now_s = time.monotonic()
        for where, batch in polled.items():
            self.records.extend(_read(each, now_s) for each in batch)
            self.last_s[where.partition] = now_s


@contextmanager
def watching(bootstrap: str, topic: str, isolation: Isolation = "read_committed") -> Iterator[Watcher]:
    """A watcher for the length of a block."""
    made = Watcher(bootstrap, topic, isolation)
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.stop()
        thread.join(20)


def read_to_end(bootstrap: str, topic: str, isolation: Isolation, wait_s_max: float = 60.0) -> list[Read]:
    """Everything in a topic, by partition and offset; nobody may be writing any more.

    Under read_committed the end is the log's own: an open transaction is waited for.

    Raises:
        TimeoutError: the end was not reached.
    """
    deadline_s = time.monotonic() + wait_s_max
    consumer, partitions = _consumer(bootstrap, topic, isolation)
    log, _ = _consumer(bootstrap, topic, "read_uncommitted")
    found: list[Read] = []
    try:
        ends = log.end_offsets(partitions)
        while not all((consumer.position(each, timeout_ms=1000) or 0) >= ends[each] for each in partitions):
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{topic} was not read to its end {ends} in {wait_s_max:.0f} s under {isolation}")
            for batch in consumer.poll(timeout_ms=POLL_MS, max_records=5_000).values():
                found += [_read(each, 0.0) for each in batch]
        return sorted(found, key=lambda each: each.at)
    finally:
        consumer.close(autocommit=False)
        log.close(autocommit=False)


def end_of(bootstrap: str, topic: str) -> int:
    """The end offsets of all partitions together: how many records the topic has ever had, if none is a marker."""
    log, partitions = _consumer(bootstrap, topic, "read_uncommitted")
    try:
        return sum(log.end_offsets(partitions).values())
    finally:
        log.close(autocommit=False)


def longest_gap_s(records: list[Read], since_s: float, until_s: float) -> float:
    """The longest time, between the two moments, for which some partition that had records gave none."""
    moments: dict[int, list[float]] = {}
    for each in records:
        moments.setdefault(each.partition, [since_s]).append(each.came_s)
    return max(
        (
            later - earlier
            for came in moments.values()
            for earlier, later in zip(came, [*came[1:], until_s], strict=True)
            if earlier <= until_s
        ),
        default=until_s - since_s,
    )


def _consumer(bootstrap: str, topic: str, isolation: Isolation) -> tuple[KafkaConsumer, list[TopicPartition]]:
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap.split(","),
        isolation_level=isolation,
        enable_auto_commit=False,
        allow_auto_create_topics=False,
        reconnect_backoff_max_ms=500,
        fetch_max_wait_ms=100,
        metadata_max_age_ms=3_000,
    )
    partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
    assert partitions, f"there is no topic {topic}"
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    return consumer, partitions


def _read(record: Any, now_s: float) -> Read:
    return Read(
        record.partition,
        record.offset,
        record.timestamp,
        record.key,
        record.value,
        list(record.headers),
        now_s,
    )
