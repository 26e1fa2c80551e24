"""One loop for every sink: predictions from Kafka into a place that keeps its own positions.

Records are decoded while the load before them is written, in a thread of its own; so a slow or locked place keeps
neither the group waiting nor the health checks. What is written, and from where reading goes on, is the place's word
alone: the group's commits are for monitoring. Outages are waited out with the same load in hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from threading import Event

from scorer.core.decode import decode
from scorer.core.errors import ConfigError, HaltError, TransientError
from scorer.core.floods import FloodLimit, FloodWatch
from scorer.core.load import Load
from scorer.core.ports import BatchLimits, Clock, Report, Sink
from scorer.core.records import RecordBatch
from scorer.core.rows import letter_load, prediction_load
from scorer.core.schema import WriterSchema
from scorer.core.state import State, Status
from scorer.core.tables import Layout, layout
from scorer.core.wire import split_frames
from scorer.services.feeds import Feed, Observer, Positions, Writer
from scorer.services.schemas import Schemas, Waiting

IDLE_MS_MAX = 50
BUSY_MS_MAX = 5
"""How long a poll waits for a first record, where nothing else is to be done, and where something is."""
HOLD_AFTER_MS = 1000
"""A wait this long pauses the partitions and polls, so that the group keeps us."""
SLOW_MS_MAX = 5000
"""The same while a load is merely slow to write: pausing throws away what was fetched ahead."""
LOOK_EVERY_MS = 200
"""How often a bounded run asks whether it has come to its ends."""


@dataclass(frozen=True, slots=True)
class Limits:
    """A sink's limits, times in milliseconds. `batch` says when a load is closed."""

    batch: BatchLimits
    flood: FloodLimit = field(default_factory=FloodLimit)
    commit_every_ms: int = 500
    revoke_ms_max: int = 10_000
    shutdown_ms_max: int = 20_000


@dataclass(slots=True)
class SinkLoop:
    """Fills one sink until `stop` is set, or until it has come to `ends`. Kafka is driven by one thread.

    Attributes:
        sink: what is filled.
        feeds: the topics, predictions first.
        schemas, clock, observer, report: the surroundings.
        entity: the prediction's field that is the record's key.
        lane: the lane whose predictions are written.
        status: what health checks see.
        stop: set by signal handlers.
        ends: for a bounded run, by topic, partition to the offset to come to; None runs on.
        complete: whether a bounded run has come to its ends.
    """

    sink: Sink
    feeds: Sequence[Feed]
    schemas: Schemas
    entity: str
    lane: str
    clock: Clock
    observer: Observer
    report: Report
    status: Status
    stop: Event
    limits: Limits
    ends: Mapping[str, Positions] | None = None
    complete: bool = False
    writer: Writer = field(init=False)
    _watch: FloodWatch = field(init=False)
    _layouts: dict[int, Layout] = field(default_factory=dict)
    _looked_ms: float = 0.0
    _committed_ms: float = 0.0
    _ends_at_ms: float = inf

    def __post_init__(self) -> None:
        self._watch = FloodWatch(self.limits.flood)
        self.writer = Writer(self.sink, self.observer, self.report)
        for feed in self.feeds:
            feed.revoke, feed.report = self._revoke, self.report

    def run(self) -> None:
        """Works until told to stop, or until the ends; then writes what is in hand.

        Raises:
            TransientError: an outage of Kafka that only a new process gets over.
            ConfigError: a neighbour refuses us.
        """
        self.status.enter(State.STARTING, "waiting for partitions")
        try:
            while not self.stop.is_set() and not self._is_complete():
                self._step()
        except HaltError as error:
            self._halt(error)
        self.status.enter(State.STOPPING, "draining")
        self._ends_at_ms = self.clock.ticks_ms() + self.limits.shutdown_ms_max
        self._drain(self.limits.shutdown_ms_max, "shutdown")
        self._commit(wait=True)

    def _step(self) -> None:
        self.status.beat(self.clock.ticks_ms())
        idle_ms = BUSY_MS_MAX if self.writer.busy or any(feed.pending for feed in self.feeds) else IDLE_MS_MAX
        for feed in self.feeds:
            self._read(feed, idle_ms)
            idle_ms = 0
        self._write()
        if self.feeds[0].full_since_ms is not None and self.writer.busy:
            self.writer.wait(IDLE_MS_MAX)
        self._commit(wait=False)
        self._say()

    def _read(self, feed: Feed, idle_ms: int) -> None:
        """Takes what has come, as long as there is room for it."""
        assert feed.source is not None
        now_ms = self.clock.ticks_ms()
        room = self.limits.batch.rows_max - feed.size
        if room <= 0:
            feed.full_since_ms = now_ms if feed.full_since_ms is None else feed.full_since_ms
            if now_ms - feed.full_since_ms > (HOLD_AFTER_MS if self.writer.trouble else SLOW_MS_MAX):
                feed.source.hold(0)
            return
        feed.full_since_ms = None
        limits = BatchLimits(room, self.limits.batch.wait_ms_max, self.limits.batch.value_bytes_max)
        batch = feed.source.poll(limits, idle_ms)
        if batch is not None:
            load = self._loaded(feed, batch)
            if load is None:
                return  # and nothing behind it counts as read
            feed.add(load, self.clock.ticks_ms())
        # Behind the last record may be none: a transaction's marker. Once retention has taken both, a position between
        # them would look as if records had been lost.
        met = {p: end for p, end in feed.source.ends().items() if end > feed.floors.get(p, end)}
        if met:
            feed.add(Load(feed.topic, feed.starts(met), met), self.clock.ticks_ms())

    def _loaded(self, feed: Feed, batch: RecordBatch) -> Load | None:
        """A batch as rows, or None if told to stop while waiting for its schemas."""
        starts = feed.starts(batch.next_offsets)
        if feed.letters_of is not None:
            return letter_load(batch, feed.letters_of, starts)
        frames = split_frames(batch.values, self.limits.batch.value_bytes_max)
        schemas = self.schemas.resolve(frames.groups, self.clock.ticks_ms, self.stop, self._await_schemas)
        if schemas is None:
            return None
        events, rejections = decode(batch, frames, schemas)
        self._watch.heed(len(batch), rejections)
        decoded = [(each, self._layout(each.schema)) for each in events]
        return prediction_load(batch, decoded, rejections, starts, self.lane)

    def _layout(self, schema: WriterSchema) -> Layout:
        found = self._layouts.get(schema.id)
        if found is None:
            found = self._layouts[schema.id] = layout(schema.root, self.entity)
        return found

    def _await_schemas(self, waiting: Waiting) -> None:
        self.status.enter(State.WAITING, waiting.why)
        self._linger(waiting.wait_ms)

    def _write(self, whole: bool = False) -> None:
        """Hands over the next load that is due; with `whole`, also one that is neither full nor old."""
        now_ms = self.clock.ticks_ms()
        self.writer.advance(now_ms)
        limits = self.limits.batch
        for feed in self.feeds:
            due = whole or feed.size >= limits.rows_max or now_ms - feed.since_ms >= limits.wait_ms_max
            if feed.pending and due and not self.writer.busy:
                self.writer.begin(feed, now_ms)

    def _linger(self, wait_ms: float) -> None:
        """Waits as a member of the group, with the writer going on."""
        until_ms = self.clock.ticks_ms() + wait_ms
        while not self.stop.is_set() and (left_ms := until_ms - self.clock.ticks_ms()) > 0:
            self.status.beat(self.clock.ticks_ms())
            for feed in self.feeds:
                assert feed.source is not None
                feed.source.hold(int(min(left_ms, IDLE_MS_MAX)))
            self._write()

    def _say(self) -> None:
        outages = (feed.source.outage() for feed in self.feeds if feed.source is not None)
        if trouble := self.writer.trouble or next((why for why in outages if why), ""):
            self.status.enter(State.WAITING, trouble)
        elif any(feed.floors for feed in self.feeds):
            self.status.enter(State.RUNNING, "")
        else:
            self.status.enter(State.STARTING, "no partitions assigned")

    def _commit(self, wait: bool) -> None:
        """Tells the group how far the sink is, for monitoring; nothing depends on it."""
        now_ms = self.clock.ticks_ms()
        if not wait and now_ms - self._committed_ms < self.limits.commit_every_ms:
            return
        self._committed_ms = now_ms
        for feed in self.feeds:
            assert feed.source is not None
            offsets, feed.written = feed.written, {}
            try:
                feed.source.commit(offsets, wait=wait)
            except TransientError as error:
                self.report("drain.not_committed", {"why": "shutdown", "error": str(error)})
            self.observer.lag(feed.topic, feed.source.lag())

    def _revoke(self) -> None:
        self._drain(self.limits.revoke_ms_max, "revoke")

    def _drain(self, budget_ms: float, why: str) -> None:
        """Writes what is in hand, within a budget."""
        until_ms = min(self._ends_at_ms, self.clock.ticks_ms() + budget_ms)
        try:
            self._write(whole=True)
            while self.writer.busy and (left_ms := until_ms - self.clock.ticks_ms()) > 0:
                self.status.beat(self.clock.ticks_ms())
                self.writer.wait(min(left_ms, IDLE_MS_MAX))
                self._write(whole=True)
        except (HaltError, ConfigError) as error:  # also what has ended the run, said again at the close
            self.report("drain.incomplete", {"why": why, "error": str(error)})
            return
        if self.writer.busy:
            self.report("drain.incomplete", {"why": why, "batches": 1})

    def _is_complete(self) -> bool:
        """Whether a bounded run is done: the sink's positions, whoever wrote them, have come to the ends."""
        now_ms = self.clock.ticks_ms()
        busy = self.writer.busy or any(feed.pending for feed in self.feeds)
        if self.ends is None or busy or now_ms - self._looked_ms < LOOK_EVERY_MS:
            return False
        self._looked_ms = now_ms
        try:
            for topic, ends in self.ends.items():
                there = self.sink.positions(topic)
                if any(there.get(partition, 0) < end for partition, end in ends.items()):
                    return False
        except TransientError as error:
            self.status.enter(State.WAITING, str(error))
            return False
        self.complete = True
        return True

    def _halt(self, why: HaltError) -> None:
        """Stands still, not ready, as a member of the group, until told to stop. A bounded run ends instead."""
        self.status.enter(State.HALTED, str(why))
        if self.ends is not None:
            raise why
        while not self.stop.is_set():
            with suppress(HaltError):  # what was said first is what has to be mended
                self._linger(HOLD_AFTER_MS)
