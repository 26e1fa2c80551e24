"""Topics as the brokers hold them, for the checks at the start (core/topics.py)."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined]

from scorer.core.errors import TransientError
from scorer.core.ports import Report
from scorer.core.topics import Held
from scorer.edges.kafka.admin import admin_client
from scorer.edges.kafka.failures import REQUEST_S_MAX, Doors, refused
from scorer.edges.kafka.messages import made

INTERNAL = ("__consumer_offsets", "__transaction_state")


def held_topics(properties: Mapping[str, Any], names: list[str], report: Report) -> dict[str, Held]:
    """Those of the topics that are there, Kafka's internal ones among them.

    Raises:
        RefusedError: no broker lets us in, or we may not look at them.
        TransientError: no broker answers.
    """
    doors = Doors()
    admin = admin_client(properties, doors, report)
    name, settings = "", {}
    try:
        there = doors.listed(admin).topics
        present = [name for name in names if name in there and there[name].error is None]
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in present]
        answers = admin.describe_configs(resources, request_timeout=REQUEST_S_MAX) if resources else {}
        for resource, answer in answers.items():
            name = resource.name
            if name not in INTERNAL or not _denied(answer):  # of those only a look was promised
                settings[name] = answer.result()
    except KafkaException as error:
        about = {"operation": "DescribeConfigs", "topic": name}
        raise doors.failure(admin, "Kafka does not tell of its topics", error, **about) from error
    found = {}
    for name, values in settings.items():
        copies = min(len(partition.replicas) for partition in there[name].partitions.values())
        found[name] = Held(name, copies, {key: entry.value for key, entry in values.items()})
    return found


def _denied(answer: Future[Any]) -> bool:
    error = answer.exception()
    return isinstance(error, KafkaException) and refused(error.args[0]) is not None


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
