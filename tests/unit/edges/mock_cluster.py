"""librdkafka's built-in cluster with a few hands of its own: what tests put in, look at and take out."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from scorer.core.ports import BatchLimits
from scorer.core.records import RecordBatch
from scorer.edges.kafka.consumer import KafkaSource
from scorer.edges.kafka.mock import MockBroker
from scorer.edges.kafka.reader import KafkaReader
from scorer.edges.kafka.settings import consumer_properties

PARTITIONS = 4
WAIT_S_MAX = 20.0
_names = itertools.count()

Reports = list[tuple[str, dict[str, Any]]]


@dataclass
class Member:
    """A consumer of ours and what it is told about its partitions, in order: (what, partitions or positions)."""

    told: list[tuple[str, Any]] = field(default_factory=list)
    reports: Reports = field(default_factory=list)
    owned: set[int] = field(default_factory=set)
    rows: list[tuple[int, int, bytes | None]] = field(default_factory=list)
    source: KafkaSource = field(init=False)

    def assigned(self, positions: Mapping[int, int]) -> None:
        self.told.append(("assigned", dict(positions)))
        self.owned |= set(positions)

    def revoked(self, partitions: Sequence[int]) -> None:
        self.told.append(("revoked", sorted(partitions)))
        self.owned -= set(partitions)

    def lost(self, partitions: Sequence[int]) -> None:
        self.told.append(("lost", sorted(partitions)))
        self.owned -= set(partitions)

    def poll(self, rows_max: int = 1000, wait_ms_max: int = 5, idle_ms_max: int = 50) -> RecordBatch | None:
        """One poll; every record must be of a partition that is ours at that moment."""
        batch = self.source.poll(BatchLimits(rows_max, wait_ms_max), idle_ms_max)
        if batch is not None:
            assert set(batch.partitions.tolist()) <= self.owned
            self.rows += zip(batch.partitions.tolist(), batch.offsets.tolist(), batch.values, strict=True)
        return batch

    def gather(self, count: int, **limits: int) -> list[RecordBatch]:
        """Polls until so many records have come since the beginning."""
        until_s, batches = time.monotonic() + WAIT_S_MAX, []
        while len(self.rows) < count:
            assert time.monotonic() < until_s, f"{len(self.rows)} of {count} records have come"
            batch = self.poll(**limits)
            batches += [] if batch is None else [batch]
        return batches

    def offsets(self, partition: int) -> list[int]:
        return [offset for number, offset, _ in self.rows if number == partition]


class Cluster:
    """One mock cluster for a file of tests."""

    def __init__(self) -> None:
        self.broker = MockBroker(lambda *_: None)
        self.own = {"bootstrap.servers": self.broker.bootstrap}
        self._producer = Producer({**self.own, "log_level": 0})
        self._members: list[Member] = []

    def topic(self, records: int = 0) -> str:
        """A new topic of four partitions with so many records in each, `0:0`, `0:1`, ..."""
        name = f"topic-{next(_names)}"
        self.broker.create([name])
        self.produce(name, records)
        return name

    def produce(self, topic: str, records: int, partitions: Sequence[int] = range(PARTITIONS), size: int = 0) -> None:
        """Adds so many records to each of some partitions, filled up to a size in bytes."""
        for partition in partitions:
            for number in range(records):
                value = f"{partition}:{number}".encode().ljust(size)
                self._producer.produce(
                    topic, value, key=b"k", partition=partition, headers=[("h", b"\xff"), ("n", None)]
                )
        assert self._producer.flush(WAIT_S_MAX) == 0

    def send(self, topic: str, *values: bytes | None) -> None:
        """Adds these values to the first partition."""
        for value in values:
            self._producer.produce(topic, value, partition=0)
        assert self._producer.flush(WAIT_S_MAX) == 0

    def member(self, topic: str, group: str = "", start: str = "earliest", **properties: Any) -> Member:
        """A member of a group; by the newer protocol, in which the mock cluster assigns at once."""
        member = Member()
        user = {**self.own, "group.protocol": "consumer", **properties}
        member.source = KafkaSource(
            consumer_properties(user, group or topic, "eager"),
            topic,
            start=start,
            ownership=member,
            report=lambda event, fields: member.reports.append((event, dict(fields))),
        )
        self._members.append(member)
        return member

    def commit(self, topic: str, offsets: Mapping[int, int], group: str = "") -> None:
        """Commits in a group's name, from outside."""
        consumer = Consumer({**self.own, "group.id": group or topic})
        consumer.commit(offsets=[TopicPartition(topic, *pair) for pair in offsets.items()], asynchronous=False)
        consumer.close()

    def committed(self, topic: str, group: str = "") -> dict[int, int]:
        """What a group has committed."""
        consumer = Consumer({**self.own, "group.id": group or topic})
        wanted = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
        found = {each.partition: each.offset for each in consumer.committed(wanted, WAIT_S_MAX) if each.offset >= 0}
        consumer.close()
        return found

    def read(self, topic: str, count: int) -> list[RecordBatch]:
        """So many records of a topic, read without a group."""
        reader = KafkaReader(self.own, [topic], start="earliest", report=lambda *_: None)
        until_s, batches = time.monotonic() + WAIT_S_MAX, list[RecordBatch]()
        try:
            while sum(map(len, batches)) < count:
                assert time.monotonic() < until_s, f"{sum(map(len, batches))} of {count} records have come"
                batches += reader.read(1000, 200)
        finally:
            reader.close()
        return batches

    def close(self) -> None:
        """Ends all members."""
        for member in self._members:
            try:
                member.source.close()
            except RuntimeError:  # closed by its test
                continue
