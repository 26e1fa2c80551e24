"""Predictions and dead letters to Kafka. What is delivered is known from delivery reports alone.

Order: predictions are handed over in the order given, so per output partition they are published in that order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from scorer.core.errors import ScorerError, TransientError
from scorer.core.offsets import InFlight
from scorer.core.ports import Report
from scorer.core.records import DeadLetter, Headers, Outbound
from scorer.edges.kafka.credentials import CHANGED, Rotation
from scorer.edges.kafka.failures import refused
from scorer.edges.kafka.messages import made, sparingly
from scorer.edges.kafka.settings import LINGER_MS

QUEUE_WAIT_S = 0.05
PUSHED_ROWS_MAX = 400
"""Less than what is handed over at a time at full speed, also by `scorer send`: that must not wait for each."""
PUSH_S_MAX = 0.001
OVERHEAD_BYTES = 100
"""What a record batch (61 bytes) and its one record (36 at most) add to key, value and headers. Kafka, KIP-98."""
HEADER_OVERHEAD_BYTES = 10


class KafkaPublisher:
    """Implements ports.Publisher. Driven by one thread; delivery reports are served inside poll and publish.

    Args:
        properties: librdkafka's. One with transactions is renewed after a failure and takes up new credentials then;
            of any other, `poll` says that it must end for them.
        report: for log lines.
        bytes_max: what a topic takes, by its name. The client has but one limit for all of them, and what is over a
            topic's own is refused by the broker only after it was handed over, which would be the end of this process.
        on_error, on_log: told of every error of the client, and of every line of its log, in the thread that polls.

    Attributes:
        producer: the client itself, for transactions.
    """

    def __init__(
        self,
        properties: Mapping[str, Any],
        report: Report,
        bytes_max: Mapping[str, int] | None = None,
        on_error: Callable[[KafkaError], None] = lambda _: None,
        on_log: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._bytes_max = bytes_max or {}
        self._pushes = properties.get("linger.ms") == LINGER_MS
        self._queue_rows_max = int(properties.get("queue.buffering.max.messages", 100_000))
        self._failure: ScorerError | None = None
        self._rotation = Rotation({} if "transactional.id" in properties else properties)
        self._report, self._say_error = report, sparingly(report, "kafka.producer_error")
        self._tell_error = on_error
        self.producer = made(Producer, {**properties, "error_cb": self._on_error}, report, on_log)

    def publish(self, outbound: Outbound, letters: Sequence[DeadLetter], batch: InFlight) -> list[int]:
        """See ports.Publisher. Waits while the client's queue is full.

        Raises:
            TransientError: an earlier delivery has failed for good.
        """
        reported = self._counter(batch)
        too_large = self._hand_over(outbound, letters, reported)
        if self._pushes and len(outbound) + len(letters) <= PUSHED_ROWS_MAX:
            self._push()
        return too_large

    def _hand_over(self, outbound: Outbound, letters: Sequence[DeadLetter], reported: Callable[..., None]) -> list[int]:
        for letter in letters:
            self._publish_letter(letter, reported)
        too_large = self._too_large(outbound)
        if outbound.headers is None and not too_large:
            return self._publish_rows(outbound, reported)
        for at, (key, value) in enumerate(zip(outbound.keys, outbound.values, strict=True)):
            if at in too_large:
                continue
            headers = None if outbound.headers is None else outbound.headers[at]
            if not self._enqueue(outbound.topic, {"key": key, "value": value, "headers": headers}, reported):
                too_large.add(at)
        return sorted(too_large)

    def poll(self, wait_ms: int) -> None:
        """See ports.Publisher."""
        self._served(self.producer.poll, wait_ms / 1000)
        if self._failure is None and self._rotation.due():
            self._failure = TransientError(CHANGED)
        if self._failure is not None:
            raise self._failure.with_traceback(None)  # else each time that it is raised would add to it

    def forget(self) -> None:
        """Drops what came of earlier messages: they belonged to a transaction that was aborted."""
        with suppress(KafkaException):
            self.producer.poll(0)
        self._failure = None

    def let_go(self) -> Producer:
        """Gives the client away, and is of no use then: it and its callbacks, which are ours, would hold each other."""
        client = self.producer
        del self.producer
        return client

    def close(self, wait_ms_max: int) -> int:
        """Waits for what is under way. Returns how many messages are still not confirmed."""
        with suppress(TransientError):  # then nothing of it will ever be
            self._served(self.producer.flush, wait_ms_max / 1000)
        return len(self.producer)

    def _push(self) -> None:
        """Has everything sent now, and waits until it is confirmed or a millisecond has passed.

        So a small batch goes in one request a partition, as with `linger.ms` 1, and as early as with 0, where its first
        message often goes alone; and the next one gathers while the broker works, which has the cores to itself. At
        3,000 leads/s of the paced profile the 99th percentile is 5.9 ms and not 7.4, at 15,000/s 7.7 and not 10.5, for
        the same CPU; at 1,000/s for a tenth more (docs/why.md). Large batches need no push: their requests are full. A
        `linger.ms` of the operator's own is kept to.
        """
        self._served(self.producer.flush, PUSH_S_MAX)

    def _served(self, serve: Callable[[float], int], wait_s: float) -> None:
        """Lets the client serve its callbacks.

        Raises:
            TransientError: it has failed for good, as one that was fenced or lost its rights.
        """
        try:
            serve(wait_s)
        except KafkaException as error:
            raise TransientError(f"the producer has failed: {error.args[0]}") from error

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
            taken = self.producer.produce_batch(outbound.topic, rows, on_delivery=reported)
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

    def _too_large(self, outbound: Outbound) -> set[int]:
        """The indices of predictions that their topic does not take."""
        limit = self._bytes_max.get(outbound.topic)
        if limit is None or not len(outbound):
            return set()
        if outbound.headers is None and _longest(outbound.keys) + _longest(outbound.values) + OVERHEAD_BYTES <= limit:
            return set()
        headers = outbound.headers or [[]] * len(outbound)
        sizes = map(_wire_bytes, outbound.keys, outbound.values, headers)
        return {at for at, size in enumerate(sizes) if size > limit}

    def _publish_letter(self, letter: DeadLetter, reported: Callable[..., None]) -> None:
        fields = {"key": letter.key, "headers": letter.headers, "timestamp": letter.timestamp}
        limit = self._bytes_max.get(letter.topic)
        fits = limit is None or _wire_bytes(letter.key, letter.value, letter.headers) <= limit
        if fits and self._enqueue(letter.topic, {**fields, "value": letter.value}, reported):
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
                self.producer.produce(topic, on_delivery=reported, **fields)
            except BufferError:
                self.poll(int(QUEUE_WAIT_S * 1000))
                continue
            except KafkaException as error:
                if error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                    return False
                denied = refused(error.args[0], operation="Write", topic=topic)
                raise denied or TransientError(f"{topic} takes no messages: {error.args[0]}") from error
            return True

    def _room(self) -> int:
        """How many messages the queue has room for; waits until there is any."""
        while (out := len(self.producer)) >= self._queue_rows_max:  # handed over, and not reported on
            self.poll(int(QUEUE_WAIT_S * 1000))
        return self._queue_rows_max - out

    def _counter(self, batch: InFlight) -> Callable[..., None]:
        def reported(error: KafkaError | None, message: Message) -> None:
            if error is None:
                batch.outstanding -= 1
            elif self._failure is None:  # callbacks only take notes; poll raises
                refusal = refused(error, operation="Write", topic=str(message.topic()))
                self._failure = refusal or TransientError(f"a delivery failed: {message.topic()}: {error}")

        return reported

    def _on_error(self, error: KafkaError) -> None:
        self._say_error(error)
        self._tell_error(error)
        self._rotation.heard(error)
        if error.fatal():
            self._failure = refused(error) or TransientError(f"a delivery failed: fatal: {error}")


def _longest(texts: Sequence[bytes]) -> int:
    return max(map(len, texts))


def _wire_bytes(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    """The most that a message takes in a batch of its own, uncompressed."""
    named = sum(len(name.encode()) + len(text or b"") + HEADER_OVERHEAD_BYTES for name, text in headers)
    return len(key or b"") + len(value or b"") + named + OVERHEAD_BYTES
