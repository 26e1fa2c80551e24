"""Predictions and dead letters on their way, to librdkafka's built-in cluster. Nothing here is about exactly once."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from confluent_kafka import KafkaError, KafkaException
from kafka.partitioner.default import murmur2

from scorer.core.errors import TransientError
from scorer.core.offsets import InFlight
from scorer.core.records import DeadLetter, Headers, Outbound
from scorer.edges.kafka.credentials import LOOK_EVERY_S, reread
from scorer.edges.kafka.producer import PUSHED_ROWS_MAX, KafkaPublisher
from scorer.edges.kafka.settings import producer_properties
from tests.unit.edges.mock_cluster import PARTITIONS, WAIT_S_MAX, Cluster, Reports

BYTES_MAX = 10_000
LONG_MS = 600


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    yield made
    made.close()


def publisher(cluster: Cluster, reports: Reports | None = None, **properties: Any) -> KafkaPublisher:
    bytes_max = properties.pop("bytes_max", None)
    told = [] if reports is None else reports
    user = {**cluster.own, **{name.replace("_", "."): value for name, value in properties.items()}}
    return KafkaPublisher(
        producer_properties(user, "eager", BYTES_MAX),
        lambda event, fields: told.append((event, dict(fields))),
        bytes_max,
    )


def rows(topic: str, values: Sequence[bytes], headers: list[Headers] | None = None, key: bytes = b"k") -> Outbound:
    return Outbound(topic, np.arange(len(values)), [key] * len(values), list(values), headers)


def nothing(topic: str) -> Outbound:
    return rows(topic, [])


def letter(topic: str, value: bytes | None = b"raw", key: bytes | None = b"k", **headers: bytes) -> DeadLetter:
    return DeadLetter(topic, key, value, 1_600_000_000_000, list(headers.items()))


def delivered(by: KafkaPublisher, batch: InFlight, left: int = 0) -> None:
    until = time.monotonic() + WAIT_S_MAX
    while batch.outstanding > left:
        assert time.monotonic() < until, batch
        by.poll(20)


def took_ms(by: KafkaPublisher, topic: str, count: int, letters: int = 0) -> float:
    batch, began = InFlight({}, count + letters), time.monotonic()
    by.publish(rows(topic, numbered(count)), [letter(topic)] * letters, batch)
    delivered(by, batch)
    return (time.monotonic() - began) * 1000


def numbered(count: int, size: int = 10) -> list[bytes]:
    return [str(number).encode().rjust(8, b"0").ljust(size) for number in range(count)]


def test_every_row_arrives_with_its_key_in_the_order_given_and_is_counted_down_once(cluster: Cluster) -> None:
    topic, by, batch = cluster.topic(), publisher(cluster), InFlight({}, 1000)
    assert by.publish(rows(topic, numbered(1000)), (), batch) == []
    delivered(by, batch)
    batches = cluster.read(topic, 1000)
    assert [value for each in batches for value in each.values] == numbered(1000)
    assert {key for each in batches for key in each.keys} == {b"k"}
    by.poll(50)
    assert batch.outstanding == 0


def test_nothing_is_counted_down_before_a_delivery_report_is_served(cluster: Cluster) -> None:
    topic, by, batch = cluster.topic(), publisher(cluster, linger_ms=0), InFlight({}, 3)
    by.publish(rows(topic, numbered(3)), (), batch)
    cluster.read(topic, 3)
    assert batch.outstanding == 3
    delivered(by, batch)


@pytest.mark.parametrize(
    ("count", "letters", "at_once"),
    [
        (1, 0, True),
        (PUSHED_ROWS_MAX, 0, True),
        (PUSHED_ROWS_MAX - 1, 1, True),
        (0, 1, True),
        (PUSHED_ROWS_MAX + 1, 0, False),
        (PUSHED_ROWS_MAX, 1, False),
    ],
)
def test_small_batches_are_sent_at_once(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, count: int, letters: int, at_once: bool
) -> None:
    monkeypatch.setattr("scorer.edges.kafka.producer.LINGER_MS", LONG_MS)
    monkeypatch.setattr("scorer.edges.kafka.producer.PUSH_S_MAX", LONG_MS / 3000)  # a thread may get no core for 1 ms
    topic, by = cluster.topic(), publisher(cluster, linger_ms=LONG_MS)
    took_ms(by, topic, 1)  # connects
    assert (took_ms(by, topic, count, letters) < LONG_MS / 2) == at_once


def test_an_operator_who_says_how_long_to_gather_is_kept_to(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scorer.edges.kafka.producer.LINGER_MS", LONG_MS)
    topic, by = cluster.topic(), publisher(cluster, linger_ms=LONG_MS + 1)
    took_ms(by, topic, 1)
    assert took_ms(by, topic, 1) > LONG_MS / 2


def test_batches_are_counted_down_each_for_itself(cluster: Cluster) -> None:
    topic, by, first, second = cluster.topic(), publisher(cluster), InFlight({}, 5), InFlight({}, 9)
    by.publish(rows(topic, numbered(5)), (), first)
    by.publish(rows(topic, numbered(7)), (), second)
    delivered(by, first)
    delivered(by, second, left=2)
    assert (first.outstanding, second.outstanding) == (0, 2)


def test_headers_go_along_where_there_are_any(cluster: Cluster) -> None:
    topic, by, batch = cluster.topic(), publisher(cluster), InFlight({}, 2)
    headers: list[Headers] = [[("traceparent", b"00-1")], []]
    assert by.publish(rows(topic, numbered(2), headers), (), batch) == []
    delivered(by, batch)
    (found,) = cluster.read(topic, 2)
    assert [found.headers[at] or [] for at in range(2)] == headers


def test_keys_are_spread_over_partitions_as_javas_producer_does(cluster: Cluster) -> None:
    topic, by, batch = cluster.topic(), publisher(cluster), InFlight({}, 50)
    keys = [f"customer-{number}".encode() for number in range(50)]
    by.publish(Outbound(topic, np.arange(50), keys, keys), (), batch)
    delivered(by, batch)
    found = {each.values[at]: int(each.partitions[at]) for each in cluster.read(topic, 50) for at in range(len(each))}
    assert found == {key: (murmur2(key) & 0x7FFFFFFF) % PARTITIONS for key in keys}


@pytest.mark.parametrize("with_headers", [False, True])
def test_rows_that_are_too_large_are_returned_stay_outstanding_and_cost_their_neighbours_nothing(
    cluster: Cluster, with_headers: bool
) -> None:
    topic, by, batch = cluster.topic(), publisher(cluster), InFlight({}, 6)
    values = [b"0", b"x" * (BYTES_MAX + 1), b"2", b"3", b"y" * (2 * BYTES_MAX), b"5"]
    headers: list[Headers] | None = [[("h", b"1")]] * 6 if with_headers else None
    assert by.publish(rows(topic, values, headers), (), batch) == [1, 4]
    delivered(by, batch, left=2)
    assert [value for each in cluster.read(topic, 4) for value in each.values] == [b"0", b"2", b"3", b"5"]
    by.publish(nothing(topic), [letter(topic), letter(topic)], batch)
    delivered(by, batch)


def test_a_topic_that_takes_less_than_the_client_returns_what_is_too_large_for_it(cluster: Cluster) -> None:
    topic = cluster.topic()
    by, batch = publisher(cluster, bytes_max={topic: 500}), InFlight({}, 3)
    assert by.publish(rows(topic, [b"0", b"x" * 600, b"2"]), (), batch) == [1]
    delivered(by, batch, left=1)
    assert [value for each in cluster.read(topic, 2) for value in each.values] == [b"0", b"2"]


@pytest.mark.parametrize(
    "properties",
    [{"queue_buffering_max_messages": 10}, {"queue_buffering_max_kbytes": 1}],
    ids=["by messages", "by bytes"],
)
@pytest.mark.parametrize("with_headers", [False, True])
def test_a_full_queue_waits_keeps_the_order_and_drops_nothing(
    cluster: Cluster, properties: dict[str, Any], with_headers: bool
) -> None:
    topic, by, batch = cluster.topic(), publisher(cluster, **properties), InFlight({}, 200)
    sizes = [400 if number % 3 else 20 for number in range(200)]  # small ones must not overtake large ones
    values = [value.ljust(size) for value, size in zip(numbered(200), sizes, strict=True)]
    headers: list[Headers] | None = [[]] * 200 if with_headers else None
    assert by.publish(rows(topic, values, headers), (), batch) == []
    delivered(by, batch)
    assert [value for each in cluster.read(topic, 200) for value in each.values] == values


def test_a_dead_letter_has_the_original_key_value_timestamp_and_headers(cluster: Cluster) -> None:
    topic, by, batch = cluster.topic(), publisher(cluster), InFlight({}, 2)
    by.publish(nothing(topic), [letter(topic, b"\xff\x00", None, a=b"1"), letter(topic, None, b"k2")], batch)
    delivered(by, batch)
    found = cluster.read(topic, 2)
    records = {
        each.values[at]: (each.keys[at], int(each.timestamps[at]), each.headers[at])
        for each in found
        for at in range(len(each))
    }
    assert records == {
        b"\xff\x00": (None, 1_600_000_000_000, [("a", b"1")]),
        None: (b"k2", 1_600_000_000_000, None),
    }


@pytest.mark.parametrize("limited", [False, True], ids=["the client's limit", "the topic's limit"])
def test_a_dead_letter_that_is_too_large_goes_without_its_value_but_with_its_sha256(
    cluster: Cluster, limited: bool
) -> None:
    topic, reports, batch = cluster.topic(), Reports(), InFlight({}, 1)
    by = publisher(cluster, reports, bytes_max={topic: 1000} if limited else None)
    value = b"z" * (2000 if limited else 2 * BYTES_MAX)
    by.publish(nothing(topic), [letter(topic, value, a=b"1")], batch)
    delivered(by, batch)
    (found,) = cluster.read(topic, 1)
    assert (found.keys[0], found.values[0]) == (b"k", None)
    assert found.headers[0] == [
        ("a", b"1"),
        ("scorer.value.omitted.bytes", str(len(value)).encode()),
        ("scorer.value.sha256", hashlib.sha256(value).hexdigest().encode()),
    ]
    assert reports == [("dead_letter.value_omitted", {"topic": topic, "bytes": len(value)})]


def test_a_dead_letter_whose_headers_alone_are_too_large_ends_the_process_and_says_what_to_raise(
    cluster: Cluster,
) -> None:
    topic, by = cluster.topic(), publisher(cluster)
    with pytest.raises(TransientError, match=rf"{topic} does not take a dead letter's headers; raise its max.message"):
        by.publish(nothing(topic), [letter(topic, a=b"h" * 2 * BYTES_MAX)], InFlight({}, 1))


def test_a_delivery_that_fails_for_good_is_raised_by_poll_and_never_counted_down() -> None:
    batch, reports = InFlight({}, 2), Reports()
    nowhere = {"bootstrap.servers": "127.0.0.1:1", "message.timeout.ms": 100}
    by = KafkaPublisher(nowhere, lambda event, fields: reports.append((event, dict(fields))))
    by.publish(rows("t", [b"0", b"1"]), (), batch)
    with pytest.raises(TransientError, match="a delivery failed: t: "):
        delivered(by, batch)
    assert batch.outstanding == 2
    with pytest.raises(TransientError):
        by.poll(0)
    by.forget()
    by.poll(0)  # what belonged to an aborted transaction fails no later one


def test_closing_waits_for_what_is_under_way_and_says_what_is_left(cluster: Cluster) -> None:
    topic, by, batch = cluster.topic(), publisher(cluster), InFlight({}, 100)
    by.publish(rows(topic, numbered(100)), (), batch)
    assert by.close(int(WAIT_S_MAX * 1000)) == 0
    assert batch.outstanding == 0
    away = KafkaPublisher({"bootstrap.servers": "127.0.0.1:1"}, lambda *_: None)
    away.publish(rows("t", [b"0"]), (), InFlight({}, 1))
    assert away.close(50) == 1


def refused_after_a_change(cluster: Cluster, **properties: str) -> KafkaPublisher:
    texts = ["old"]
    by = publisher(cluster, **properties, sasl_password=reread(lambda: texts[-1]))
    texts.append("new")
    by._on_error(KafkaError(KafkaError._AUTHENTICATION, "the old one is refused"))
    by.poll(0)
    time.sleep(LOOK_EVERY_S)  # it is to stand still
    return by


def test_a_new_password_ends_a_producer_whose_old_one_is_refused(cluster: Cluster) -> None:
    by = refused_after_a_change(cluster)
    for _ in range(2):  # also while what is pending is waited for at the end
        with pytest.raises(TransientError, match="a new process takes them up"):
            by.poll(0)


def test_a_new_password_does_not_end_a_producer_with_transactions_which_is_renewed_in_place(cluster: Cluster) -> None:
    refused_after_a_change(cluster, transactional_id="slot-0").poll(0)


def test_a_client_that_has_failed_for_good_is_an_outage_that_a_new_process_or_producer_gets_over(
    cluster: Cluster,
) -> None:
    class Failed:
        def __init__(self, client: Any) -> None:
            self.client = client

        def __len__(self) -> int:
            return len(self.client)

        def produce_batch(self, *places: Any, **named: Any) -> int:
            return int(self.client.produce_batch(*places, **named))

        def poll(self, _: float) -> int:
            raise KafkaException(KafkaError(KafkaError._FATAL, "denied"))

        flush = poll

    topic, by = cluster.topic(), publisher(cluster)
    by.producer = Failed(by.producer)  # type: ignore[assignment]
    for call in (lambda: by.publish(rows(topic, numbered(1)), (), InFlight({}, 1)), lambda: by.poll(0)):
        with pytest.raises(TransientError, match="the producer has failed"):
            call()
    assert by.close(10) == len(by.producer)
