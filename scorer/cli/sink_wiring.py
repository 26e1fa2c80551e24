"""From settings to a running sink: builds real edges and hands them to the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from scorer.cli.lanes import in_begun_lane, in_lane, lane_of
from scorer.cli.rollout_wiring import group_of, read_entries
from scorer.cli.settings import Settings, Stream
from scorer.cli.status import Patience, patience, status_server, told_status
from scorer.cli.stopping import end_in_time, stopped_by_signals
from scorer.cli.wiring import LIVE, open_registry, versions
from scorer.core.letters import Author
from scorer.core.pieces import Piece
from scorer.core.ports import BatchLimits, Report
from scorer.core.tables import Layout, grown, layout, table_name
from scorer.edges.bundles import read_bundle
from scorer.edges.clock import SystemClock
from scorer.edges.kafka.admin import KafkaAdmin
from scorer.edges.kafka.consumer import KafkaSource
from scorer.edges.kafka.extents import TopicExtents
from scorer.edges.kafka.rights import Need, check_rights
from scorer.edges.kafka.settings import consumer_properties
from scorer.edges.machine import keep_out_of_collections
from scorer.edges.metrics import SinkMetrics
from scorer.services.feeds import Feed
from scorer.services.patience import StoppedError, wait_out
from scorer.services.schemas import Schemas
from scorer.services.sink import Limits, SinkLoop

POSITION_ATTEMPTS_MAX = 14
"""About 45 s: a rebalance waits for the database no longer than that, since the group waits with it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked for: a stream's live predictions, or those of a lane; for ever, or `once` to the end."""

    stream: Stream
    lane: str
    once: bool

    @property
    def where(self) -> Stream:
        """The stream with the topics that are read."""
        return in_lane(self.stream, self.lane or LIVE)

    @property
    def group_suffix(self) -> str:
        """What the consumer group ends with."""
        return f"sink-sql.{self.stream.name}" + (f".lane.{self.lane}" if self.lane else "")


def run_sink(settings: Settings, plan: Plan, report: Report) -> Any:
    """Fills a database until a signal comes, or with `once` up to what is there now.

    Returns:
        how complete the tables are after a bounded run; None if it was told to stop, or was not bounded.

    Raises:
        ConfigError, ContractError: it must not start like this.
        TransientError: an outage that only a new process gets over.
        HaltError: a bounded run cannot go on.
    """
    from scorer.edges.sql.completeness import Completeness
    from scorer.edges.sql.database import Access, open_engine
    from scorer.edges.sql.names import Names
    from scorer.edges.sql.sink import SqlSink

    chosen = settings.sink.sql
    password = chosen.password.reveal() if chosen.password else ""
    engine = open_engine(Access(chosen.url, chosen.username or "", password))
    if not plan.once:  # a bounded run that is cut off must not end as if it were done
        end_in_time(settings.shutdown.grace_ms_max, report)
    stop, clock, metrics = stopped_by_signals(), SystemClock(), SinkMetrics(plan.stream.name)
    status = told_status(metrics, clock, report)
    patient = patience(stop, status, clock, report)
    # A bounded run may stand beside one that is not, and leaves the port to it.
    port, place = -1 if plan.once else settings.sink.port, settings.streams.index(plan.stream)
    server = status_server(settings.metrics.host, port, place, status, metrics.exposition, clock)
    try:
        if plan.lane:
            admin = KafkaAdmin(settings.kafka_for("admin"), report)
            patient(partial(in_begun_lane, admin, plan.stream, plan.lane))
        patient(partial(_check_rights, settings, plan, report))
        registry = open_registry(settings, report)
        entity = patient(lambda: read_bundle(plan.stream.bundle)).contract.entity.rpartition(".")[2]
        wanted = patient(lambda: _layout(registry, plan.stream.to_topic, entity))
        names = Names(table_name(plan.stream.to_topic, plan.lane))
        sink = SqlSink(engine, names, plan.stream.from_topic, wanted)
        patient(sink.prepare)
        report("sink.serving", {"tables": names.base, "database": engine.dialect.name})
        loop = SinkLoop(
            sink=sink,
            feeds=_feeds(settings, plan),
            schemas=Schemas(registry, report, grace_ms_max=settings.registry.grace_ms_max),
            entity=entity,
            lane=plan.lane or LIVE,
            clock=clock,
            observer=metrics,
            report=report,
            status=status,
            stop=stop,
            limits=_limits(settings),
        )
        try:
            if not plan.once:
                _fill(settings, plan, loop)
                return None
            replayed = patient(lambda: _replayed(settings, plan, registry, loop))
            tables = Completeness(engine, names, plan.stream.from_topic)
            return _run_once(settings, plan, loop, tables, replayed, patient)
        finally:
            sink.close()
    except StoppedError:
        report("stream.stopped", {"why": "told to stop while waiting for a neighbour"})
        return None
    finally:
        if server is not None:
            server.close()


def _replayed(settings: Settings, plan: Plan, registry: Any, loop: SinkLoop) -> Piece | None:
    """What of the source topic a lane was begun for; None for the live one, and where no replay stands."""
    if not plan.lane:
        return None
    entries = read_entries(settings, registry, loop.stop, loop.report)
    if loop.stop.is_set():  # then not all of them were read
        raise StoppedError
    return lane_of(settings, plan.stream, plan.lane).piece(entries)


def _run_once(
    settings: Settings, plan: Plan, loop: SinkLoop, tables: Any, replayed: Piece | None, patient: Patience
) -> Any:
    """Runs the loop to the ends as they are now, and asks how complete the tables are."""
    consumer, admin = settings.kafka_for("consumer"), settings.kafka_for("admin")
    with TopicExtents(consumer, admin, loop.report) as topics:
        source = patient(lambda: topics.extents(plan.stream.from_topic))
        piece, note = (Piece(source), tables.note_source) if replayed is None else (replayed, tables.note_replayed)
        patient(lambda: note(piece.ranges))
        found = {feed.topic: patient(partial(topics.extents, feed.topic)) for feed in loop.feeds}
        loop.ends = {
            topic: {part: high for part, (low, high) in each.items() if high > low} for topic, each in found.items()
        }
        _fill(settings, plan, loop)
        if not loop.complete:
            return None
        spans = patient(tables.unknown)
        if spans:
            empty = patient(lambda: topics.without_event(plan.stream.from_topic, spans, source, piece.means))
            patient(lambda: tables.note_skipped(empty))
        return patient(tables.totals)


def _fill(settings: Settings, plan: Plan, loop: SinkLoop) -> None:
    try:
        for feed in loop.feeds:
            properties = consumer_properties(settings.kafka_for("consumer"), _group(settings, plan, feed), "paced")
            properties |= {"enable.partition.eof": True, "isolation.level": "read_committed"}
            feed.source = KafkaSource(
                properties, feed.topic, start="earliest", ownership=feed, report=loop.report, stored=_stored(loop, feed)
            )
        keep_out_of_collections()  # no collection need walk what is there now while thousands of messages come
        loop.run()
    finally:
        for feed in loop.feeds:
            if feed.source is not None:
                feed.source.close()
        loop.writer.close()


def _stored(loop: SinkLoop, feed: Feed) -> Callable[[Any], Mapping[int, int]]:
    def ask() -> Mapping[int, int]:
        loop.status.beat(loop.clock.ticks_ms())
        positions = loop.sink.positions(feed.topic)
        feed.known = set(positions)
        return positions

    def stored(_: Any) -> Mapping[int, int]:
        return wait_out(ask, loop.stop, loop.report, POSITION_ATTEMPTS_MAX)

    return stored


def _layout(registry: Any, topic: str, entity: str) -> Layout:
    """The tables of every version of the prediction's schema together, the newest one's types."""
    found = [layout(schema.root, entity) for _, schema in versions(registry, topic)]
    known = found[0]
    for each in found[1:]:
        known = grown(known, each)
    return known


def _feeds(settings: Settings, plan: Plan) -> list[Feed]:
    own = Author(plan.stream.from_topic, group_of(settings, plan.stream))
    return [Feed(plan.where.to_topic), Feed(plan.where.dead_letters, letters_of=own)]


def _group(settings: Settings, plan: Plan, feed: Feed) -> str:
    group = f"{settings.group}.{plan.group_suffix}"
    return group if feed.letters_of is None else f"{group}.dead-letters"


def _check_rights(settings: Settings, plan: Plan, report: Report) -> None:
    """Asks for what a sink reads, so that what is missing ends its start and does not halt it later."""
    if settings.checks.weak == "off":
        return
    feeds = _feeds(settings, plan)
    needs = [Need("topic", feed.topic, ("Read",)) for feed in feeds]
    needs += [Need("group", _group(settings, plan, feed), ("Read",)) for feed in feeds]
    check_rights(settings.kafka_for("admin"), needs, report)


def _limits(settings: Settings) -> Limits:
    chosen = settings.sink.sql
    return Limits(
        BatchLimits(chosen.rows_max, chosen.wait_ms_max, settings.batch.value_bytes_max),
        settings.rejections.limit,
        settings.commit.every_ms,
        settings.shutdown.revoke_ms_max,
        settings.shutdown.grace_ms_max,
    )
