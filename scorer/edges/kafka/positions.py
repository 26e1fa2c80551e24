"""Where a member of a group starts to read: its own record of it if it keeps one, else what the group has committed,
else what `start` says.

Guarantee: no answer is never taken for "nothing committed", and no lost range is passed over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from scorer.core.errors import HaltError
from scorer.edges.kafka.failures import REQUEST_S_MAX, refused, unanswered

PAUSE_S = 0.2
ANSWER_S_MAX = 60.0
"""How long an answer is waited for inside a rebalance. A transaction that somebody left open hides a group's offsets
until the broker aborts it: for its time-out, and for up to 10 s more until the broker looks again."""
GROUP_REMEDY = "Set the group's position with kafka-consumer-groups --reset-offsets"
STORED_REMEDY = "Delete the stored position of that partition to read what is left,"
_INVALID = -1001
_DEFINITE = frozenset(
    {
        KafkaError._DESTROY,
        KafkaError._FATAL,
        KafkaError._INVALID_ARG,
        KafkaError._STATE,
        KafkaError._UNKNOWN_GROUP,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.INVALID_GROUP_ID,
        KafkaError.UNKNOWN_MEMBER_ID,
    }
)
"""What asking again does not change. All else may pass: a broker that goes away has many ways to say so."""

T = TypeVar("T")
Stored = Callable[[Sequence[int]], Mapping[int, int]]
"""Partitions to the next offsets of those that have been read before. Raises TransientError."""


def committed(
    consumer: Consumer, topic: str, partitions: Sequence[int], answer_s_max: float | None = None, group: str = ""
) -> dict[int, int]:
    """Partition to next offset, where the group has committed one.

    Raises:
        TransientError: nobody says.
        RefusedError: we may not ask for it.
    """
    found = recorded(consumer, topic, partitions, answer_s_max, group)
    return {each.partition: each.offset for each in found if each.offset != _INVALID}


def recorded(
    consumer: Consumer, topic: str, partitions: Sequence[int], answer_s_max: float | None = None, group: str = ""
) -> list[TopicPartition]:
    """What the group has committed of each partition, metadata included.

    Raises:
        TransientError: nobody says.
    """

    def ask() -> list[TopicPartition]:
        found: list[TopicPartition] = consumer.committed(
            [TopicPartition(topic, partition) for partition in partitions], REQUEST_S_MAX
        )
        for each in found:
            if each.error is not None:
                raise KafkaException(each.error)
        return found

    return _answered(ask, f"committed offsets of {topic}", topic, answer_s_max, group)


def _answered(ask: Callable[[], T], what: str, topic: str, answer_s_max: float | None = None, group: str = "") -> T:
    """Asks until somebody answers.

    Raises:
        TransientError: nobody did in that time, or the answer is no.
        RefusedError: we have no right to the answer.
    """
    until_s = time.monotonic() + (ANSWER_S_MAX if answer_s_max is None else answer_s_max)
    while True:
        try:
            return ask()
        except KafkaException as error:
            refusal = refused(error.args[0], topic=topic, group=group)
            definite = refusal is not None or error.args[0].fatal() or error.args[0].code() in _DEFINITE
            if definite or time.monotonic() > until_s:
                raise refusal or unanswered(error.args[0], f"no {what}") from error
            time.sleep(PAUSE_S)


def starting(
    consumer: Consumer, topic: str, partitions: Sequence[int], start: str, stored: Stored | None = None
) -> dict[int, int]:
    """Partition to the offset where reading starts, for all of them.

    Args:
        consumer: a member of the group.
        topic: what it reads.
        partitions: which of it.
        start: "earliest" or "latest", for a group that has never read of the topic. Partitions that were added since
            begin with their first record.
        stored: the reader's own record; what the group has committed then counts for nothing.

    Raises:
        HaltError: offsets from there on are gone; the message names the range.
        TransientError: the broker does not answer.
    """
    known = dict(stored(partitions)) if stored is not None else committed(consumer, topic, partitions)
    if start == "latest" and not known.keys() >= set(partitions):
        known = _begun_at_latest(consumer, topic)
    positions: dict[int, int] = {}
    for partition in partitions:
        if partition not in known:
            positions[partition], _ = _extent(consumer, topic, partition)
            continue
        positions[partition] = known[partition]
        remedy = GROUP_REMEDY if stored is None else STORED_REMEDY
        lost = lost_range(consumer, topic, partition, known[partition], remedy)
        if lost is not None:
            raise HaltError(lost)
    return positions


def _begun_at_latest(consumer: Consumer, topic: str) -> dict[int, int]:
    """Partition to next offset, of the whole topic: what the group has committed; its ends if that is nothing.

    Ends are committed at once, those of others' partitions as well: a crash before the first commit would move the
    start, and only a group that has a start in every partition can tell one that was added later.
    """

    def ask() -> list[int]:
        found = consumer.list_topics(topic, timeout=REQUEST_S_MAX).topics[topic]
        if found.error is not None:
            raise KafkaException(found.error)
        return sorted(found.partitions)

    every = _answered(ask, f"partitions of {topic}", topic)
    known = committed(consumer, topic, every)
    if known:
        return known
    ends = {partition: _extent(consumer, topic, partition)[1] for partition in every}
    wanted = [TopicPartition(topic, partition, end) for partition, end in ends.items()]
    _answered(lambda: consumer.commit(offsets=wanted, asynchronous=False), f"starting positions for {topic}", topic)
    return ends


def lost_range(consumer: Consumer, topic: str, partition: int, position: int, remedy: str = GROUP_REMEDY) -> str | None:
    """For people: which offsets are gone, if reading cannot go on at a position; None if it can.

    Raises:
        TransientError: nobody says.
    """
    low, high = _extent(consumer, topic, partition)
    if low <= position <= high:
        return None
    lost = f"offsets {position} to {low - 1} are gone" if position < low else f"it ends at {high}, before {position}"
    return f"{topic}/{partition}: {lost}; the topic was truncated or made anew. {remedy} and start again"


def _extent(consumer: Consumer, topic: str, partition: int) -> tuple[int, int]:
    def ask() -> tuple[int, int]:
        found: tuple[int, int] = consumer.get_watermark_offsets(TopicPartition(topic, partition), REQUEST_S_MAX)
        return found

    return _answered(ask, f"extent of {topic}/{partition}", topic)
