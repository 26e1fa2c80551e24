"""Predictions and dead letters to Kafka. What is delivered is known from delivery reports alone.

Order: predictions are handed over in the order given, so per output partition they are published in that order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from scorer.core.errors import TransientError
from scorer.core.offsets import InFlight
from scorer.core.records import DeadLetter, Outbound
from scorer.edges.kafka.messages import Report, librdkafka_log

QUEUE_WAIT_S = 0.05


class KafkaPublisher:
    """Implements ports.Publisher. Driven by one thread; delivery reports are served inside poll and publish."""

    def __init__(self, properties: Mapping[str, Any], report: Report) -> None:
        self._queue_rows_max = int(properties.get("queue.buffering.max.messages", 100_000))
        self._out = 0  # messages handed over and not yet reported on
        self._failure: str | None = None
        self._report = report
        self._producer = Producer({**properties, "error_cb": self._on_error}, logger=librdkafka_log(report))

    def publish(self, outbound: Outbound, letters: Sequence[DeadLetter], batch: InFlight) -> list[int]:
        """See ports.Publisher. Waits while the client's queue is full.

        Raises:
            TransientError: an earlier delivery has failed for good.
        """
        reported = self._counter(batch)
        for letter in letters:
            self._publish_letter(letter, reported)
        if outbound.headers is None:
            return self._publish_rows(outbound, reported)
        too_large: list[int] = []
        for at, (key, value) in enumerate(zip(outbound.keys, outbound.values, strict=True)):
            fields = {"key": key, "value": value, "headers": outbound.headers[at]}
            if not self._enqueue(outbound.topic, fields, reported):
                too_large.append(at)
        return too_large

    def poll(self, wait_ms: int) -> None:
        """See ports.Publisher."""
        self._producer.poll(wait_ms / 1000)
        if self._failure is not None:
            raise TransientError(f"a delivery failed: {self._failure}")

    def close(self, wait_ms_max: int) -> int:
        """Waits for what is under way. Returns how many messages are still not confirmed."""
        return int(self._producer.flush(wait_ms_max / 1000))

    def _publish_rows(self, outbound: Outbound, reported: Callable[..., None]) -> list[int]:
        too_large: list[int] = []
        start = 0
        while start < len(outbound):
            room = self._room()
            stop = min(len(outbound), start + room)
            rows = [
                {"key": key, "value": value}
                for key, value in zip(outbound.keys[start:stop], outbound.values[start:stop], strict=True)
            ]
            taken = self._producer.produce_batch(outbound.topic, rows, on_delivery=reported)
            self._out += taken
            if taken < len(rows):
                too_large += self._retry(outbound, start, rows, reported)
            start = stop
        return too_large

    def _retry(
        self, outbound: Outbound, start: int, rows: list[dict[str, Any]], reported: Callable[..., None]
    ) -> list[int]:
        """Hands over again, one by one, what produce_batch left out; it says so only in the row's `_error`."""
        too_large: list[int] = []
        for at, row in enumerate(rows, start):
            if "_error" not in row:
                continue
            if not self._enqueue(outbound.topic, {"key": row["key"], "value": row["value"]}, reported):
                too_large.append(at)
        return too_large

    def _publish_letter(self, letter: DeadLetter, reported: Callable[..., None]) -> None:
        fields = {"key": letter.key, "headers": letter.headers, "timestamp": letter.timestamp}
        if self._enqueue(letter.topic, {**fields, "value": letter.value}, reported):
            return
        value = letter.value or b""
        headers = [
            *letter.headers,
            ("scorer.value.omitted.bytes", str(len(value)).encode()),
            ("scorer.value.sha256", hashlib.sha256(value).hexdigest().encode()),
        ]
        self._report("dead_letter.value_omitted", {"topic": letter.topic, "bytes": len(value)})
        if not self._enqueue(letter.topic, {**fields, "headers": headers}, reported):
            raise TransientError(f"{letter.topic} does not take a dead letter's headers; raise its max.message.bytes")

    def _enqueue(self, topic: str, fields: dict[str, Any], reported: Callable[..., None]) -> bool:
        """Hands over one message, waiting for room. Returns False if it is too large."""
        while True:
            self._room()
            try:
                self._producer.produce(topic, on_delivery=reported, **fields)
            except BufferError:
                self.poll(int(QUEUE_WAIT_S * 1000))
                continue
            except KafkaException as error:
                if error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                    return False
                raise TransientError(f"{topic} takes no messages: {error.args[0]}") from error
            self._out += 1
            return True

    def _room(self) -> int:
        """How many messages the queue has room for; waits until there is any."""
        while self._out >= self._queue_rows_max:
            self.poll(int(QUEUE_WAIT_S * 1000))
        return self._queue_rows_max - self._out

    def _counter(self, batch: InFlight) -> Callable[..., None]:
        return partial(self._on_delivery, batch)

    def _on_delivery(self, batch: InFlight, error: KafkaError | None, message: Message) -> None:
        self._out -= 1
        if error is None:
            batch.outstanding -= 1
        elif self._failure is None:  # callbacks only take notes; poll raises
            self._failure = f"{message.topic()}: {error}"

    def _on_error(self, error: KafkaError) -> None:
        self._report("kafka.producer_error", {"error": str(error)})
        if error.fatal():
            self._failure = f"fatal: {error}"
