"""From settings to a replay: what is meant, its lane, the bundles that were live, and the worker that scores it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from threading import Event
from typing import Any

from scorer.cli.lanes import Lane
from scorer.cli.rollout_wiring import first_intent, group_of, load_recipe, output_of
from scorer.cli.settings import Settings, Stream
from scorer.cli.start_checks import written_bytes_max
from scorer.cli.status import patience, told_status
from scorer.cli.wiring import open_registry, origin
from scorer.cli.worker_wiring import limits_of, open_delivery, run_out
from scorer.core.deployments import Entry, History, Identity, Intent, Spans
from scorer.core.errors import ConfigError, ContractError
from scorer.core.pieces import Asked, Piece, out_of_reach, piece_of
from scorer.core.ports import Ownership, Report
from scorer.core.scoring import Recipe, score_batch
from scorer.core.wire import split_frames
from scorer.edges.clock import SystemClock
from scorer.edges.failpoints import VARIABLE as FAILPOINT
from scorer.edges.failpoints import failpoint
from scorer.edges.kafka.admin import KafkaAdmin
from scorer.edges.kafka.consumer import KafkaSource
from scorer.edges.kafka.extents import TopicExtents
from scorer.edges.kafka.groups import KafkaGroups
from scorer.edges.kafka.reader import KafkaReader
from scorer.edges.kafka.settings import consumer_properties
from scorer.edges.kafka.starts import Starts
from scorer.edges.metrics import Metrics
from scorer.edges.sandbox import Sandbox
from scorer.services.following import Following, live_within
from scorer.services.replay import Bounded, Pace
from scorer.services.schemas import Schemas, Waiting
from scorer.services.suspects import Suspects
from scorer.services.worker import Worker

SAMPLE_ROWS, SAMPLE_MS_MAX = 5_000, 5_000
"""What a dry run measures by, at most."""

Told = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Found:
    """What is there of what was asked for.

    Attributes:
        piece: it.
        topic_id: tells the input topic from one of the same name that was made anew.
        timestamps: Kafka's word for what the records' timestamps are.
        lacking: for people: what was named and is not there.
    """

    piece: Piece
    topic_id: str
    timestamps: str
    lacking: list[str]


def find(settings: Settings, topic: str, asked: Asked, report: Report) -> Found:
    """What a topic holds now of what is asked for; its ends are where they are at this moment.

    Raises:
        ConfigError: there is no such topic.
        TransientError: Kafka does not answer.
    """
    admin = KafkaAdmin(settings.kafka_for("admin"), report)
    topic_id = admin.topic_id(topic)
    _, about = admin.topic(topic)
    with TopicExtents(settings.kafka_for("consumer"), settings.kafka_for("admin"), report) as topics:
        extents = topics.extents(topic)
        since = None if asked.since_ms is None else topics.at_time(topic, list(extents), asked.since_ms)
        until_ms = None if asked.until_ms is None else asked.until_ms + asked.lateness_ms
        until = None if until_ms is None else topics.at_time(topic, list(extents), until_ms)
    piece = piece_of(asked, extents, since, until)
    return Found(piece, topic_id, about.get("message.timestamp.type", ""), out_of_reach(asked, extents))


def live_history(
    settings: Settings, stream: Stream, topic_id: str, entries: Iterable[Entry], piece: Piece
) -> tuple[History, list[str]]:
    """Which bundles were live in a piece, by these entries; and for people what had to be assumed."""
    history = History(group_of(settings, stream), topic_id)
    history.apply(entries)
    wanted = history.wanted or first_intent(settings, stream)
    history.intents.setdefault(wanted.number, wanted)
    notes = []
    for partition, (first, end) in piece.ranges.items():
        spans = history.spans.setdefault(partition, Spans())
        begun = spans.starts[0] if spans.starts else end
        if not spans.starts:
            spans.put(0, wanted.bundle)
        if first < min(begun, end):
            label = spans.bundles[spans.starts[0]].label
            notes.append(f"partition {partition}: nothing was live before offset {begun}; {label} is taken for that")
    return history, notes


def one_bundle(settings: Settings, stream: Stream, bundle: Identity, place: str, piece: Piece) -> History:
    """The same, with one bundle for all of it."""
    group = group_of(settings, stream)
    intent = Intent(group, stream.name, bundle, place, "", "", 0, stream.from_topic)
    spans = {partition: Spans([0], {0: bundle}) for partition in piece.ranges}
    return History(group, "", {intent.number: intent}, spans)


def load_recipes(
    settings: Settings, lane: Lane, registry: Any, history: History, piece: Piece
) -> tuple[dict[str, Recipe], dict[int, list[tuple[int, Identity]]]]:
    """Loads and proves every bundle that scores a piece. Returns recipes by sha256, and what scores what: by partition
    the first offsets of the piece and of each span in it.

    Raises:
        ConfigError, ContractError: one cannot be had, or cannot serve.
        TransientError: the registry does not answer.
    """
    recipes: dict[str, Recipe] = {}
    for partition, (first, end) in piece.ranges.items():
        for bundle in live_within(history, partition, first, end):
            if bundle.sha256 in recipes:
                continue
            intent = history.intent_for(bundle.sha256)
            named = f"{bundle.label} (sha256 {bundle.sha256[:12]}) has to score records of partition {partition}"
            if intent is None:
                raise ConfigError(f"{named}, but no intent says where it is; give one for all with --bundle PLACE")
            try:
                found = load_recipe(settings, lane.live, registry, intent)
            except (ConfigError, ContractError) as error:
                raise type(error)(f"{named}: {error}") from error
            recipes[bundle.sha256] = replace(found, topic=lane.stream.to_topic, origin=origin(lane.name))
    turns = {}
    for partition, (first, end) in piece.ranges.items():
        spans = history.of(partition)
        starts = [first, *spans.changes(first, end)] if first < end else []
        turns[partition] = [(start, live) for start in starts if (live := spans.at(start)) is not None]
    return recipes, turns


def live_lag(settings: Settings, stream: Stream, report: Report) -> Callable[[], int]:
    """Asks how many records the live stream is behind; raises TransientError."""
    groups = KafkaGroups(settings.kafka_for("admin"), report)
    topics = TopicExtents(settings.kafka_for("consumer"), settings.kafka_for("admin"), report)
    group = group_of(settings, stream)

    def ask() -> int:
        committed = groups.committed(group, stream.from_topic)
        extents = topics.extents(stream.from_topic)
        return sum(max(0, high - max(low, committed.get(p, low))) for p, (low, high) in extents.items())

    return ask


def run(
    settings: Settings,
    lane: Lane,
    piece: Piece,
    planner: Following,
    pace: Pace,
    told: Told,
    stop: Event,
    report: Report,
) -> bool:
    """Scores what is left of a piece, as a member of the replay's group. Returns whether the group is done.

    Raises:
        HaltError: it cannot go on; what is committed stays.
        ConfigError, ContractError, TransientError: see worker_wiring.run_stream.
    """
    clock, metrics = SystemClock(), Metrics(lane.live.name)
    status = told_status(metrics, clock, report)
    patient = patience(stop, status, clock, report)
    registry = open_registry(settings, report)
    reached = failpoint(os.environ.get(FAILPOINT))
    bytes_max = patient(lambda: written_bytes_max(settings, lane.stream, report))
    groups, topic = KafkaGroups(settings.kafka_for("admin"), report), lane.live.from_topic
    bounded = Bounded(piece, partial(groups.committed, lane.group, topic), pace, told, clock, report, status, stop)
    worker = Worker(
        output=patient(lambda: output_of(settings, lane.stream, registry, clock)),
        delivery=open_delivery(settings, lane.stream, bytes_max, report, clock, reached, lane.group),
        schemas=Schemas(registry, report, grace_ms_max=settings.registry.grace_ms_max),
        rollout=planner,
        clock=clock,
        observer=metrics,
        report=report,
        status=status,
        stop=stop,
        limits=limits_of(settings),
        reached=reached,
        suspects=Suspects(Sandbox(settings.batch.value_bytes_max), report),
    )
    patient(worker.delivery.recover)
    bounded.owner = worker
    bounded.inner = source = open_source(settings, lane.group, topic, bounded, report)
    run_out(worker, source, bounded)
    if bounded.halted is not None:
        raise bounded.halted
    return bounded.complete


def open_source(settings: Settings, group: str, topic: str, ownership: Ownership, report: Report) -> KafkaSource:
    """A member of a bounded run's group, which has positions already."""
    properties = consumer_properties(settings.kafka_for("consumer"), group, "paced")
    properties |= {"enable.partition.eof": True, "isolation.level": "read_committed"}
    counted = Starts(topic)
    return KafkaSource(properties, topic, start="earliest", ownership=ownership, report=report, counted=counted)


def measured_per_s(
    settings: Settings, lane: Lane, piece: Piece, planner: Following, registry: Any, stop: Event, report: Report
) -> float | None:
    """How many records a second are read and scored here, by the first of a piece; None if there are none.

    Raises:
        TransientError: a neighbour does not answer.
    """
    topic, clock, schemas = lane.live.from_topic, SystemClock(), Schemas(registry, report)
    places = {(topic, partition): first for partition, (first, end) in piece.ranges.items() if first < end}
    if not places:
        return None
    consumer, bytes_max = settings.kafka_for("consumer"), settings.batch.value_bytes_max
    reader = KafkaReader(consumer, [topic], start="latest", report=report, positions=places, to_end=True)

    def waits(found: Waiting) -> None:
        stop.wait(found.wait_ms / 1000)

    scored, began_ms, until_ms = 0, 0.0, clock.ticks_ms() + SAMPLE_MS_MAX
    try:
        while scored < SAMPLE_ROWS and clock.ticks_ms() < until_ms and not places.keys() <= reader.ended.keys():
            batches = reader.read(settings.batch.rows_max, 200)
            began_ms = began_ms or clock.ticks_ms()
            for batch in batches:
                taken = batch.take(piece.rows(batch))
                if not len(taken):
                    continue
                frames = split_frames(taken.values, bytes_max)
                known = schemas.resolve(frames.groups, clock.ticks_ms, stop, waits)
                if known is None:
                    return None
                for part, recipe in planner.plan(taken, taken.next_offsets).parts:
                    score_batch(part, split_frames(part.values, bytes_max), known, recipe, clock.now_ms())
                scored += len(taken)
    finally:
        reader.close()
    return 1000 * scored / max(1.0, clock.ticks_ms() - began_ms) if scored else None
