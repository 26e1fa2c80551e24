"""How far a member of a group is behind.

The client knows where a partition ends from what it fetches. Of one that is paused it fetches nothing, so then a broker
is asked.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from confluent_kafka import Consumer, KafkaException, TopicPartition

ASK_S_MAX = 0.5
REST_S = 10.0
"""For how long nobody is asked after a question without an answer."""
_LATEST = -1


class Lag:
    """Lag of one consumer's partitions. Driven by the thread that polls it."""

    def __init__(self, consumer: Consumer, topic: str) -> None:
        self._consumer, self._topic = consumer, topic
        self._ask_at_s = 0.0

    def behind(self, floors: Mapping[int, int], paused: bool) -> dict[int, int]:
        """Partition to the number of offsets between the next one to hand out and the end, as last heard."""
        asked = self._ends(floors) if paused else {}
        found = {}
        for partition, floor in floors.items():
            _, heard = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), cached=True)
            end = max(heard, asked.get(partition, heard))
            if end >= 0:
                found[partition] = max(0, end - floor)
        return found

    def _ends(self, partitions: Mapping[int, int]) -> dict[int, int]:
        if not partitions or time.monotonic() < self._ask_at_s:
            return {}
        wanted = [TopicPartition(self._topic, partition, _LATEST) for partition in partitions]
        try:
            found = self._consumer.offsets_for_times(wanted, timeout=ASK_S_MAX)
        except KafkaException:
            self._ask_at_s = time.monotonic() + REST_S
            return {}
        return {each.partition: each.offset for each in found if each.error is None}
