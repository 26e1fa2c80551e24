"""A worker's surroundings, written by hand: a topic, a broker and a clock that only waiting moves. The core is real.

They check on their own, whatever a test is about: no offset is committed before everything up to it is confirmed, no
offset of a partition that is not ours is committed, and no batch is handed over while two are unconfirmed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any

import numpy as np

from scorer.core.deployments import Entry, History, Intent
from scorer.core.errors import ScorerError, TransientError
from scorer.core.records import Closed, DeadLetter, RecordBatch, Scored
from scorer.core.scoring import Recipe
from scorer.core.state import State, Status
from scorer.services.delivery import AtLeastOnce, Delivery, ExactlyOnce
from scorer.services.limits import Limits
from scorer.services.loading import Bundles
from scorer.services.output import Output
from scorer.services.rollout import Rollout
from scorer.services.schemas import Schemas
from scorer.services.suspects import Suspects
from scorer.services.worker import Worker
from tests.unit.services.deployed import DEPLOYMENTS, GROUP, TOPIC_ID, WorldLog, activation, deployments_schema, intent
from tests.unit.services.neighbours import Message, Place, WorldObserver, WorldPublisher, WorldSource, WorldTransactions
from tests.unit.services.redrive_world import Sandbox
from tests.unit.services.samples import BASE_MS, EVENT_ID, EVENT_TEXT, lead, recipe

START_MS = 1_000_000.0
GRACE_MS = 10_000
TIMEOUT_MS = 10_000
TOPIC, LETTERS = "events.new-lead", "events.new-lead.dead-letter"

Step = Callable[[], RecordBatch | None]


@dataclass
class World:
    """All neighbours of one worker.

    Attributes:
        steps: what each poll of the source does; when they are used up, the worker is told to stop.
        holds: what the next holds of the source do.
        silent: whether the broker confirms nothing.
        refuses: whether the broker takes no commits.
        registry_down: whether the registry does not answer.
        too_large: offsets whose predictions the broker does not take.
        failure: what a delivery report says that is not good, or what the publisher raises.
        unfinished: partition to how many starts at its position came to no good end.
        away: what the source says of its broker.
        deployed: whether the shipped bundle is live from the first record of every partition on.
        deployments: the topic of deployments.
        topic_id: tells the input topic from one of the same name that was made anew.
        recipes: by sha256, what can be loaded besides the shipped bundle, or why not.
        exactly_once: whether it delivers in transactions, of 100 ms or 5 records.
        begins_fail, commits_fail, recovers_fail: what the next of these calls raise.
        visible: what readers of committed records see, with transactions.
        log: what happened, in order.
    """

    limits: Limits = field(default_factory=Limits)
    deployed: bool = True
    deployments: list[Entry] = field(default_factory=list)
    topic_id: str = TOPIC_ID
    recipes: dict[str, Recipe | ScorerError] = field(default_factory=dict)
    commit_every_ms: int = 500
    exactly_once: bool = False
    begins_fail: deque[ScorerError] = field(default_factory=deque)
    commits_fail: deque[ScorerError] = field(default_factory=deque)
    recovers_fail: deque[ScorerError] = field(default_factory=deque)
    visible: list[tuple[Place, str]] = field(default_factory=list)
    texts: dict[int, str] = field(default_factory=lambda: {EVENT_ID: EVENT_TEXT})
    steps: deque[Step] = field(default_factory=deque)
    holds: deque[Callable[[], object]] = field(default_factory=deque)
    silent: bool = False
    refuses: bool = False
    registry_down: bool = False
    too_large: frozenset[int] = frozenset()
    failure: str | ScorerError = ""
    unfinished: dict[int, int] = field(default_factory=dict)
    away: str | None = None
    ms: float = START_MS
    log: list[tuple[Any, ...]] = field(default_factory=list)
    deliveries: list[Message] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    tombstones: set[Place] = field(default_factory=set)
    polled: set[Place] = field(default_factory=set)
    owned: set[int] = field(default_factory=set)
    committed: dict[int, int] = field(default_factory=dict)
    scored: list[Scored] = field(default_factory=list)
    stop: Event = field(default_factory=Event)
    _due: list[tuple[float, Callable[[], object]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.status = Status(lambda state, detail: self.log.append(("state", state, detail)))
        self.rollout = Rollout(
            history=History(GROUP, TOPIC_ID),
            topic_id=lambda: self.topic_id,
            first=intent(recipe()),
            log=WorldLog(self),
            bundles=Bundles(self.load, self.report, self.stop),
            who="this process",
            clock=self,
            report=self.report,
            stop=self.stop,
        )
        self.rollout.bundles.load_now(self.rollout.first)
        if self.deployed:
            first = replace(self.rollout.first, number=0)
            self.deployments += [first, *(activation(first, partition, 0) for partition in range(10))]
        self.worker = Worker(
            output=Output(GROUP, LETTERS, DEPLOYMENTS, deployments_schema(), "0", self),
            delivery=self._delivery(),
            schemas=Schemas(self, self.report, grace_ms_max=GRACE_MS),
            rollout=self.rollout,
            suspects=Suspects(Sandbox(frozenset()), self.report),
            clock=self,
            observer=WorldObserver(self),
            report=self.report,
            status=self.status,
            stop=self.stop,
            limits=self.limits,
        )

    def _delivery(self) -> Delivery:
        if self.exactly_once:
            return ExactlyOnce(WorldTransactions(self, TIMEOUT_MS), self, self.report, 100, 5, TIMEOUT_MS)
        return AtLeastOnce(WorldPublisher(self), self, self.report, self.commit_every_ms)

    def run(self, *steps: Step) -> None:
        """Runs the worker through these steps, then stops it and leaves the group as the consumer's close does."""
        self.steps.extend(steps)
        try:
            self.worker.run(WorldSource(self))
        finally:
            if self.owned:
                self.revoke(*self.owned)

    def batch(self, *records: tuple[int, int, bytes | None]) -> Step:
        """A step that reads a batch of (partition, offset, value)."""

        def read() -> RecordBatch:
            for partition, offset, value in records:
                assert partition in self.owned
                (self.tombstones if value is None else self.polled).add((partition, offset))
            n = len(records)
            partitions, offsets, values = zip(*records, strict=True)
            columns = np.array(partitions, np.int32), np.array(offsets, np.int64), np.full(n, BASE_MS, np.int64)
            return RecordBatch(TOPIC, *columns, list(values), [b"key"] * n, [None] * n, Closed.IDLE)

        return read

    def leads(self, *offsets: int, partition: int = 0, schema_id: int = EVENT_ID) -> Step:
        """A step that reads good leads at these offsets."""
        return self.batch(*((partition, offset, lead(offset, schema_id)) for offset in offsets))

    def assign(self, *partitions: int) -> Step:
        """A step in which partitions become ours, from where they are committed."""

        def assigned() -> None:
            self.owned.update(partitions)
            self.polled = {place for place in self.polled if place[0] not in partitions}
            self.worker.assigned({partition: self.committed.get(partition, 0) for partition in partitions})
            self.rollout.look()

        return assigned

    def idle(self, ms: float) -> Step:
        """A step in which nothing comes for a while."""
        return lambda: self.advance(ms)

    def revoke(self, *partitions: int) -> None:
        """Takes partitions away, in good order."""
        self.log.append(("revoke",))
        self.worker.revoked(list(partitions))
        self.owned.difference_update(partitions)

    def lose(self, *partitions: int) -> None:
        """Takes partitions away without asking."""
        self.owned.difference_update(partitions)
        self.worker.lost(list(partitions))

    def at(self, ms: float, action: Callable[[], object] | None = None, **attributes: Any) -> None:
        """Does something so long after the start, and sets attributes."""

        def act() -> None:
            if action is not None:
                action()
            for name, value in attributes.items():
                setattr(self, name, value)

        self._due.append((START_MS + ms, act))

    @property
    def published(self) -> list[tuple[Place, str]]:
        """What was handed over, in order."""
        return [(each.place, each.kind) for each in self.deliveries]

    def reports(self, event: str) -> list[dict[str, Any]]:
        """The fields of all reports of an event."""
        return [dict(entry[2]) for entry in self.log if entry[:2] == ("report", event)]

    def states(self) -> list[State]:
        """The states that were entered."""
        return [entry[1] for entry in self.log if entry[0] == "state"]

    def times(self, *entry: Any) -> list[float]:
        """When something happened, from the start on."""
        return [each[-1] - START_MS for each in self.log if each[: len(entry)] == entry]

    def now_ms(self) -> int:
        return BASE_MS + int(self.ms - START_MS)

    def ticks_ms(self) -> float:
        return self.ms

    def advance(self, ms: float) -> None:
        """Moves time, and does what is due meanwhile."""
        end_ms = self.ms + ms
        while due := min((each for each in self._due if each[0] <= end_ms), key=lambda each: each[0], default=None):
            self._due.remove(due)
            self.ms = max(self.ms, due[0])
            due[1]()
        self.ms = max(self.ms, end_ms)
        assert self.ms - START_MS < 600_000, "the worker waits for ever"

    def sleep(self, ms: float) -> None:
        self.advance(ms)
        self.rollout.look()

    def load(self, wanted: Intent) -> Recipe:
        found = {self.rollout.first.bundle.sha256: recipe(), **self.recipes}[wanted.bundle.sha256]
        if isinstance(found, ScorerError):
            raise found
        return found

    def text(self, schema_id: int) -> str | None:
        if self.registry_down:
            raise TransientError("the registry does not answer")
        return self.texts.get(schema_id)

    def report(self, event: str, fields: Mapping[str, Any]) -> None:
        self.log.append(("report", event, fields))
