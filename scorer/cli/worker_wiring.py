"""From settings to a running stream: builds real edges, and hands everything to the worker."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from threading import Thread

from scorer.cli.rollout_wiring import begin, group_of, open_rollout, output_of
from scorer.cli.settings import Settings, Stream
from scorer.cli.start_checks import check_topics
from scorer.cli.status import patience, status_server, told_status
from scorer.cli.stopping import end_in_time, stopped_by_signals
from scorer.cli.wiring import CLOSE_MS_MAX, open_registry
from scorer.core.errors import ScorerError
from scorer.core.ports import Lagging, Report
from scorer.edges.clock import SystemClock
from scorer.edges.failpoints import VARIABLE as FAILPOINT
from scorer.edges.failpoints import failpoint
from scorer.edges.kafka.consumer import KafkaSource
from scorer.edges.kafka.producer import KafkaPublisher
from scorer.edges.kafka.settings import consumer_properties, producer_properties, transactional
from scorer.edges.kafka.starts import Starts
from scorer.edges.kafka.transactions import KafkaTransactions
from scorer.edges.machine import collecting_by_time
from scorer.edges.metrics import Metrics
from scorer.edges.sandbox import Sandbox
from scorer.services.delivery import AtLeastOnce, Delivery, ExactlyOnce
from scorer.services.limits import Limits
from scorer.services.patience import StoppedError
from scorer.services.schemas import Schemas
from scorer.services.suspects import Suspects
from scorer.services.worker import Worker

LEAVING_MS = 3_000
"""What is kept of a stop's grace for leaving the group; draining takes the rest."""


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
        bytes_max = patient(lambda: check_topics(settings, stream, report))
        rollout = patient(lambda: open_rollout(settings, stream, registry, stop, report))
        patient(partial(begin, rollout))
        worker = Worker(
            output=patient(lambda: output_of(settings, stream, registry, clock)),
            delivery=open_delivery(settings, stream, bytes_max, report, clock, reached, group_of(settings, stream)),
            schemas=Schemas(registry, report, grace_ms_max=settings.registry.grace_ms_max),
            rollout=rollout,
            clock=clock,
            observer=metrics,
            report=report,
            status=status,
            stop=stop,
            limits=limits_of(settings),
            reached=reached,
            suspects=Suspects(Sandbox(settings.batch.value_bytes_max), report),
        )
        consumer = consumer_properties(settings.kafka_for("consumer"), worker.output.group, stream.profile)
        patient(worker.delivery.recover)  # ends what a predecessor has left open
        counted = Starts(stream.from_topic)
        source = KafkaSource(
            consumer, stream.from_topic, start=stream.start, ownership=worker, report=report, counted=counted
        )
        Thread(target=rollout.follow, name="deployments", daemon=True).start()
        run_out(worker, source)
    except StoppedError:
        report("stream.stopped", {"why": "told to stop while waiting for a neighbour"})
    finally:
        if server is not None:
            server.close()
    return 0


def run_out(worker: Worker, source: KafkaSource, bounded: Lagging | None = None) -> None:
    """Runs a worker to its end, from its source or what stands before that, and leaves the group."""
    orderly = False  # a bug that a record provokes counts as a death at its position
    try:
        with collecting_by_time():
            worker.run(bounded or source)
        orderly = True
    except ScorerError:
        orderly = True
        raise
    finally:
        try:
            source.close(orderly)
        finally:
            worker.delivery.publisher.close(CLOSE_MS_MAX)


def open_delivery(
    settings: Settings,
    stream: Stream,
    bytes_max: Mapping[str, int],
    report: Report,
    clock: SystemClock,
    reached: Callable[[str], None],
    group: str,
) -> Delivery:
    """How a stream's predictions and a group's offsets reach Kafka; the group names the transactions as well.

    Args:
        settings, stream: for what, in which mode.
        bytes_max: how many bytes a message may have, by topic.
        report, clock, reached: the surroundings.
        group: the consumer group.
    """
    most, least = max(bytes_max.values()), min(bytes_max.values())
    producer = producer_properties(settings.kafka_for("producer"), stream.profile, most, least)
    if stream.delivery == "at_least_once":
        publisher = KafkaPublisher(producer, report, bytes_max)
        return AtLeastOnce(publisher, clock, report, settings.commit.every_ms, reached=reached)
    chosen = settings.transaction
    own = transactional(producer, f"{group}.{chosen.slot}", chosen.timeout_ms)
    transactions = KafkaTransactions(own, stream.from_topic, report, bytes_max, reached, group=group)
    return ExactlyOnce(
        transactions, clock, report, chosen.every_ms, chosen.rows_max, chosen.timeout_ms, reached=reached
    )


def limits_of(settings: Settings) -> Limits:
    """A worker's limits."""
    return Limits(
        settings.batch.limits,
        settings.rejections.limit,
        settings.shutdown.revoke_ms_max,
        max(settings.shutdown.grace_ms_max // 2, settings.shutdown.grace_ms_max - LEAVING_MS),
    )
