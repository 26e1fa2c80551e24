"""How often a partition was begun at its position and never left in good order: the sign of a record that kills.

The count is the metadata of the group's committed offset, so it survives the machine. It is raised when a partition is
taken, cleared when it is left in good order, and gone with the next commit that moves the offset, which carries none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from scorer.core.ports import Report
from scorer.core.sandbox import mark, starts_of
from scorer.edges.kafka.positions import recorded

END_S_MAX = 2.0
"""A count that cannot be cleared costs a slow start at worst, and leaving has a budget."""


@dataclass(frozen=True, slots=True)
class Member:
    """Who a source is in its group, for a transaction.

    Attributes:
        metadata: confluent_kafka's.
        counted: the source's starts, if they are counted.
    """

    metadata: Any
    counted: Starts | None = None

    def sent(self, topic: str, offsets: Mapping[int, int]) -> tuple[list[TopicPartition], Any]:
        """Offsets to commit, and by whom."""
        kept = None if self.counted is None else self.counted.kept
        wanted = [TopicPartition(topic, each, at, kept(each, at) if kept else "") for each, at in offsets.items()]
        return wanted, self.metadata


class Starts:
    """The counts of one member's partitions."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._marked: dict[int, int] = {}
        self.unfinished: dict[int, int] = {}

    def begin(self, consumer: Consumer, positions: Mapping[int, int]) -> None:
        """Raises the counts of partitions that were just taken, from these positions.

        `unfinished` then says how often each was begun there before and not left in good order.

        Raises:
            TransientError: the broker does not say what was counted.
            KafkaException: it does not take the new counts.
        """
        raised = []
        for found in recorded(consumer, self._topic, list(positions)):
            position = positions[found.partition]
            before = starts_of(found.metadata) if found.offset == position else 0
            self.unfinished[found.partition], self._marked[found.partition] = before, position
            raised.append(TopicPartition(self._topic, found.partition, position, mark(before + 1)))
        if raised:
            consumer.commit(offsets=raised, asynchronous=False)

    def end(self, consumer: Consumer, partitions: Sequence[int]) -> None:
        """Clears the counts of partitions that are left in good order, where they still stand.

        Raises:
            KafkaException: the broker does not take it.
        """
        marked = [TopicPartition(self._topic, partition) for partition in partitions if partition in self._marked]
        if not marked:
            return
        stand = [
            TopicPartition(self._topic, found.partition, found.offset)
            for found in consumer.committed(marked, END_S_MAX)
            if found.offset == self._marked[found.partition] and starts_of(found.metadata)
        ]
        if stand:
            consumer.commit(offsets=stand, asynchronous=False)
        self.forget(partitions)

    def kept(self, partition: int, offset: int) -> str:
        """The metadata of a commit that does not move an offset: a count stands until one does."""
        if self._marked.get(partition) != offset:
            return ""
        return mark(self.unfinished.get(partition, 0) + 1)

    def end_well(self, consumer: Consumer, partitions: Sequence[int], report: Report) -> None:
        """The same; where the broker does not take it, `report` is told."""
        try:
            self.end(consumer, partitions)
        except KafkaException as error:
            report("kafka.commit_failed", {"error": str(error.args[0])})

    def forget(self, partitions: Sequence[int]) -> None:
        """These are no longer ours."""
        for partition in partitions:
            self._marked.pop(partition, None)
            self.unfinished.pop(partition, None)
