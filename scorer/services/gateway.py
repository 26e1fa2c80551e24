"""Follows the prediction topics for the gateway: reads, decodes, tells who waits, then has it written.

Belongs to no group and commits nothing to Kafka: positions are in the store, beside what was read, so a restart goes on
where the store ends. Whoever waits is told before anything is written. Outages of broker, registry and disk are waited
out while what is there is served. A topic that was made anew, or that no longer holds the position, is read again from
its beginning, and said so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Protocol

from scorer.core.answers import Kind, Positions, Reading, read_answers
from scorer.core.decode import decode
from scorer.core.errors import ConfigError, HaltError, TransientError
from scorer.core.ports import Clock, Report
from scorer.core.records import RecordBatch
from scorer.core.state import State, Status
from scorer.core.wire import split_frames
from scorer.services.gateway_writing import FollowObserver, Listener, Writing
from scorer.services.patience import StoppedError, pause_ms
from scorer.services.schemas import Schemas, Waiting

ROWS_MAX = 500
READ_MS_MAX = 100
LOOK_EVERY_MS, LOOK_AGAIN_MS = 10_000.0, 1_000.0
"""How often the topics themselves are looked at: whether they are the same ones, and whether a broker is back."""
BEGIN_MS_MAX = 900_000.0
"""How long a beginning may take: what is kept of millions of entities is dropped in one go."""
VALUE_BYTES_MAX = 16 << 20

Look = Callable[[], Mapping[str, tuple[str, int]]]
"""Topic to what tells it from one made anew, and its number of partitions. Raises TransientError, ConfigError."""


class Reader(Protocol):
    """Reads the topics; scorer.edges.kafka.reader has it."""

    @property
    def ended(self) -> Mapping[tuple[str, int], int]:
        """Topic and partition of which the end was met, to its offset."""

    def read(self, rows_max: int, wait_ms_max: int) -> list[RecordBatch]:
        """Records by topic. Raises TransientError, and HaltError where a position is out of range."""

    def bounds(self) -> Mapping[tuple[str, int], tuple[int, int]]:
        """Topic and partition to the first offset and the one behind the last."""

    def close(self) -> None:
        """Ends reading."""


class Kept(Protocol):
    """What the store says of where reading goes on."""

    def begin(self, kind: Kind, epoch: str) -> bool:
        """Takes up a kind; False if what was kept of it is dropped, since its topic is another one."""

    def start_over(self, kind: Kind, epoch: str) -> None:
        """Drops what is kept of a kind."""

    def resume(self, kind: str, lows: Positions) -> Positions:
        """Where to go on: the stored position of each partition, else the lowest offset there is."""


@dataclass(slots=True)
class Follower:
    """Follows every kind's topic until told to stop. Runs in a thread of its own.

    Attributes:
        open_reader: a reader from (topic, partition) positions on.
        failure: what ended it, where that is for the operator.
    """

    kinds: Sequence[Kind]
    look: Look
    open_reader: Callable[[Mapping[tuple[str, int], int]], Reader]
    kept: Kept
    writing: Writing
    schemas: Schemas
    listener: Listener
    observer: FollowObserver
    clock: Clock
    report: Report
    status: Status
    stop: Event
    failure: Exception | None = None
    _number: int = 0
    _topics: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    _by_topic: dict[str, Kind] = field(init=False)
    _next: dict[tuple[str, int], int] = field(default_factory=dict)
    _ends: dict[tuple[str, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._by_topic = {kind.topic: kind for kind in self.kinds}

    def run(self) -> None:
        """Follows, whatever fails meanwhile; only a wrong setting, or a bug, ends it."""
        failed = 0
        try:
            while not self.stop.is_set():
                try:
                    self._follow()
                    failed = 0
                except (TransientError, HaltError) as error:
                    failed = 1 if self._topics and failed == 0 else failed + 1
                    self._wait(str(error), failed)
                except ConfigError as error:
                    if not self._topics:
                        raise  # it never was there: nobody has set this up
                    failed += 1
                    self._wait(str(error), failed)
        except StoppedError:
            return
        except Exception as error:
            self.failure = error
            self.stop.set()

    def write(self) -> None:
        """Writes what is read, in a thread of its own; a bug ends the gateway rather than this thread alone."""
        try:
            self.writing.run()
        except Exception as error:
            self.failure = error
            self.stop.set()

    def _wait(self, why: str, failed: int) -> None:
        self.status.enter(State.WAITING, why)
        wait = pause_ms(failed)
        self.report("neighbour.waiting", {"why": why, "attempt": failed, "next_try_ms": wait})
        self.status.beat(self.clock.ticks_ms())
        self.stop.wait(wait / 1000)

    def _follow(self) -> None:
        """Reads until the topics are no longer those that reading began with, or told to stop."""
        topics = self.look()
        reader = self._begin(topics)
        self._topics = topics
        look_ms = self.clock.ticks_ms() + LOOK_EVERY_MS
        try:
            while not self.stop.is_set():
                self.status.beat(self.clock.ticks_ms())
                batches = reader.read(ROWS_MAX, READ_MS_MAX)
                for batch in batches:
                    self._take(batch)
                self._note_ends(reader)
                if self.clock.ticks_ms() >= look_ms:
                    if self._others(topics, coming=bool(batches)):
                        self.report("gateway.topics_changed", {})
                        return
                    look_ms = self.clock.ticks_ms() + LOOK_EVERY_MS
                self._tell_state()
        finally:
            reader.close()

    def _others(self, topics: Mapping[str, tuple[str, int]], coming: bool) -> bool:
        """Whether the topics are others by now. While records come, not being able to look is no outage."""
        try:
            return self.look() != topics
        except TransientError:
            if not coming:
                raise
            return False

    def _begin(self, topics: Mapping[str, tuple[str, int]]) -> Reader:
        """Opens a reader at the stored positions, and drops what is kept of topics that are not the ones it is of."""
        # Else what was read of a topic that is gone would be written after it is dropped.
        self.writing.settle(self._await_writer)
        self.status.beat(self.clock.ticks_ms(), BEGIN_MS_MAX)
        anew = set()
        for kind in self.kinds:
            if not self.kept.begin(kind, topics[kind.topic][0]):
                anew.add(kind.topic)
                self.report("gateway.starts_over", {"topic": kind.topic, "why": "the topic was made anew"})
        while True:
            stored = {
                (kind.topic, partition): offset
                for kind in self.kinds
                for partition, offset in self.kept.resume(kind.name, {}).items()
            }
            reader = self.open_reader(stored)
            try:
                bounds = reader.bounds()
                lost = {place[0] for place, at in stored.items() if place in bounds and not _holds(bounds[place], at)}
                if not lost:
                    self._begun(topics, bounds, anew)
                    return reader
            except BaseException:
                reader.close()
                raise
            reader.close()
            for topic in sorted(lost):
                anew.add(topic)
                self.kept.start_over(self._by_topic[topic], topics[topic][0])
                self.report("gateway.starts_over", {"topic": topic, "why": "it no longer holds the stored position"})

    def _begun(
        self,
        topics: Mapping[str, tuple[str, int]],
        bounds: Mapping[tuple[str, int], tuple[int, int]],
        anew: set[str],
    ) -> None:
        self._ends = {place: high for place, (low, high) in bounds.items() if low < high}
        self._next = {}
        for kind in self.kinds:
            lows = {partition: low for (topic, partition), (low, _) in bounds.items() if topic == kind.topic}
            positions = self.kept.resume(kind.name, lows)
            self._next |= {(kind.topic, partition): offset for partition, offset in positions.items()}
            self.listener.begun(kind.name, topics[kind.topic][0], positions, kind.topic in anew)

    def _take(self, batch: RecordBatch) -> None:
        reading = self._reading(self._by_topic[batch.topic], batch)
        self._number += 1
        self._next |= {(batch.topic, partition): offset for partition, offset in reading.next_offsets.items()}
        self.listener.arrived(reading, self._number)
        self.observer.read(reading, self._behind())
        self.writing.put(reading, self._number, self._await_writer)

    def _reading(self, kind: Kind, batch: RecordBatch) -> Reading:
        frames = split_frames(batch.values, VALUE_BYTES_MAX)
        known = self.schemas.resolve(frames.groups, self.clock.ticks_ms, self.stop, self._await_schemas)
        if known is None:
            raise StoppedError
        decoded, rejections = decode(batch, frames, known)
        return read_answers(kind, batch, decoded, Counter(each.reason for each in rejections))

    def _await_schemas(self, waiting: Waiting) -> None:
        self.status.enter(State.WAITING, waiting.why)
        self.status.beat(self.clock.ticks_ms())
        self.stop.wait(min(waiting.wait_ms, LOOK_AGAIN_MS) / 1000)

    def _await_writer(self) -> None:
        self.status.beat(self.clock.ticks_ms())
        if self.writing.problem:
            self.status.enter(State.WAITING, self.writing.problem)

    def _behind(self) -> int:
        return sum(max(0, end - self._next.get(place, 0)) for place, end in self._ends.items())

    def _note_ends(self, reader: Reader) -> None:
        """Behind a partition's last record may be what is never handed out, as a transaction's marker."""
        met = [place for place in reader.ended if place in self._ends]
        for place in met:
            del self._ends[place]
        if met:
            self.observer.read(Reading(self.kinds[0].name, [], {}, {}), self._behind())

    def _tell_state(self) -> None:
        behind = self._behind()
        if self.writing.problem:
            self.status.enter(State.WAITING, self.writing.problem)
        elif behind and self.status.state is not State.RUNNING:
            self.status.enter(State.STARTING, f"reads what came meanwhile: {behind} records")
        else:
            self.status.enter(State.RUNNING, "")


def _holds(bounds: tuple[int, int], position: int) -> bool:
    low, high = bounds
    return low <= position <= high
