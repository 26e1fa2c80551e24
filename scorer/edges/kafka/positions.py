"""Where a member of a group starts to read: its own record of it if it keeps one, else what the group has committed,
else what `start` says.

Guarantee: no answer is never taken for "nothing committed", and no lost range is passed over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from scorer.core.errors import HaltError, TransientError

REQUEST_S_MAX = 10.0
UNSTABLE_S_MAX = 60.0
"""A transaction that somebody left open hides a group's offsets until the broker aborts it: for its time-out, and for
up to 10 s more until the broker looks again."""
GROUP_REMEDY = "Set the group's position with kafka-consumer-groups --reset-offsets"
STORED_REMEDY = "Delete the stored position of that partition to read what is left,"
_INVALID = -1001
_PASSING = frozenset({KafkaError.UNSTABLE_OFFSET_COMMIT, KafkaError._TIMED_OUT})

Stored = Callable[[Sequence[int]], Mapping[int, int]]
"""Partitions to the next offsets of those that have been read before. Raises TransientError."""


def committed(consumer: Consumer, topic: str, partitions: Sequence[int]) -> dict[int, int]:
    """Partition to next offset, where the group has committed one.

    Raises:
        TransientError: nobody says.
    """
    wanted = [TopicPartition(topic, partition) for partition in partitions]
    until_s = time.monotonic() + UNSTABLE_S_MAX
    while True:
        try:
            found = consumer.committed(wanted, REQUEST_S_MAX)
            wrong = next((each.error for each in found if each.error is not None), None)
            if wrong is None:
                return {each.partition: each.offset for each in found if each.offset != _INVALID}
        except KafkaException as error:
            wrong = error.args[0]
        if wrong.code() not in _PASSING or time.monotonic() > until_s:
            raise TransientError(f"no committed offsets of {topic}: {wrong}")


def starting(
    consumer: Consumer, topic: str, partitions: Sequence[int], start: str, stored: Stored | None = None
) -> dict[int, int]:
    """Partition to the offset where reading starts, for all of them.

    Args:
        consumer: a member of the group.
        topic: what it reads.
        partitions: which of it.
        start: "earliest" or "latest", for those that were never read.
        stored: the reader's own record; what the group has committed then counts for nothing.

    Raises:
        HaltError: offsets from there on are gone; the message names the range.
        TransientError: the broker does not answer.
    """
    known = dict(stored(partitions)) if stored is not None else committed(consumer, topic, partitions)
    positions: dict[int, int] = {}
    fresh: list[TopicPartition] = []
    try:
        for partition in partitions:
            if partition in known:
                positions[partition] = known[partition]
                remedy = GROUP_REMEDY if stored is None else STORED_REMEDY
                lost = lost_range(consumer, topic, partition, known[partition], remedy)
                if lost is not None:
                    raise HaltError(lost)
                continue
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), REQUEST_S_MAX)
            positions[partition] = low if start == "earliest" else high
            fresh.append(TopicPartition(topic, partition, positions[partition]))
        if fresh and start == "latest":  # else a crash before the first commit would move the start
            consumer.commit(offsets=fresh, asynchronous=False)
    except KafkaException as error:
        raise TransientError(f"no starting positions for {topic}: {error.args[0]}") from error
    return positions


def lost_range(consumer: Consumer, topic: str, partition: int, position: int, remedy: str = GROUP_REMEDY) -> str | None:
    """For people: which offsets are gone, if reading cannot go on at a position; None if it can."""
    low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), REQUEST_S_MAX)
    if low <= position <= high:
        return None
    lost = f"offsets {position} to {low - 1} are gone" if position < low else f"it ends at {high}, before {position}"
    return f"{topic}/{partition}: {lost}; the topic was truncated or made anew. {remedy} and start again"
