"""From settings to a running stream: builds real edges, proves the bundle, hands everything to the worker."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scorer.cli.settings import Settings, Stream
from scorer.cli.start_checks import check_topics
from scorer.cli.status import patience, status_server, told_status
from scorer.cli.stopping import end_in_time, stopped_by_signals
from scorer.core.bundle import Bundle
from scorer.core.compose import Origin
from scorer.core.errors import ConfigError, ContractError, ScorerError
from scorer.core.model import RUNTIME, Model, load_model
from scorer.core.ports import Report, SubjectRegistry
from scorer.core.proof import event_problems, prediction_problems, signature_problems
from scorer.core.rehearsal import golden_problems, invariance_problems
from scorer.core.schema import WriterSchema, writer_schema
from scorer.core.scoring import Recipe
from scorer.edges.bundles import card_front_matter, read_bundle
from scorer.edges.clock import SystemClock
from scorer.edges.failpoints import VARIABLE as FAILPOINT
from scorer.edges.failpoints import failpoint
from scorer.edges.kafka.consumer import KafkaSource
from scorer.edges.kafka.producer import KafkaPublisher
from scorer.edges.kafka.settings import consumer_properties, producer_properties, transactional
from scorer.edges.kafka.starts import Starts
from scorer.edges.kafka.transactions import KafkaTransactions
from scorer.edges.machine import cpu_class, scorer_version
from scorer.edges.metrics import Metrics
from scorer.edges.sandbox import Sandbox
from scorer.services.delivery import AtLeastOnce, Delivery, ExactlyOnce
from scorer.services.patience import StoppedError
from scorer.services.schemas import Schemas
from scorer.services.suspects import Suspects
from scorer.services.worker import Limits, Worker

LIVE = "live"
LEAVING_MS = 3_000
"""What is kept of a stop's grace for leaving the group; draining takes the rest."""
CLOSE_MS_MAX = 1_000


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
        password=chosen.password.reveal if chosen.password else "",
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
    end_in_time(settings.shutdown.grace_ms_max, report)
    metrics, reached = Metrics(stream.name), failpoint(os.environ.get(FAILPOINT))
    status = told_status(metrics, clock, report)
    patient = patience(stop, status, clock, report)
    wanted, place = settings.metrics, settings.streams.index(stream)
    server = status_server(wanted.host, wanted.port, place, status, metrics.exposition, clock)
    try:
        registry = open_registry(settings, report)
        recipe = patient(lambda: recipe_of(settings, stream, registry))
        metrics.serving(recipe.model, recipe.origin)
        report("stream.serving", {"model": recipe.model.bundle.label, "sha256": recipe.model.bundle.sha256})
        bytes_max = patient(lambda: check_topics(settings, stream, report))
        worker = Worker(
            group=f"{settings.group}.{stream.name}",
            dead_letter_topic=stream.dead_letters,
            delivery=_delivery(settings, stream, bytes_max, report, clock, reached),
            schemas=Schemas(registry, report, grace_ms_max=settings.registry.grace_ms_max),
            recipe=recipe,
            clock=clock,
            observer=metrics,
            report=report,
            status=status,
            stop=stop,
            limits=_limits(settings),
            reached=reached,
            suspects=Suspects(Sandbox(recipe, settings.batch.value_bytes_max), report),
        )
        consumer = consumer_properties(settings.kafka_for("consumer"), worker.group, stream.profile)
        patient(worker.delivery.recover)  # ends what a predecessor has left open
        counted = Starts(stream.from_topic)
        source = KafkaSource(
            consumer, stream.from_topic, start=stream.start, ownership=worker, report=report, counted=counted
        )
        _run(worker, source)
    except StoppedError:
        report("stream.stopped", {"why": "told to stop while waiting for a neighbour"})
    finally:
        if server is not None:
            server.close()
    return 0


def _run(worker: Worker, source: KafkaSource) -> None:
    gc.collect()
    gc.freeze()  # what is there now stays: no collection need walk it while a batch waits
    orderly = False  # a bug that a record provokes counts as a death at its position
    try:
        worker.run(source)
        orderly = True
    except ScorerError:
        orderly = True
        raise
    finally:
        source.close(orderly)
        worker.delivery.publisher.close(CLOSE_MS_MAX)


def recipe_of(settings: Settings, stream: Stream, registry: SubjectRegistry) -> Recipe:
    """What a stream scores with, proved.

    Raises:
        ConfigError, ContractError: see `versions` and `prove`.
        TransientError: the registry does not answer.
    """
    events = versions(registry, stream.from_topic)
    _, writer = versions(registry, stream.to_topic)[-1]
    model = prove(read_bundle(Path(stream.bundle)), events, writer, settings.batch.rows_max)
    return Recipe(model, writer, stream.to_topic, origin(), trace=stream.headers == "trace")


def _delivery(
    settings: Settings,
    stream: Stream,
    bytes_max: Mapping[str, int],
    report: Report,
    clock: SystemClock,
    reached: Callable[[str], None],
) -> Delivery:
    most, least = max(bytes_max.values()), min(bytes_max.values())
    producer = producer_properties(settings.kafka_for("producer"), stream.profile, most, least)
    if stream.delivery == "at_least_once":
        publisher = KafkaPublisher(producer, report, bytes_max)
        return AtLeastOnce(publisher, clock, report, settings.commit.every_ms, reached=reached)
    chosen = settings.transaction
    own = transactional(producer, f"{settings.group}.{stream.name}.{chosen.slot}", chosen.timeout_ms)
    transactions = KafkaTransactions(
        own, stream.from_topic, report, bytes_max, reached, group=f"{settings.group}.{stream.name}"
    )
    return ExactlyOnce(
        transactions, clock, report, chosen.every_ms, chosen.rows_max, chosen.timeout_ms, reached=reached
    )


def _limits(settings: Settings) -> Limits:
    return Limits(
        settings.batch.limits,
        settings.rejections.limit,
        settings.shutdown.revoke_ms_max,
        max(settings.shutdown.grace_ms_max // 2, settings.shutdown.grace_ms_max - LEAVING_MS),
    )
