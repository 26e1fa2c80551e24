"""What a sink reads, and the thread in which it writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Protocol

from scorer.core.errors import TransientError
from scorer.core.letters import Author
from scorer.core.load import Load, joined
from scorer.core.ports import Report, Sink, Source
from scorer.services.patience import pause_ms

Positions = Mapping[int, int]


class Observer(Protocol):
    """Told of every load and of every wait; for metrics."""

    def written(self, _: str, counts: Mapping[str, int], took_ms: float) -> None:
        """A load of that topic was written: records by kind."""

    def waited(self) -> None:
        """A load could not be written and is tried again."""

    def lag(self, topic: str, lag: Mapping[int, int]) -> None:
        """Partition to records behind the end."""


class Reading(Source, Protocol):
    """A source that knows its lag, its ends, and whether anything can come."""

    def outage(self) -> str | None:
        """For people: why nothing can come, or None."""

    def lag(self) -> Mapping[int, int]:
        """Partition to records between the next one and the end."""

    def ends(self) -> Positions:
        """Partition to the offset at which its end was met, where that is told."""

    def close(self) -> None:
        """Leaves the group."""


@dataclass(slots=True)
class Feed:
    """One topic that is read. Implements ports.Ownership.

    Attributes:
        topic: its name.
        letters_of: for dead letters, whose letters count; None for predictions.
        revoke: called when partitions are to be handed over.
        report: for log lines.
        source: where it is read; set before the loop runs.
        floors: owned partition to the next offset to be read.
        pending: loads that are not being written yet; the first came at `since_ms`.
        known: partitions of which the sink has a position; the others may begin anywhere.
        written: owned partition to the next offset that the sink has.
        full_since_ms: since when there is no room for more, or None.
    """

    topic: str
    letters_of: Author | None = None
    revoke: Callable[[], None] = lambda: None
    report: Report = lambda *_: None
    source: Reading | None = None
    floors: dict[int, int] = field(default_factory=dict)
    pending: list[Load] = field(default_factory=list)
    known: set[int] = field(default_factory=set)
    written: dict[int, int] = field(default_factory=dict)
    since_ms: float = 0.0
    full_since_ms: float | None = None

    def assigned(self, positions: Positions) -> None:
        """See ports.Ownership."""
        self.floors.update(positions)
        self.report("partitions.assigned", {"topic": self.topic, "positions": dict(positions)})

    def revoked(self, partitions: Sequence[int]) -> None:
        """See ports.Ownership. What is in hand is written first, within a budget."""
        self.revoke()
        self._drop(partitions)
        self.report("partitions.revoked", {"topic": self.topic, "partitions": list(partitions)})

    def lost(self, partitions: Sequence[int]) -> None:
        """See ports.Ownership. What is in hand may still be written: the stored positions guard against doubles."""
        self._drop(partitions)
        self.report("partitions.lost", {"topic": self.topic, "partitions": list(partitions)})

    @property
    def size(self) -> int:
        """How much is pending."""
        return sum(each.size for each in self.pending)

    def starts(self, partitions: Iterable[int]) -> dict[int, int]:
        """Up to where the sink must have come before what is read next is written."""
        return {p: self.floors[p] if p in self.known else 0 for p in partitions if p in self.floors}

    def add(self, load: Load, now_ms: float) -> None:
        """Takes a load that was read."""
        self.known.update(load.next_offsets)
        if not self.pending:
            self.since_ms = now_ms
        self.pending.append(load)
        self.floors.update({p: offset for p, offset in load.next_offsets.items() if p in self.floors})

    def _drop(self, partitions: Sequence[int]) -> None:
        for partition in partitions:
            self.floors.pop(partition, None)
            self.written.pop(partition, None)


@dataclass(slots=True)
class _Task:
    feed: Feed
    load: Load
    future: Future[Mapping[str, int]]
    began_ms: float
    again_ms: float | None = None


@dataclass(slots=True)
class Writer:
    """Writes one load at a time in a thread of its own, and the same one again after an outage.

    Attributes:
        trouble: for people: the outage that is being waited out, or "".
    """

    sink: Sink
    observer: Observer
    report: Report
    trouble: str = ""
    _task: _Task | None = None
    _failed: int = 0
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "sink"))

    @property
    def busy(self) -> bool:
        """Whether a load is in its hands."""
        return self._task is not None

    def begin(self, feed: Feed, now_ms: float) -> None:
        """Takes what a feed has pending."""
        load, feed.pending = joined(feed.pending), []
        self._task = _Task(feed, load, self._thread.submit(self.sink.write, load), now_ms)

    def advance(self, now_ms: float) -> None:
        """Takes note of what was written, or tries again what was not, once that is due.

        Raises:
            HaltError, ConfigError: the sink does not take it, and waiting does not help. It stays in hand, and this is
                said each time: what comes behind it would leave a gap.
        """
        task = self._task
        if task is None or not task.future.done():
            return
        try:
            counts = task.future.result()
        except TransientError as error:
            if task.again_ms is None:
                self._failed += 1
                task.again_ms, self.trouble = now_ms + pause_ms(self._failed), str(error)
                self.observer.waited()
                fields = {"why": str(error), "attempt": self._failed, "next_try_ms": pause_ms(self._failed)}
                self.report("neighbour.waiting", fields)
            elif now_ms >= task.again_ms:
                self._task = _Task(task.feed, task.load, self._thread.submit(self.sink.write, task.load), task.began_ms)
            return
        self._task, self._failed, self.trouble = None, 0, ""
        owned = task.feed.floors
        task.feed.written.update({p: offset for p, offset in task.load.next_offsets.items() if p in owned})
        self.observer.written(task.feed.topic, counts, now_ms - task.began_ms)

    def wait(self, wait_ms: float) -> None:
        """Waits until the writing call returns, at most that long."""
        if self._task is not None:
            pause = self._task.again_ms is not None  # it has returned already: this is the pause before the next one
            wait([Future() if pause else self._task.future], wait_ms / 1000)

    def close(self) -> None:
        """Waits for the call under way."""
        self._thread.shutdown(wait=True)
