"""librdkafka's properties: what the guarantees rest on cannot be overridden, everything else can."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import Consumer, Producer

from scorer.core.errors import ConfigError
from scorer.edges.kafka.admin import KafkaAdmin
from scorer.edges.kafka.consumer import KafkaSource
from scorer.edges.kafka.messages import made, refusal
from scorer.edges.kafka.producer import KafkaPublisher
from scorer.edges.kafka.reader import KafkaReader
from scorer.edges.kafka.settings import IDLE_MS, PROFILES, consumer_properties, producer_properties, transactional

OWN = {"bootstrap.servers": "127.0.0.1:1"}
GUARANTEED_CONSUMER = {"enable.auto.commit": False, "enable.auto.offset.store": False, "auto.offset.reset": "error"}
GUARANTEED_PRODUCER = {"enable.idempotence": True, "message.timeout.ms": 0}


def silent(event: str, fields: Any) -> None:
    """Hears what is said, and forgets it."""


def test_a_value_that_is_none_for_its_property_is_told_of_without_a_client() -> None:
    for name, value in {"fetch.min.bytes": 5, "acks": "all", "enable.ssl.certificate.verification": True}.items():
        assert refusal(name, value) == ""
    for name, value in {"fetch.min.bytes": "abc", "acks": "some", "log_level": 99}.items():
        assert refusal(name, value).strip() == refusal(name, value) != ""


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_taken_by_librdkafka(profile: str) -> None:
    made(Consumer, consumer_properties(OWN, "g", profile), silent).close()
    made(Producer, producer_properties(OWN, profile, 1_000_000), silent)


def test_offsets_are_ours_alone_and_nothing_is_skipped_whatever_the_operator_sets() -> None:
    user = dict.fromkeys((*GUARANTEED_CONSUMER, "group.id"), "wrong")
    found = consumer_properties(user, "scorer.lead", "paced")
    assert {name: found[name] for name in GUARANTEED_CONSUMER} == GUARANTEED_CONSUMER
    assert found["group.id"] == "scorer.lead"


def test_retries_are_without_repeats_and_an_outage_never_drops_a_message_whatever_the_operator_sets() -> None:
    found = producer_properties(dict.fromkeys(GUARANTEED_PRODUCER, "wrong"), "paced", 1_000_000)
    assert {name: found[name] for name in GUARANTEED_PRODUCER} == GUARANTEED_PRODUCER


def test_records_are_checked_and_aborted_ones_not_read() -> None:
    found = consumer_properties({}, "g", "paced")
    assert (found["check.crcs"], found["isolation.level"]) == (True, "read_committed")


def test_keys_go_to_the_partitions_that_javas_producer_gives_them() -> None:
    assert producer_properties({}, "paced", 1)["partitioner"] == "murmur2_random"


def test_everything_else_is_the_operators() -> None:
    user = {"fetch.min.bytes": 7, "linger.ms": 9, "compression.type": "zstd", "message.max.bytes": 5000}
    assert user.items() - {("linger.ms", 9)} <= {*consumer_properties(user, "g", "paced").items()}
    assert user.items() <= producer_properties(user, "eager", 1_000_000).items()


def test_the_paced_profile_lets_the_broker_gather_and_the_eager_one_does_not() -> None:
    paced, eager = (consumer_properties({}, "g", profile) for profile in ("paced", "eager"))
    assert (paced["fetch.min.bytes"], paced["fetch.wait.max.ms"]) == (1_000_000, 2)
    assert eager["fetch.min.bytes"] == 1
    linger = [producer_properties({}, profile, 1)["linger.ms"] for profile in ("paced", "eager")]
    assert linger == [1, 1]


def test_batches_of_one_are_not_compressed() -> None:
    compression = [producer_properties({}, profile, 1)["compression.type"] for profile in ("paced", "eager")]
    assert compression == ["lz4", "none"]


@pytest.mark.parametrize("timeout_ms", [1_000, 10_000, 900_000])
@pytest.mark.parametrize("profile", PROFILES)
def test_a_transactions_properties_are_taken_and_a_connection_that_was_cut_is_made_again_at_once(
    profile: str, timeout_ms: int
) -> None:
    found = transactional(producer_properties(OWN, profile, 1_000_000), "i", timeout_ms)
    made(Producer, found, silent)
    assert found["enable.sparse.connections"] is False
    assert found["connections.max.idle.ms"] == IDLE_MS
    own = transactional({**producer_properties(OWN, profile, 1_000_000), "connections.max.idle.ms": 5}, "i", timeout_ms)
    assert own["connections.max.idle.ms"] == 5


def test_a_message_may_be_as_large_as_its_topic_takes_and_a_batch_as_the_smallest_of_them() -> None:
    found = producer_properties({}, "paced", 5_000_000, 4000)
    assert (found["message.max.bytes"], found["batch.size"]) == (5_000_000, 4000)
    assert producer_properties({}, "paced", 5_000_000, 5_000_000)["batch.size"] == 1_000_000


def test_partitions_are_given_out_cooperatively_and_by_the_broker_where_the_operator_wants_its_newer_protocol() -> None:
    classic = consumer_properties(OWN, "g", "paced")
    assert classic["partition.assignment.strategy"] == "cooperative-sticky"
    newer = consumer_properties({**OWN, "group.protocol": "consumer"}, "g", "paced")
    assert "partition.assignment.strategy" not in newer
    made(Consumer, newer, silent).close()


WRONG = {**OWN, "group.id": "g", "session.timeout.ms": "soon"}


@pytest.mark.parametrize(
    "make",
    [
        lambda: KafkaSource(WRONG, "t", start="earliest", ownership=None, report=silent),  # type: ignore[arg-type]
        lambda: KafkaPublisher({**OWN, "linger.ms": "soon"}, silent),
        lambda: KafkaReader(WRONG, ["t"], start="latest", report=silent),
        lambda: KafkaAdmin({**OWN, "socket.timeout.ms": "soon"}, silent),
    ],
    ids=["consumer", "producer", "reader", "admin"],
)
def test_a_value_that_librdkafka_does_not_take_is_the_operators(make: Any) -> None:
    with pytest.raises(ConfigError, match=r"\[kafka\] librdkafka does not take the properties: .*ms"):
        make()
