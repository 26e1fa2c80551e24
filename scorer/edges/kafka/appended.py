"""How far topics have been written, whatever of it may be read by now. Belongs to no group and commits nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

from scorer.core.ports import Report
from scorer.edges.kafka.admin import admin_client
from scorer.edges.kafka.failures import REQUEST_S_MAX, Doors


class Appended:
    """Where topics end with all that was appended, open and aborted transactions included."""

    def __init__(self, properties: Mapping[str, Any], report: Report) -> None:
        self._doors = Doors()
        self._admin = admin_client(properties, self._doors, report)

    def ends(self, topic: str, partitions: list[int]) -> dict[int, int]:
        """Partition to the offset behind the last record.

        Raises:
            RefusedError: we may not ask for it.
            TransientError: Kafka does not answer.
        """
        asked = {TopicPartition(topic, number): OffsetSpec.latest() for number in partitions}  # type: ignore[no-untyped-call]
        try:
            answers = self._admin.list_offsets(
                asked, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=REQUEST_S_MAX
            )
            return {each.partition: int(answer.result().offset) for each, answer in answers.items()}
        except KafkaException as error:
            what = f"Kafka does not say where {topic} ends"
            raise self._doors.failure(self._admin, what, error, topic=topic) from error
