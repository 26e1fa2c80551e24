"""What brokers refuse is named; credentials in files are noticed when they change."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException

from scorer.core.errors import ConfigError, RefusedError, ShutOutError, TransientError
from scorer.edges.kafka import credentials
from scorer.edges.kafka.credentials import REFUSED_S, Rotation, current, reread
from scorer.edges.kafka.failures import Doors, failure_of, is_shut, missing, refused, shut

REFUSED = KafkaError(KafkaError._AUTHENTICATION, "wrong password")


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "Write on topic t. Grant it: .* --operation Write --topic t$"),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, "Read on group g. Grant it: .* --operation Read --group g$"),
        (
            KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            "Write on transactional-id i. .* --operation Write --transactional-id i$",
        ),
        (
            KafkaError.CLUSTER_AUTHORIZATION_FAILED,
            "IdempotentWrite on cluster. .* --operation IdempotentWrite --cluster$",
        ),
        (KafkaError._AUTHENTICATION, "refuses the credentials: .* sasl.password"),
        (KafkaError._SSL, "Look at"),
        (KafkaError.INVALID_TRANSACTION_TIMEOUT, "transaction.timeout_ms is above .* transaction.max.timeout.ms"),
    ],
)
def test_a_refusal_names_what_is_missing_and_what_grants_it(code: int, says: str) -> None:
    error = refused(KafkaError(code), operation="Write", topic="t", group="g", transactional_id="i")
    with pytest.raises(RefusedError, match=says):
        raise error or AssertionError("no refusal")


def test_credentials_that_are_refused_are_told_from_rights_that_are_denied_as_they_may_be_changing() -> None:
    assert isinstance(refused(KafkaError(KafkaError._AUTHENTICATION)), ShutOutError)
    assert not isinstance(refused(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)), ShutOutError)
    doors, silent = Doors(), SimpleNamespace(poll=lambda _: 0)
    doors.heard(KafkaError(KafkaError._AUTHENTICATION))
    failure = doors.failure(silent, "no answer", KafkaException(KafkaError(KafkaError._TIMED_OUT)))
    assert isinstance(failure, ShutOutError)


def test_any_other_error_is_no_refusal() -> None:
    assert refused(KafkaError(KafkaError._TRANSPORT)) is None
    assert isinstance(failure_of(KafkaError(KafkaError._FAIL), "t"), TransientError)
    assert not is_shut(KafkaError(KafkaError._TRANSPORT, "Connection refused"))


@pytest.mark.parametrize(
    "code",
    [KafkaError._TRANSPORT, KafkaError._MAX_POLL_EXCEEDED, KafkaError.NOT_COORDINATOR, KafkaError._ALL_BROKERS_DOWN],
)
def test_what_the_client_gets_over_by_itself_is_no_failure_unless_it_is_fatal(code: int) -> None:
    assert failure_of(KafkaError(code), "t") is None
    assert isinstance(failure_of(KafkaError(code, "no more", fatal=True), "t"), TransientError)


def test_a_broker_that_refuses_our_certificate_has_shut_us_out_though_the_client_calls_it_a_broken_connection() -> None:
    text = "ssl://h:1/1: Receive failed: error:0A000416:SSL routines::ssl/tls alert certificate unknown"
    assert is_shut(KafkaError(KafkaError._TRANSPORT, text))


def test_a_wrong_password_is_told_from_a_wrong_certificate_though_both_come_over_ssl() -> None:
    assert "sasl.password" in shut("SASL_SSL://h:1/1: SASL authentication error: Authentication failed")
    assert "ssl.ca.location" in shut("SASL_SSL://h:1/1: SSL handshake failed: certificate verify failed")


def test_several_rights_of_one_resource_are_one_command() -> None:
    said = missing([("topic", "t", "Read"), ("topic", "t", "DescribeConfigs"), ("group", "g", "Read")])
    assert "Read on topic t, DescribeConfigs on topic t, Read on group g" in said
    assert said.count("kafka-acls --add") == 2
    assert "--operation Read --operation DescribeConfigs --topic t" in said


class Clock:
    """The time, moved by hand."""

    now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(credentials, "time", made)
    monkeypatch.setattr(credentials, "LOOK_EVERY_S", 0.0)
    return made


@pytest.mark.usefixtures("clock")
def test_a_password_that_stands_otherwise_in_its_file_by_now_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "password"

    def read() -> str:
        if not file.exists():
            raise ConfigError("no file")
        return file.read_text()

    file.write_text("old")
    properties = {"sasl.username": "u", "sasl.password": reread(read)}
    rotation = Rotation(properties)
    rotation.heard(REFUSED)
    assert not rotation.due()
    file.unlink()
    assert not rotation.due(), "it is being replaced"
    file.write_text("n")
    assert not rotation.due(), "it may be half of it"
    file.write_text("new")
    assert not rotation.due()
    assert rotation.due(), "it stands still"
    assert current(properties) == {"sasl.username": "u", "sasl.password": "new"}
    fixed = Rotation({"sasl.password": "of a variable"})
    fixed.heard(REFUSED)
    assert not fixed.due()


def test_a_new_password_is_looked_for_only_for_some_minutes_after_the_old_one_was_refused(clock: Clock) -> None:
    texts = ["old"]
    rotation = Rotation({"sasl.password": reread(lambda: texts[-1])})
    texts.append("new")
    rotation.heard(KafkaError(KafkaError._TRANSPORT))
    assert not rotation.due(), "the old one may still be the one that counts"
    rotation.heard(REFUSED)
    clock.now_s += REFUSED_S - 1
    assert [rotation.due(), rotation.due()] == [False, True]
    clock.now_s += 2
    assert not rotation.due()


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("name", ["ssl.ca.location", "ssl.certificate.location", "ssl.key.location"])
def test_a_file_that_the_client_reads_once_is_noticed_when_it_holds_something_else(tmp_path: Path, name: str) -> None:
    file = tmp_path / "tls.pem"
    file.write_text("old")
    rotation = Rotation({name: str(file), "ssl.keystore.location": ""})
    rotation.heard(REFUSED)
    assert not any(rotation.due() for _ in range(3))
    file.unlink()
    assert not any(rotation.due() for _ in range(3)), "it is being replaced"
    file.write_text("new")
    assert [rotation.due(), rotation.due()] == [False, True]


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("place", ["", "probe"])
def test_a_ca_that_is_no_file_keeps_no_new_password_from_being_noticed(tmp_path: Path, place: str) -> None:
    texts = ["old"]
    folder = place or str(tmp_path)  # librdkafka takes a folder of certificates, or looks for one by itself
    rotation = Rotation({"ssl.ca.location": folder, "sasl.password": reread(lambda: texts[-1])})
    rotation.heard(REFUSED)
    texts.append("new")
    assert [rotation.due(), rotation.due()] == [False, True]
