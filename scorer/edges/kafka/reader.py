"""Reading topics without a group: every partition, nothing committed. For watching, for the demo, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition

from scorer.core.errors import ConfigError, HaltError, TransientError
from scorer.core.ports import Report
from scorer.core.records import Closed, RecordBatch
from scorer.edges.kafka.credentials import Rotation
from scorer.edges.kafka.failures import REQUEST_S_MAX, Doors, refused
from scorer.edges.kafka.messages import as_batch, made, sparingly


class KafkaReader:
    """Reads committed records of some topics, from their beginning or from now on.

    `positions` say otherwise for single partitions: (topic, partition) to the next offset. With any, even none of them,
    offsets that are out of range are an error; without, reading starts over silently. With `to_end`, `ended` says of
    which partitions the end was met and at which offset: behind the last record may be a transaction's marker, which is
    never handed out.
    """

    def __init__(
        self,
        properties: Mapping[str, Any],
        topics: list[str],
        *,
        start: str,
        report: Report,
        positions: Mapping[tuple[str, int], int] | None = None,
        to_end: bool = False,
    ) -> None:
        self.ended: dict[tuple[str, int], int] = {}
        own = {
            "group.id": "unused",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": to_end,
        }
        strict = {} if positions is None else {"auto.offset.reset": "error"}
        otherwise = OFFSET_BEGINNING if start == "earliest" else OFFSET_END
        self._doors, self._rotation = Doors(), Rotation(properties)
        self._say_error = sparingly(report, "kafka.consumer_error")
        callback = {"error_cb": self._on_error}
        wait = {"fetch.wait.max.ms": 10 if to_end else 100}  # the broker waits so long before it says that none is left
        self._consumer = made(Consumer, {**wait, **properties, **own, **strict, **callback}, report)
        try:
            self._partitions = [
                TopicPartition(topic, partition, (positions or {}).get((topic, partition), otherwise))
                for topic in topics
                for partition in self._numbers(topic)
            ]
        except BaseException:
            self._consumer.close()
            raise
        self._consumer.assign(self._partitions)

    def read(self, rows_max: int, wait_ms_max: int) -> list[RecordBatch]:
        """Records that came, by topic, in offset order per partition; empty if none came in that time.

        Raises:
            RefusedError: we may not read it.
            TransientError: the client has failed, or the credentials have changed: a new reader takes them up.
            HaltError: a position that was given is no longer in its topic.
        """
        by_topic: dict[str, list[Any]] = {}
        first = self._consumer.poll(wait_ms_max / 1000)
        if first is None:
            if self._rotation.due():
                raise TransientError("the credentials for Kafka have changed")
            return []
        for message in [first, *self._consumer.consume(rows_max - 1, 0)]:
            error = message.error()
            if error is None:
                by_topic.setdefault(str(message.topic()), []).append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                self.ended[str(message.topic()), int(message.partition() or 0)] = int(message.offset() or 0)
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                raise HaltError(f"{message.topic()}/{message.partition()}: the position is out of range")
            elif error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
                continue  # the client must name a group, which need not be allowed: nothing is asked of it
            elif (refusal := refused(error, topic=str(message.topic()))) is not None:
                raise refusal
            elif error.fatal():
                raise TransientError(f"reading {message.topic()} failed: {error}")
        return [as_batch(topic, messages, Closed.IDLE) for topic, messages in by_topic.items()]

    def ends(self) -> dict[tuple[str, int], int]:
        """Topic and partition to the offset behind the last record, as it is now; without those that hold none."""
        return {place: high for place, (low, high) in self.bounds().items() if low < high}

    def bounds(self) -> dict[tuple[str, int], tuple[int, int]]:
        """Topic and partition to the first offset there is and the one behind the last, as they are now.

        Raises:
            RefusedError: we may not ask for it.
            TransientError: the broker does not answer.
        """
        try:
            return {
                (each.topic, each.partition): self._consumer.get_watermark_offsets(each, REQUEST_S_MAX)
                for each in self._partitions
            }
        except KafkaException as error:
            raise self._doors.failure(self._consumer, "Kafka does not answer", error) from error

    def partitions(self) -> dict[str, int]:
        """How many partitions each topic has by now.

        Raises:
            TransientError: the broker does not answer.
            ConfigError: a topic is gone.
        """
        return {topic: len(self._numbers(topic)) for topic in sorted({each.topic for each in self._partitions})}

    def close(self) -> None:
        """Ends reading."""
        self._consumer.close()

    def _numbers(self, topic: str) -> list[int]:
        try:
            found = self._doors.listed(self._consumer, topic).topics[topic]
        except KafkaException as error:
            raise self._doors.failure(self._consumer, "Kafka does not answer", error, topic=topic) from error
        if found.error is not None and (refusal := refused(found.error, topic=topic)) is not None:
            raise refusal
        if found.error is not None or not found.partitions:
            raise ConfigError(f"topic {topic} does not exist; run: scorer setup")
        return sorted(found.partitions)

    def _on_error(self, error: KafkaError) -> None:
        self._say_error(error)
        self._doors.heard(error)
        self._rotation.heard(error)
