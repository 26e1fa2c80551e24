"""From settings to a stream's deployments: their topic, the bundles that they name, and the first of them."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping
from functools import partial
from threading import Event
from typing import Any

from scorer.cli.settings import Settings, Stream
from scorer.cli.wiring import recipe_of, versions
from scorer.core.bundle import Bundle
from scorer.core.deployments import Entry, History, Identity, Intent, encode_entry, entry_of
from scorer.core.errors import ConfigError, ContractError, TransientError
from scorer.core.offsets import InFlight
from scorer.core.ports import Clock, Report, SchemaRegistry, SubjectRegistry
from scorer.core.records import Outbound, no_rows
from scorer.core.scoring import Recipe
from scorer.core.strict import record_decoder
from scorer.core.wire import PREFIX_BYTES
from scorer.edges.bundles import find_bundle, read_bundle
from scorer.edges.clock import SystemClock
from scorer.edges.kafka.admin import KafkaAdmin
from scorer.edges.kafka.producer import KafkaPublisher
from scorer.edges.kafka.reader import KafkaReader
from scorer.edges.kafka.settings import producer_properties
from scorer.edges.locations import Location, absolute, as_location, within
from scorer.edges.machine import scorer_version
from scorer.services.deployment_log import PARTITION, DeploymentLog
from scorer.services.loading import Bundles
from scorer.services.output import Output
from scorer.services.rollout import Rollout
from scorer.services.schemas import Schemas

READ_MS = 200
CONFIRMED_MS_MAX = 30_000


class Registry(SchemaRegistry, SubjectRegistry):
    """Both ports of a registry."""


def group_of(settings: Settings, stream: Stream) -> str:
    """The consumer group of a stream, by which the deployments know it."""
    return f"{settings.group}.{stream.name}"


def open_log(settings: Settings, registry: Registry, stop: Event, report: Report) -> DeploymentLog:
    """The topic of deployments, from its beginning.

    Raises:
        ConfigError: no schema is registered for it.
        RefusedError: the registry does not let us in; once it is read, that is waited out.
        TransientError: the registry does not answer.
    """
    topic = settings.deployments.topic
    versions(registry, topic)

    def opened(offset: int) -> KafkaReader:
        consumer = settings.kafka_for("consumer")
        at = {(topic, PARTITION): offset}
        return KafkaReader(consumer, [topic], start="earliest", report=report, positions=at, to_end=True)

    return DeploymentLog(topic, opened, Schemas(registry, report), SystemClock(), report, stop)


def read_entries(settings: Settings, registry: Registry, stop: Event, report: Report) -> list[Entry]:
    """Every entry of the deployments that is there now; fewer where told to stop.

    Raises:
        ConfigError: there is no such topic.
        TransientError: Kafka or the registry does not answer.
    """
    log = open_log(settings, registry, stop, report)
    found: list[Entry] = []
    try:
        end = log.end()
        while log.position < end and not stop.is_set():
            found += log.read(READ_MS)
    finally:
        log.close()
    return found


def publish_entry(settings: Settings, entry: Entry, registry: SubjectRegistry, report: Report) -> None:
    """Publishes an entry and waits until it is confirmed.

    Raises:
        ConfigError: the schema that is registered does not know such an entry yet, or none is.
        TransientError: Kafka does not confirm it.
    """
    topic = settings.deployments.topic
    _, schema = versions(registry, topic)[-1]
    value = encode_entry(entry, schema, scorer_version())
    if not _is_told(entry, record_decoder(schema)(value, PREFIX_BYTES)):
        raise ConfigError(f"the schema of {topic} that is registered is an older one; run: scorer setup")
    publisher = KafkaPublisher(producer_properties(settings.kafka_for("producer"), "eager", 1_000_000), report)
    told, clock = InFlight({}, 1), SystemClock()
    until_ms = clock.ticks_ms() + CONFIRMED_MS_MAX
    publisher.publish(Outbound(topic, no_rows(1), [entry.group.encode()], [value]), [], told)
    while told.outstanding and clock.ticks_ms() < until_ms:
        publisher.poll(READ_MS)
    if told.outstanding:
        raise TransientError(f"Kafka has not confirmed the deployment within {CONFIRMED_MS_MAX // 1000} s")


def _is_told(entry: Entry, record: Mapping[str, Any]) -> bool:
    """Whether a record says all of an entry: an older schema leaves out what it does not know."""
    try:
        return entry_of(record, entry.number) == entry
    except KeyError:
        return False


def open_rollout(settings: Settings, stream: Stream, registry: Registry, stop: Event, report: Report) -> Rollout:
    """A worker's view of its stream's deployments; nothing is read yet.

    Raises:
        ConfigError: the input topic is not there, or the bundle of the settings cannot be read.
        ContractError: the bundle of the settings is none.
        TransientError: Kafka does not answer.
    """

    def topic_id() -> str:
        if settings.checks.weak == "off":  # librdkafka's built-in cluster does not know
            return ""
        return KafkaAdmin(settings.kafka_for("admin"), report).topic_id(stream.from_topic)

    def topic_id_now() -> str:
        try:
            return topic_id()
        except ConfigError as error:  # it was there at the start, so it is just being made anew
            raise TransientError(str(error)) from error

    return Rollout(
        history=History(group_of(settings, stream), topic_id()),
        topic_id=topic_id_now,
        first=first_intent(settings, stream),
        log=open_log(settings, registry, stop, report),
        bundles=Bundles(partial(load_recipe, settings, stream, registry), report, stop),
        who=whoami(),
        clock=SystemClock(),
        report=report,
        stop=stop,
    )


def first_intent(settings: Settings, stream: Stream) -> Intent:
    """The bundle of the settings: the first intent of a stream that has none."""
    why = "the stream had no deployment"
    return intent_for(settings, stream, read_bundle(stream.bundle), stream.bundle, why, None)


def intent_for(
    settings: Settings, stream: Stream, bundle: Bundle, place: Location, why: str, effective_ms: int | None
) -> Intent:
    """A bundle is to be live on a stream; see Intent."""
    return Intent(
        group_of(settings, stream),
        stream.name,
        Identity(bundle.contract.name, bundle.contract.version, bundle.sha256),
        absolute(place),
        whoami(),
        why,
        SystemClock().now_ms(),
        stream.from_topic,
        effective_ms,
    )


def live_recipe(settings: Settings, stream: Stream, registry: Registry, stop: Event, report: Report) -> Recipe:
    """What is to score a stream now: the newest deployment that is in effect, else the bundle of the settings.

    Raises:
        ConfigError, ContractError: it cannot be had, or cannot serve.
        TransientError: Kafka or the registry does not answer.
    """
    rollout = open_rollout(settings, stream, registry, stop, report)
    try:
        rollout.read_all()
    finally:
        rollout.log.close()
    now_ms = rollout.clock.now_ms()
    intents = [each for _, each in sorted(rollout.history.intents.items())]
    found = [each for each in intents if each.effective_ms is None or each.effective_ms <= now_ms]
    return load_recipe(settings, stream, registry, found[-1] if found else rollout.first)


def load_recipe(settings: Settings, stream: Stream, registry: SubjectRegistry, intent: Intent) -> Recipe:
    """Loads, proves and warms the bundle of an intent; see loading.Load."""
    places = [as_location(intent.place)]
    if settings.deployments.bundles is not None:
        places.append(within(settings.deployments.bundles, intent.bundle.name, intent.bundle.version))
    return recipe_of(settings, stream, registry, find_bundle(places, intent.bundle.sha256))


def begin(rollout: Rollout) -> None:
    """Reads the history up to now and loads what is wanted, so that a worker that cannot serve does not start.

    Raises:
        ConfigError, ContractError: the stream has no deployment yet, and the bundle of the settings cannot serve.
        TransientError: Kafka, the registry or the bundle's place does not answer.
    """
    rollout.read_all()
    wanted = rollout.history.wanted
    try:
        rollout.bundles.load_now(rollout.first if wanted is None else wanted)
    except (ConfigError, ContractError):
        if wanted is None:
            raise
    if wanted is not None and wanted.bundle != rollout.first.bundle:
        told = {"settings": rollout.first.bundle.label, "deployed": wanted.bundle.label}
        rollout.report("deployment.settings_differ", {**told, "advice": "deployments count; see: scorer deploy"})


def output_of(settings: Settings, stream: Stream, registry: SubjectRegistry, clock: Clock) -> Output:
    """Where a stream's records go.

    Raises:
        ConfigError: no schema is registered for the deployments.
        TransientError: the registry does not answer.
    """
    topic = settings.deployments.topic
    _, schema = versions(registry, topic)[-1]
    return Output(group_of(settings, stream), stream.dead_letters, topic, schema, scorer_version(), clock)


def whoami() -> str:
    """User, host and process, for the auditor."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no such user in this container
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()} pid {os.getpid()}"
