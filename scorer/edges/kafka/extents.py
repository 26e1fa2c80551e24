"""Where a topic begins and ends, and which of its offsets hold no event. Belongs to no group and commits nothing."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
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
POLL_S = 0.5
OFFSETS_MAX = 200_000
"""How many offsets are looked up at most; the rest stays unexplained until the next time."""
NEAR_MAX = 5_000
"""Offsets between two that are looked up, up to which reading on is cheaper than beginning anew."""
EXPIRED, TOMBSTONE, NO_RECORD, NOT_REPLAYED = "expired", "tombstone", "no_record", "not_replayed"

Span = tuple[int, int, int]
"""Partition, first offset, and the offset behind the last."""
Meant = Callable[[int, int, int], bool]
"""Whether the record at a partition and offset, with this timestamp in ms, is to be scored."""


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
        self, topic: str, spans: Sequence[Span], extents: Mapping[int, tuple[int, int]], meant: Meant
    ) -> list[tuple[Span, str]]:
        """Which of these offsets hold no event, and why: expired, tombstone, no_record (a marker, or compacted), or
        not_replayed.

        Args:
            topic: it.
            spans: those of one partition ascend.
            extents: partition to its first offset and the one behind the last.
            meant: of a lane, what its replay was for; else all there is.

        Returns:
            what was found within READ_S_MAX; the rest stays unexplained until the next time.

        Raises:
            RefusedError: we may not read it.
            TransientError: Kafka does not say anything in that time.
        """
        found: list[tuple[Span, str]] = []
        asked: list[Span] = []
        left = OFFSETS_MAX
        for partition, first, end in spans:
            low, high = extents.get(partition, (0, 0))
            if first < low:
                found.append(((partition, first, min(end, low)), EXPIRED))
            begin = max(first, low)
            length = min(end, high, begin + left) - begin
            if length > 0:
                left -= length
                asked.append((partition, begin, begin + length))
        heard = not asked
        until_s = time.monotonic() + READ_S_MAX
        for gaps in _together(asked):
            if time.monotonic() > until_s:
                break
            heard |= self._look(topic, gaps, until_s, meant, found)
        if not heard:
            raise TransientError(f"nothing of {topic} came within {READ_S_MAX:.0f} s")
        return _runs(found)

    def _look(
        self, topic: str, gaps: Sequence[Span], until_s: float, meant: Meant, found: list[tuple[Span, str]]
    ) -> bool:
        """Reads once through gaps of one partition, adding what is found. Returns whether anything came."""
        ahead = deque(gaps)
        partition, at, _ = gaps[0]
        heard = False
        self._consumer.assign([TopicPartition(topic, partition, at)])
        while ahead and time.monotonic() < until_s:
            message = self._consumer.poll(POLL_S)  # consume() would wait for as many as it is told
            if message is None:
                continue
            error = message.error()
            if error is not None and error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
                continue  # of the group that the client must name; nothing is asked of it
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise refused(error, topic=topic) or TransientError(f"reading {topic} failed: {error}")
            heard, offset = True, message.offset() or 0
            found += _taken(ahead, at, offset, NO_RECORD)
            if error is not None:
                break
            there = meant(partition, offset, message.timestamp()[1])
            why = TOMBSTONE if message.value() is None else None if there else NOT_REPLAYED
            found += _taken(ahead, offset, offset + 1, why)
            at = offset + 1
        return heard

    def _offsets(self, partitions: list[TopicPartition], spec: OffsetSpec) -> dict[int, int]:
        from confluent_kafka import IsolationLevel

        answers = self._admin.list_offsets(
            dict.fromkeys(partitions, spec),
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=REQUEST_S_MAX,
        )
        return {each.partition: int(answer.result().offset) for each, answer in answers.items()}


def _together(spans: Sequence[Span]) -> Iterator[list[Span]]:
    """Spans of one partition that are worth reading in one pass."""
    near: list[Span] = []
    for each in spans:
        if near and (each[0] != near[-1][0] or each[1] - near[-1][2] > NEAR_MAX):
            yield near
            near = []
        near.append(each)
    if near:
        yield near


def _runs(found: Sequence[tuple[Span, str]]) -> list[tuple[Span, str]]:
    """The same with neighbours of one reason as one."""
    runs: list[tuple[Span, str]] = []
    for (partition, first, end), reason in found:
        if runs and runs[-1][1] == reason and runs[-1][0][::2] == (partition, first):
            runs[-1] = (partition, runs[-1][0][1], end), reason
        else:
            runs.append(((partition, first, end), reason))
    return runs


def _taken(gaps: deque[Span], first: int, end: int, reason: str | None) -> Iterator[tuple[Span, str]]:
    """The parts of gaps in a stretch that holds no event, for a reason; None for one that does. Passed gaps go."""
    while gaps and gaps[0][1] < end:
        partition, low, high = gaps[0]
        if reason is not None and max(first, low) < min(end, high):
            yield (partition, max(first, low), min(end, high)), reason
        if high > end:
            return
        gaps.popleft()
