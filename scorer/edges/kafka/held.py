"""Topics as the brokers hold them, for the checks at the start (core/topics.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined]

from scorer.core.errors import TransientError
from scorer.core.ports import Report
from scorer.core.topics import Held
from scorer.edges.kafka.admin import REQUEST_S_MAX
from scorer.edges.kafka.messages import made

INTERNAL = ("__consumer_offsets", "__transaction_state")


def held_topics(properties: Mapping[str, Any], names: list[str], report: Report) -> dict[str, Held]:
    """Those of the topics that are there, Kafka's internal ones among them.

    Raises:
        TransientError: no broker answers.
    """
    admin = made(AdminClient, properties, report)
    try:
        there = admin.list_topics(timeout=REQUEST_S_MAX).topics
        present = [name for name in names if name in there and there[name].error is None]
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in present]
        answers = admin.describe_configs(resources, request_timeout=REQUEST_S_MAX) if resources else {}
        settings = {resource.name: answer.result() for resource, answer in answers.items()}
    except KafkaException as error:
        raise TransientError(f"Kafka does not tell of its topics: {error.args[0]}") from error
    found = {}
    for name in present:
        copies = min(len(partition.replicas) for partition in there[name].partitions.values())
        found[name] = Held(name, copies, {key: entry.value for key, entry in settings[name].items()})
    return found


def transaction_ms_max(properties: Mapping[str, Any], report: Report) -> int | None:
    """The brokers' transaction.max.timeout.ms; None if this user may not ask for it.

    Raises:
        TransientError: no broker answers.
    """
    admin = made(AdminClient, properties, report)
    try:
        broker = str(next(iter(admin.list_topics(timeout=REQUEST_S_MAX).brokers)))
    except KafkaException as error:
        raise TransientError(f"Kafka does not answer: {error.args[0]}") from error
    resource = ConfigResource(ResourceType.BROKER, broker)
    try:
        answer = admin.describe_configs([resource], request_timeout=REQUEST_S_MAX)[resource].result()
    except KafkaException:
        return None
    return int(answer["transaction.max.timeout.ms"].value)
