"""What consumer groups have committed, asked and set from outside. Every call is bounded in time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition

from scorer.core.errors import TransientError
from scorer.core.ports import Report
from scorer.edges.kafka.admin import admin_client
from scorer.edges.kafka.failures import REQUEST_S_MAX, Doors, refused


class KafkaGroups:
    """Positions of groups."""

    def __init__(self, properties: Mapping[str, Any], report: Report) -> None:
        self._doors = Doors()
        self._admin = admin_client(properties, self._doors, report)

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """Partition to the next offset, where the group has committed one; transactions that are open do not count.

        Raises:
            RefusedError: we may not ask for it.
            TransientError: Kafka does not answer.
        """
        # Without partitions: asked for those of a group that is not there, confluent-kafka 2.16 ends the process.
        asked = [ConsumerGroupTopicPartitions(group)]
        try:
            answers = self._admin.list_consumer_group_offsets(asked, request_timeout=REQUEST_S_MAX)
            found = answers[group].result().topic_partitions
        except KafkaException as error:
            what = f"Kafka does not say how far group {group} is"
            raise refused(error.args[0], group=group) or self._doors.failure(self._admin, what, error) from error
        return {each.partition: each.offset for each in found if each.topic == topic and each.offset >= 0}

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
