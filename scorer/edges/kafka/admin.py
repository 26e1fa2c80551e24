"""Topics: what is there, and making what is not."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, ConfigSource, NewTopic, ResourceType  # type: ignore[attr-defined]

from scorer.core.errors import ConfigError, ScorerError
from scorer.core.ports import Report
from scorer.edges.kafka.failures import REQUEST_S_MAX, Doors, refused
from scorer.edges.kafka.messages import made

LOOK_S = 0.05
_OWN = ConfigSource.DYNAMIC_TOPIC_CONFIG.value


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it is or as it is wanted.

    Attributes:
        name: its name.
        partitions: how many; -1 takes the broker's default when made.
        replication: copies; -1 takes the broker's default when made.
        settings: Kafka's own names, as text.
    """

    name: str
    partitions: int = -1
    replication: int = -1
    settings: Mapping[str, str] = field(default_factory=dict)


def admin_client(properties: Mapping[str, Any], doors: Doors, report: Report) -> Any:
    """An AdminClient whose refusals reach `doors`."""
    return made(AdminClient, {**properties, "error_cb": doors.heard}, report)


class KafkaAdmin:
    """Questions and orders about topics. Every call waits at most REQUEST_S_MAX."""

    def __init__(self, properties: Mapping[str, Any], report: Report) -> None:
        self._properties, self._report = properties, report
        self._open()

    def topics(self) -> dict[str, int]:
        """Every topic and its number of partitions.

        Raises:
            RefusedError: no broker lets us in.
            TransientError: no broker answers.
        """
        try:
            found = self._doors.listed(self._admin)
        except KafkaException as error:
            raise self._failure("Kafka does not answer", error) from error
        return {name: len(topic.partitions) for name, topic in found.topics.items() if topic.error is None}

    def incarnations(self, topics: list[str]) -> dict[str, tuple[str, int]]:
        """Per topic what tells it from one of the same name that was made anew, and its number of partitions.

        Raises:
            ConfigError: there is no such topic.
            RefusedError: no broker lets us in, or we may not look at it.
            TransientError: no broker answers.
        """
        found: dict[str, tuple[str, int]] = {}
        for name, future in self._admin.describe_topics(TopicCollection(topics), request_timeout=REQUEST_S_MAX).items():
            try:
                topic = future.result()
            except KafkaException as error:
                if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise ConfigError(f"topic {name} does not exist; run: scorer setup") from error
                about = {"operation": "Describe", "topic": name}
                raise self._failure("Kafka does not answer", error, **about) from error
            identity = blake2b(str(topic.topic_id).encode(), digest_size=4).hexdigest()
            found[name] = (identity, len(topic.partitions))
        return found

    def topic_id(self, topic: str) -> str:
        """What tells a topic from one of the same name that was made anew; see `incarnations`."""
        identity, _ = self.incarnations([topic])[topic]
        return identity

    def topic(self, name: str) -> tuple[Topic, dict[str, str]]:
        """A topic as it was made, with the settings that are its own; and all settings that hold for it.

        Raises:
            ConfigError: there is no such topic.
            RefusedError: we may not look at it.
            TransientError: no broker answers.
        """
        resource = ConfigResource(ResourceType.TOPIC, name)
        try:
            settings = self._admin.describe_configs([resource], request_timeout=REQUEST_S_MAX)[resource].result()
            partitions = self._doors.listed(self._admin, name).topics[name].partitions
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise ConfigError(f"topic {name} does not exist; run: scorer setup") from error
            about = {"operation": "DescribeConfigs", "topic": name}
            raise self._failure(f"settings of {name} cannot be read", error, **about) from error
        own = {key: each.value for key, each in settings.items() if each.source == _OWN}
        copies = min((len(each.replicas) for each in partitions.values()), default=-1)
        return Topic(name, len(partitions), copies, own), {key: each.value for key, each in settings.items()}

    def create(self, topics: list[Topic]) -> list[str]:
        """Makes topics that are not there yet, and waits until they can be used. Returns the names of those made."""
        wanted = [
            NewTopic(topic.name, topic.partitions, topic.replication, config=dict(topic.settings)) for topic in topics
        ]
        made: list[str] = []
        if not wanted:
            return made
        for name, future in self._admin.create_topics(wanted, request_timeout=REQUEST_S_MAX).items():
            try:
                future.result()
                made.append(name)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    denied = refused(error.args[0], operation="Create", topic=name)
                    raise denied or ConfigError(f"topic {name} cannot be made: {error.args[0]}") from error
        until_s = time.monotonic() + REQUEST_S_MAX
        while not self._usable(made) and time.monotonic() < until_s:  # a broker hears of them a little later
            time.sleep(LOOK_S)
        return made

    def _usable(self, names: list[str]) -> bool:
        try:
            there = self._doors.listed(self._admin).topics
        except KafkaException as error:
            raise self._failure("Kafka does not answer", error) from error
        found = [there[name] for name in names if name in there and there[name].error is None]
        led = [part.leader >= 0 for topic in found for part in topic.partitions.values()]
        return len(found) == len(names) and all(led)

    def delete(self, names: list[str]) -> None:
        """Deletes topics; those that are not there are passed over."""
        for name, future in self._admin.delete_topics(names, request_timeout=REQUEST_S_MAX).items():
            try:
                future.result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise ConfigError(f"topic {name} cannot be deleted: {error.args[0]}") from error

    def _open(self) -> None:
        self._doors = Doors()
        self._admin = admin_client(self._properties, self._doors, self._report)

    def _failure(self, what: str, error: KafkaException, **about: str) -> ScorerError:
        """The exception for a call that failed. Where we are not let in, the next call is with credentials as they are
        by then."""
        failure = self._doors.failure(self._admin, what, error, **about)
        if self._doors.why:
            self._open()
        return failure
