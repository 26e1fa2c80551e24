"""What a consumer's error means: it passes, somebody must act, or only a new process gets over it."""

from __future__ import annotations

from confluent_kafka import KafkaError

from scorer.core.errors import ConfigError, ScorerError, TransientError

_PASSING = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,
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
_FORBIDDEN = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError._AUTHENTICATION,
    }
)


def failure_of(error: KafkaError, topic: str) -> ScorerError | None:
    """The exception that an error of a consumer comes to; None if the client gets over it by itself."""
    if error.code() in _FORBIDDEN:
        return ConfigError(f"{topic}: {error}")
    if error.fatal() or error.code() not in _PASSING:
        return TransientError(f"the consumer of {topic} failed: {error}")
    return None
