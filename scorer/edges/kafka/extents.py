"""Where a topic begins and ends, and which of its offsets hold no event. Belongs to no group and commits nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

from scorer.core.errors import ConfigError, TransientError
from scorer.core.ports import Report
from scorer.edges.kafka.admin import admin_client
from scorer.edges.kafka.failures import REQUEST_S_MAX, Doors, refused
from scorer.edges.kafka.messages import made

READ_S_MAX = 60.0
OFFSETS_MAX = 200_000
"""How many offsets are looked up at most; the rest stays unexplained until the next time."""
EXPIRED, TOMBSTONE, NO_RECORD = "expired", "tombstone", "no_record"

Span = tuple[int, int, int]
"""Partition, first offset, and the offset behind the last."""


class TopicExtents:
    """Questions about topics. Every call is bounded in time. Used in a `with` block."""

    def __init__(self, consumer: Mapping[str, Any], admin: Mapping[str, Any], report: Report) -> None:
        own = {
            "group.id": "unused",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
        self._doors = Doors()
        self._admin = admin_client(admin, self._doors, report)
        self._consumer = made(Consumer, {"fetch.wait.max.ms": 10, **consumer, **own}, report)

    def __enter__(self) -> TopicExtents:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._consumer.close()

    def extents(self, topic: str) -> dict[int, tuple[int, int]]:
        """Partition to its first offset and the one behind the last that is committed.

        Raises:
            ConfigError: there is no such topic.
            RefusedError: we are not let in, or may not read it.
            TransientError: Kafka does not answer.
        """
        try:
            found = self._doors.listed(self._admin, topic).topics[topic]
            if found.error is not None:
                if (refusal := refused(found.error, topic=topic)) is not None:
                    raise refusal
                raise ConfigError(f"topic {topic} does not exist; run: scorer setup")
            partitions = [TopicPartition(topic, number) for number in found.partitions]
            lows = self._offsets(partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
            highs = self._offsets(partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        except KafkaException as error:
            what = f"Kafka does not say where {topic} ends"
            raise self._doors.failure(self._admin, what, error, topic=topic) from error
        return {number: (lows[number], highs[number]) for number in sorted(found.partitions)}

    def at_time(self, topic: str, partitions: Sequence[int], at_ms: int) -> dict[int, int]:
        """Partition to the first offset that is not older; -1 where none is. Milliseconds since the epoch.

        Raises:
            RefusedError: we may not ask for it.
            TransientError: Kafka does not answer.
        """
        asked = [TopicPartition(topic, number) for number in partitions]
        try:
            return self._offsets(asked, OffsetSpec.for_timestamp(at_ms))
        except KafkaException as error:
            what = f"Kafka does not say what of {topic} is how old"
            raise self._doors.failure(self._admin, what, error, topic=topic) from error

    def since(self, topic: str, time_ms: int) -> dict[int, int]:
        """Partition to the first offset whose timestamp is not earlier; to the end where there is none.

        Raises:
            ConfigError: there is no such topic.
            RefusedError: we are not let in, or may not read it.
            TransientError: Kafka does not answer.
        """
        ends = {partition: end for partition, (_, end) in self.extents(topic).items()}
        found = self.at_time(topic, list(ends), time_ms)
        return {number: found[number] if found[number] >= 0 else end for number, end in ends.items()}

    def without_event(
        self, topic: str, spans: Sequence[Span], extents: Mapping[int, tuple[int, int]]
    ) -> list[tuple[Span, str]]:
        """Which of these offsets hold no event, and why: expired, tombstone, or no_record (a marker, or compacted).

        Raises:
            TransientError: Kafka does not answer in time.
        """
        found: list[tuple[Span, str]] = []
        left = OFFSETS_MAX
        until_s = time.monotonic() + READ_S_MAX
        for partition, first, end in spans:
            low, high = extents.get(partition, (0, 0))
            if first < low:
                found.append(((partition, first, min(end, low)), EXPIRED))
            begin = max(first, low)
            length = min(end, high, begin + left) - begin
            if length > 0:
                left -= length
                found += self._empty(topic, (partition, begin, begin + length), until_s)
        return found

    def _empty(self, topic: str, span: Span, until_s: float) -> list[tuple[Span, str]]:
        partition, at, end = span
        found: list[tuple[Span, str]] = []
        self._consumer.assign([TopicPartition(topic, partition, at)])
        while at < end:
            if time.monotonic() > until_s:
                raise TransientError(f"{topic}/{partition} was not read within {READ_S_MAX:.0f} s")
            for message in self._consumer.consume(1000, 0.5):
                error = message.error()
                if error is not None and error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
                    continue  # of the group that the client must name; nothing is asked of it
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise refused(error, topic=topic) or TransientError(f"reading {topic} failed: {error}")
                offset = min(message.offset() or 0, end)
                if offset > at:
                    found.append(((partition, at, offset), NO_RECORD))
                at = max(at, offset)
                if error is None and offset < end:
                    if message.value() is None:
                        found.append(((partition, offset, offset + 1), TOMBSTONE))
                    at = offset + 1
                if at >= end or error is not None:
                    at = end if error is not None else at
                    break
        return found

    def _offsets(self, partitions: list[TopicPartition], spec: OffsetSpec) -> dict[int, int]:
        from confluent_kafka import IsolationLevel

        answers = self._admin.list_offsets(
            dict.fromkeys(partitions, spec),
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=REQUEST_S_MAX,
        )
        return {each.partition: int(answer.result().offset) for each, answer in answers.items()}
