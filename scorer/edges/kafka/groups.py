"""What consumer groups have committed, asked and set from outside. Every call is bounded in time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, TopicPartition

from scorer.core.errors import TransientError
from scorer.core.ports import Report
from scorer.edges.kafka.admin import admin_client
from scorer.edges.kafka.failures import REQUEST_S_MAX, Doors, refused
from scorer.edges.kafka.messages import made
from scorer.edges.kafka.positions import committed


class KafkaGroups:
    """Positions of groups."""

    def __init__(self, properties: Mapping[str, Any], report: Report) -> None:
        self._properties, self._report = properties, report
        self._doors = Doors()
        self._admin = admin_client(properties, self._doors, report)
        self._members: dict[str, Consumer] = {}

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """Partition to the next offset, where the group has committed one; transactions that are open do not count.

        Raises:
            RefusedError: we may not ask for it.
            TransientError: Kafka does not answer.
        """
        consumer = self._member(group)
        try:
            there = self._doors.listed(consumer, topic).topics[topic]
        except KafkaException as error:
            what = f"Kafka does not say how far group {group} is"
            raise self._doors.failure(consumer, what, error, topic=topic) from error
        partitions = sorted(there.partitions)
        return committed(consumer, topic, partitions, REQUEST_S_MAX, group) if partitions else {}

    def _member(self, group: str) -> Consumer:
        """Who may ask for a group's positions; joins nothing.

        Not the admin client: in confluent-kafka 2.16 list_consumer_group_offsets ends the process where the group is
        not there, or its coordinator is still loading.
        """
        if group not in self._members:
            own = {"group.id": group, "enable.auto.commit": False, "isolation.level": "read_uncommitted"}
            callback = {"error_cb": self._doors.heard}
            self._members[group] = made(Consumer, {**self._properties, **own, **callback}, self._report)
        return self._members[group]

    def put(self, group: str, topic: str, offsets: Mapping[int, int]) -> None:
        """Gives a group without members its positions, all or none.

        Raises:
            RefusedError: we may not do that.
            TransientError: Kafka does not answer, or the group has members.
        """
        wanted = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
        asked = [ConsumerGroupTopicPartitions(group, wanted)]
        try:
            answers = self._admin.alter_consumer_group_offsets(asked, request_timeout=REQUEST_S_MAX)
            found = next(iter(answers.values())).result().topic_partitions
        except KafkaException as error:
            what = f"group {group} cannot be given its positions"
            raise refused(error.args[0], group=group) or self._doors.failure(self._admin, what, error) from error
        for each in found:
            if each.error is not None:
                raise TransientError(f"group {group} cannot be given its positions: {each.error}")
