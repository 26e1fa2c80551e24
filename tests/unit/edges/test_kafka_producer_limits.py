"""What fits exactly and what does not, and which failure counts, over a client that sends nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from scorer.core.errors import RefusedError, TransientError
from scorer.core.offsets import InFlight
from scorer.core.records import DeadLetter, Headers, Outbound
from scorer.edges.kafka.producer import KafkaPublisher

QUEUE_MAX = 4
CLIENT_BYTES_MAX = 1_000


class Client:
    """Has room for so many messages until it is polled, and takes none that is too large, as librdkafka does."""

    def __init__(self) -> None:
        self.queued: list[Any] = []
        self.sent: list[Any] = []
        self.batches: list[int] = []

    def __len__(self) -> int:
        return len(self.queued)

    def produce(self, topic: str, *, on_delivery: Callable[..., None], **fields: Any) -> None:
        assert len(self.queued) < QUEUE_MAX
        if len(fields.get("value") or b"") > CLIENT_BYTES_MAX:
            raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
        self.queued.append((topic, on_delivery, fields))

    def produce_batch(self, topic: str, rows: Sequence[dict[str, Any]], on_delivery: Callable[..., None]) -> int:
        assert 0 < len(rows) <= QUEUE_MAX - len(self.queued)
        self.batches.append(len(rows))
        for row in rows:
            if len(row["value"]) > CLIENT_BYTES_MAX:
                row["_error"] = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
            else:
                self.queued.append((topic, on_delivery, row))
        return sum("_error" not in row for row in rows)

    def poll(self, _: float) -> int:
        for each in self.queued:
            each[1](None, SimpleNamespace(topic=lambda: "t"))
        self.sent += self.queued
        self.queued = []
        return 0

    flush = poll


def over(client: Client, bytes_max: Mapping[str, int] | None = None) -> KafkaPublisher:
    properties = {"bootstrap.servers": "127.0.0.1:1", "queue.buffering.max.messages": QUEUE_MAX}
    made = KafkaPublisher(properties, lambda *_: None, bytes_max)
    made.producer = client  # type: ignore[assignment]
    return made


def rows(sizes: Sequence[int], headers: list[Headers] | None = None) -> Outbound:
    return Outbound("t", np.arange(len(sizes)), [b"k"] * len(sizes), [b"v" * size for size in sizes], headers)


def test_the_fake_has_what_is_used_of_a_producer() -> None:
    assert all(hasattr(Producer, name) for name in ("produce", "produce_batch", "poll", "flush"))


@pytest.mark.parametrize(("headers", "room"), [(None, 19), ([("h", b"1")], 7)])
def test_a_topic_takes_what_fills_its_limit_and_no_byte_more(headers: Headers | None, room: int) -> None:
    client, batch = Client(), InFlight({}, 3)
    by = over(client, {"t": 120})  # 100 for the batch and the record, 1 for the key, 12 for the header
    outbound = rows([room, room + 1, room], None if headers is None else [headers] * 3)
    assert by.publish(outbound, (), batch) == [1]
    by.poll(0)
    assert batch.outstanding == 1
    assert by.publish(rows([room], None if headers is None else [headers]), (), InFlight({}, 1)) == []


@pytest.mark.parametrize(("headers", "room"), [([], 19), ([("h", b"1")], 7)])
def test_a_dead_letter_keeps_a_value_that_fills_its_topics_limit(headers: Headers, room: int) -> None:
    client = Client()
    by = over(client, {"l": 120})
    letters = [DeadLetter("l", b"k", b"v" * size, 0, headers) for size in (room, room + 1)]
    by.publish(rows([]), letters, InFlight({}, 2))
    assert ["value" in fields for _, _, fields in client.queued] == [True, False]


def test_no_more_is_handed_over_at_a_time_than_the_queue_has_room_for() -> None:
    client, batch = Client(), InFlight({}, 10)
    by = over(client)
    assert by.publish(rows([1] * 10), (), batch) == []
    by.poll(0)
    assert (client.batches, batch.outstanding) == ([4, 4, 2], 0)


def test_what_is_too_large_is_told_by_its_place_among_all_however_they_were_handed_over() -> None:
    sizes = [1, 1, 1, 1, 1, CLIENT_BYTES_MAX + 1, 1, CLIENT_BYTES_MAX + 1, 1]
    client, batch = Client(), InFlight({}, len(sizes))
    by = over(client)
    assert by.publish(rows(sizes), (), batch) == [5, 7]
    by.poll(0)
    assert batch.outstanding == 2


def test_of_several_failures_the_first_one_is_told() -> None:
    client = Client()
    by = over(client)
    by.publish(rows([1, 1]), (), InFlight({}, 2))
    for (_, reported, _), code in zip(
        client.queued, (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError._PURGE_QUEUE), strict=True
    ):
        reported(KafkaError(code), SimpleNamespace(topic=lambda: "t"))
    client.queued = []
    with pytest.raises(RefusedError, match="Write on topic t"):
        by.poll(0)


@pytest.mark.parametrize("fatal", [False, True])
def test_a_fatal_error_of_the_client_ends_the_process_and_any_other_is_got_over(fatal: bool) -> None:
    by = over(Client())
    by._on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN, "away", fatal))
    if not fatal:
        by.poll(0)
        return
    with pytest.raises(TransientError, match="fatal: "):
        by.poll(0)
