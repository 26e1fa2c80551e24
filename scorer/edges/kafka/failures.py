"""What an error of Kafka's means: it passes, somebody must act, or only a new process gets over it.

Guarantee: where the brokers refuse us, the message names the resource and the operation that is missing, or says that
it is the credentials or the certificates; it never holds one.
"""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaError, KafkaException

from scorer.core.errors import RefusedError, ScorerError, ShutOutError, TransientError

REQUEST_S_MAX = 10.0
"""How long a question to Kafka may take."""
SHUT_S_MAX = 3.0
"""How long a broker may let us in after another has refused to."""
_PASSING = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._DESTROY_BROKER,  # it is no longer part of the cluster
        KafkaError._TRANSPORT,
        KafkaError._TIMED_OUT,
        KafkaError._RESOLVE,
        KafkaError._MAX_POLL_EXCEEDED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
    }
)
"""Errors that librdkafka gets over by itself."""
_GIVEN_UP = frozenset({KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID})
_SHUT = frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._SSL})
_RESOURCES = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "group",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "transactional-id",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "cluster",
}
"""What an error is about, as kafka-acls calls it."""
DEFAULTS = {"topic": "Read", "group": "Read", "transactional-id": "Write", "cluster": "IdempotentWrite"}


class GivenUpError(TransientError):
    """The group has given this member up: what it was assigned is another's, and its client joins anew by itself."""


def unanswered(error: KafkaError, what: str) -> TransientError:
    """The exception for a request of a group's member that came to nothing.

    Args:
        error: the client's.
        what: which request, for people.
    """
    return (GivenUpError if error.code() in _GIVEN_UP else TransientError)(f"{what}: {error}")


def failure_of(error: KafkaError, topic: str, group: str = "") -> ScorerError | None:
    """The exception that an error of a consumer comes to; None if the client gets over it by itself."""
    refusal = refused(error, topic=topic, group=group)
    if refusal is not None:
        return refusal
    if error.fatal() or error.code() not in _PASSING:
        return TransientError(f"the consumer of {topic} failed: {error}")
    return None


def refused(
    error: KafkaError, *, operation: str = "", topic: str = "", group: str = "", transactional_id: str = ""
) -> RefusedError | None:
    """The exception for an error by which brokers refuse us; None for any other.

    Args:
        error: the client's.
        operation: what was tried on the topic, by Kafka's name; reading if it is not said.
        topic, group, transactional_id: what it was tried on, as far as the caller knows.
    """
    if error.code() in _SHUT:
        return ShutOutError(shut(error.str()))
    if error.code() == KafkaError.INVALID_TRANSACTION_TIMEOUT:
        return RefusedError(
            "transaction.timeout_ms is above the broker's transaction.max.timeout.ms: lower the one or raise the other"
        )
    kind = _RESOURCES.get(error.code())
    if kind is None:
        return None
    name = {"topic": topic, "group": group, "transactional-id": transactional_id, "cluster": ""}[kind]
    needed = operation if operation and kind == "topic" else DEFAULTS[kind]
    return RefusedError(missing([(kind, name, needed)]))


def missing(rights: list[tuple[str, str, str]]) -> str:
    """For people: which rights are missing, and what grants them.

    Args:
        rights: kind of resource as kafka-acls calls it, its name ("" if unknown), operation by Kafka's name.
    """
    named = ", ".join(f"{operation} on {kind}{f' {name}' if name else ''}" for kind, name, operation in rights)
    by_resource: dict[tuple[str, str], list[str]] = {}
    for kind, name, operation in rights:
        by_resource.setdefault((kind, name), []).append(f"--operation {operation}")
    commands = [
        f"kafka-acls --add --allow-principal User:NAME {' '.join(wanted)} --{kind}{f' {name}' if name else ''}"
        for (kind, name), wanted in by_resource.items()
    ]
    return f"Kafka denies this user {named}. Grant it: {'; '.join(commands)}"


def shut(text: str) -> str:
    """For people: why no connection to a broker comes about, from librdkafka's own words."""
    if "SSL" in text and "authentication error" not in text:
        return (
            f"no trusted connection to Kafka: {text}. Look at ssl.ca.location, and at whether the certificates of the "
            "broker, and of ssl.certificate.location, are in force"
        )
    return f"Kafka refuses the credentials: {text}. Look at sasl.username and sasl.password"


def is_shut(error: KafkaError) -> bool:
    """Whether a broker refuses our credentials or certificate, or we refuse its own."""
    # A broker that refuses our certificate says so behind the handshake: to the client a connection was cut.
    return error.code() in _SHUT or (error.code() == KafkaError._TRANSPORT and "SSL routines" in error.str())


class Doors:
    """Remembers why no broker lets one client in.

    librdkafka tells that to its error callback alone; a call meanwhile runs into its time-out, which says nothing.
    """

    def __init__(self) -> None:
        self.why = ""

    def heard(self, error: KafkaError) -> None:
        """The client's error callback."""
        if is_shut(error):
            self.why = shut(error.str())

    def listed(self, client: Any, topic: str | None = None) -> Any:
        """What `list_topics` of the client gives; not waited for to the end where no broker lets us in.

        Raises:
            KafkaException: no broker answers; `failure` says why.
        """
        try:
            return client.list_topics(topic, timeout=SHUT_S_MAX)
        except KafkaException:
            client.poll(0)
            if self.why:
                raise
        return client.list_topics(topic, timeout=REQUEST_S_MAX - SHUT_S_MAX)

    def failure(self, client: Any, what: str, error: KafkaException, **about: str) -> ScorerError:
        """The exception for a call that failed. `about` is what `refused` takes besides the error."""
        refusal = refused(error.args[0], **about)
        if refusal is not None:
            return refusal
        client.poll(0)  # serves the error callback; nothing else does
        return ShutOutError(self.why) if self.why else TransientError(f"{what}: {error.args[0]}")
