"""From settings to a running stream: builds real edges, proves the bundle, hands everything to the worker."""

from __future__ import annotations

import gc
import os
import signal
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Thread
from typing import Any

from scorer.cli.exits import ExitCode
from scorer.cli.settings import Settings, Stream
from scorer.cli.stopping import stopped_by_signals
from scorer.core.bundle import Bundle
from scorer.core.compose import Origin
from scorer.core.errors import ConfigError, ContractError
from scorer.core.model import RUNTIME, Model, load_model
from scorer.core.ports import SubjectRegistry
from scorer.core.proof import event_problems, prediction_problems, signature_problems
from scorer.core.rehearsal import golden_problems, invariance_problems
from scorer.core.schema import WriterSchema, writer_schema
from scorer.core.scoring import Recipe
from scorer.core.state import State, Status
from scorer.edges.bundles import card_front_matter, read_bundle
from scorer.edges.clock import SystemClock
from scorer.edges.kafka.admin import KafkaAdmin
from scorer.edges.kafka.consumer import KafkaSource
from scorer.edges.kafka.producer import KafkaPublisher
from scorer.edges.kafka.settings import consumer_properties, producer_properties
from scorer.edges.machine import cpu_class, scorer_version
from scorer.edges.metrics import Metrics
from scorer.edges.status_server import StatusServer
from scorer.services.patience import StoppedError, wait_out
from scorer.services.schemas import Schemas
from scorer.services.worker import Limits, Worker

LIVE = "live"
STUCK_MS_MAX = 2_000
"""How much longer than its grace a stop may take: for the last commit, and for leaving the group."""
Report = Callable[[str, Mapping[str, Any]], None]


def open_registry(settings: Settings, report: Report) -> Any:
    """The registry that the settings name: over HTTP with a disk cache, or a folder. Implements both registry ports."""
    if settings.registry.folder is not None:
        from scorer.edges.schema_folder import SchemaFolder

        return SchemaFolder(settings.registry.folder)
    from scorer.edges.registry import HttpRegistry, RegistryAccess
    from scorer.edges.schema_cache import CachedRegistry

    chosen = settings.registry
    access = RegistryAccess(
        chosen.url,
        user=chosen.username or "",
        password=chosen.password.reveal() if chosen.password else "",
        ca_file=str(chosen.ca or ""),
        timeout_ms=chosen.timeout_ms_max,
    )
    return CachedRegistry(HttpRegistry(access), chosen.url, chosen.cache.expanduser(), report)


def subject(topic: str) -> str:
    """The subject of a topic's values, by topic name."""
    return f"{topic}-value"


def prove(bundle: Bundle, events: list[tuple[str, WriterSchema]], writer: WriterSchema, rows_max: int) -> Model:
    """Loads a bundle and proves it against its schemas, its golden rows and its own batch-mates.

    Args:
        bundle: what is to serve.
        events: every version of the event's schema as (label, schema), oldest first.
        writer: the prediction's schema.
        rows_max: the largest batch that it will see.

    Raises:
        ContractError: with every problem found.
    """
    model = load_model(bundle)
    problems = signature_problems(model.interface)
    if not problems:
        problems = event_problems(model.interface, events) + prediction_problems(model.interface, writer)
    if not problems:
        card = card_front_matter(bundle.card)
        exact = card.get("runtime") == RUNTIME and card.get("cpu_class") == cpu_class()
        latest = events[-1][1]
        problems = golden_problems(model, latest, exact) + invariance_problems(model, latest, rows_max)
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise ContractError(f"bundle {bundle.place} cannot serve:{listed}")
    return model


def versions(registry: SubjectRegistry, topic: str) -> list[tuple[str, WriterSchema]]:
    """Every admitted version of a topic's schema, oldest first.

    Raises:
        ConfigError: none is registered.
        ContractError: one of them is not admitted.
    """
    found = registry.versions(subject(topic))
    if not found:
        raise ConfigError(f"no schema is registered for {subject(topic)}; run: scorer setup")
    return [
        (f"{subject(topic)} version {number} (id {schema_id})", writer_schema(schema_id, text))
        for number, (schema_id, text) in enumerate(found, 1)
    ]


def origin(lane: str = LIVE) -> Origin:
    """Who scores: this build on this machine."""
    return Origin(lane, scorer_version(), RUNTIME, cpu_class())


def run_stream(settings: Settings, stream: Stream, report: Report) -> int:
    """Serves one stream until a signal comes. Returns the exit code.

    Raises:
        ConfigError, ContractError: it must not start like this.
        TransientError: an outage that only a new process gets over.
    """
    stop, clock = stopped_by_signals(), SystemClock()
    _end_in_time(settings.shutdown.grace_ms_max + STUCK_MS_MAX, report)
    metrics = Metrics(stream.name)

    def changed(state: State, detail: str) -> None:
        metrics.state(state)
        report(f"stream.{state}", {"why": detail} if detail else {})

    def waiting(event: str, fields: Mapping[str, Any]) -> None:
        status.beat(clock.ticks_ms())
        status.enter(State.WAITING, str(fields.get("why", "")))
        report(event, fields)

    status = Status(changed)
    status.beat(clock.ticks_ms())
    server = status_server(settings, stream, status, metrics, clock)
    try:
        registry = open_registry(settings, report)
        recipe = wait_out(lambda: _recipe(settings, stream, registry), stop, waiting)
        metrics.serving(recipe.model, recipe.origin)
        report("stream.serving", {"model": recipe.model.bundle.label, "sha256": recipe.model.bundle.sha256})
        bytes_max = wait_out(lambda: _bytes_max(settings, stream, report), stop, waiting)
        most, least = max(bytes_max.values()), min(bytes_max.values())
        producer = producer_properties(settings.kafka_for("producer"), stream.profile, most, least)
        publisher = KafkaPublisher(producer, report, bytes_max)
        worker = Worker(
            group=f"{settings.group}.{stream.name}",
            dead_letter_topic=stream.dead_letters,
            publisher=publisher,
            schemas=Schemas(registry, report, grace_ms_max=settings.registry.grace_ms_max),
            recipe=recipe,
            clock=clock,
            observer=metrics,
            report=report,
            status=status,
            stop=stop,
            limits=_limits(settings),
        )
        consumer = consumer_properties(settings.kafka_for("consumer"), worker.group, stream.profile)
        source = KafkaSource(consumer, stream.from_topic, start=stream.start, ownership=worker, report=report)
        gc.collect()
        gc.freeze()  # what is there now stays: no collection need walk it while a batch waits
        try:
            worker.run(source)
        finally:
            source.close()
    except StoppedError:
        report("stream.stopped", {"why": "told to stop while waiting for a neighbour"})
    finally:
        if server is not None:
            server.close()
    return 0


def _end_in_time(budget_ms: int, report: Report) -> None:
    """Ends the process at the second signal, and when a stop has used up its budget, whatever call it is stuck in.

    A call into librdkafka lasts as long as a broker hangs, and Python's own signal handlers wait until it returns. So a
    thread listens to what the interpreter writes at the very moment of a signal. Nothing is lost: what is not confirmed
    is not committed.
    """
    heard, told = socket.socketpair()
    told.setblocking(False)
    signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)

    def listen(heard: socket.socket, _: socket.socket) -> None:
        heard.recv(1)  # the first: Python's own handler sets the flag
        heard.settimeout(budget_ms / 1000)
        try:
            second = heard.recv(1)[0]
        except TimeoutError:
            report("stop.overdue", {"why": f"a neighbour has not answered for {budget_ms} ms"})
            os._exit(ExitCode.UNREACHABLE)
        os._exit(128 + second)

    Thread(target=listen, args=(heard, told), name="signals", daemon=True).start()


def status_server(
    settings: Settings, stream: Stream, status: Status, metrics: Metrics, clock: SystemClock
) -> StatusServer | None:
    """The health and metrics server of a stream; None if it is switched off."""
    wanted = settings.metrics
    if wanted.port < 0:
        return None
    port = wanted.port + settings.streams.index(stream) if wanted.port else 0
    return StatusServer(wanted.host, port, status=status, exposition=metrics.exposition, ticks_ms=clock.ticks_ms)


def _recipe(settings: Settings, stream: Stream, registry: SubjectRegistry) -> Recipe:
    events = versions(registry, stream.from_topic)
    _, writer = versions(registry, stream.to_topic)[-1]
    model = prove(read_bundle(Path(stream.bundle)), events, writer, settings.batch.rows_max)
    return Recipe(model, writer, stream.to_topic, origin(), trace=stream.headers == "trace")


def _bytes_max(settings: Settings, stream: Stream, report: Report) -> dict[str, int]:
    """What each of the two topics that are written to takes; also proves that all three topics are there."""
    chosen = settings.kafka_for("producer").get("message.max.bytes")
    admin = KafkaAdmin(settings.kafka_for("admin"), report)
    there = admin.topics()
    lacking = [topic for topic in (stream.from_topic, stream.to_topic, stream.dead_letters) if topic not in there]
    if lacking:
        raise ConfigError(f"Kafka has no topic {', '.join(lacking)}; run: scorer setup")
    written = (stream.to_topic, stream.dead_letters)
    return {topic: int(chosen) if chosen is not None else admin.message_bytes_max(topic) for topic in written}


def _limits(settings: Settings) -> Limits:
    return Limits(
        settings.batch.limits,
        settings.rejections.limit,
        settings.commit.every_ms,
        settings.shutdown.revoke_ms_max,
        settings.shutdown.grace_ms_max,
    )
