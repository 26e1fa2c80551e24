"""One process serves one stream: read a micro-batch, score it, publish it; delivery.py settles it.

One batch may be on its way while the next is scored. Outages are waited out. A flood of rejections or a lost range
halts the stream: alive, a member of its group, not ready, until an operator has looked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf
from threading import Event

import numpy as np

from scorer.core.deployments import Entry
from scorer.core.errors import AbortedError, HaltError, TransientError
from scorer.core.floods import FloodWatch
from scorer.core.offsets import Ledger
from scorer.core.ports import Clock, Lagging, Observer, Report
from scorer.core.records import RecordBatch
from scorer.core.sandbox import BATCH_S_MAX, START_S_MAX
from scorer.core.schema import WriterSchema
from scorer.core.scoring import Recipe, score_batch
from scorer.core.state import State, Status
from scorer.core.wire import Frames, split_frames
from scorer.services.delivery import Delivery, Reached
from scorer.services.limits import Limits
from scorer.services.output import Output
from scorer.services.patience import pause_ms
from scorer.services.plans import Parts, Planner, Tell
from scorer.services.schemas import Schemas
from scorer.services.suspects import Suspects
from scorer.services.telling import Telling, unconfirmed

IDLE_MS_MAX = 100
HOLD_AFTER_MS = 1000
"""A wait this long pauses the partitions and polls, so that the group keeps us. Shorter ones keep the prefetched."""
LOOK_AGAIN_MS = 5
IN_FLIGHT_BATCHES_MAX = 1
"""How many batches may be unconfirmed when the next one is published."""


@dataclass(slots=True)
class Worker:
    """Scores one stream until `stop` is set. All calls come from one thread.

    Attributes:
        output: makes messages of what was scored.
        delivery: publishes them, and commits offsets.
        schemas, clock, observer, report: the surroundings.
        suspects: scores records that may end the process, elsewhere.
        rollout: which recipe scores which record.
        status: what health checks see.
        stop: set by signal handlers.
    """

    output: Output
    delivery: Delivery
    schemas: Schemas
    rollout: Planner
    suspects: Suspects
    clock: Clock
    observer: Observer
    report: Report
    status: Status
    stop: Event
    limits: Limits = field(default_factory=Limits)
    reached: Reached = lambda _: None
    source: Lagging | None = None
    watch: FloodWatch = field(init=False)
    telling: Telling = field(init=False)
    aborts: int = 0
    serving: Recipe | None = None
    ends_at_ms: float = inf
    """When a stop has used up its budget; leaving the group, which revokes, comes out of the same one."""

    def __post_init__(self) -> None:
        self.watch = FloodWatch(self.limits.flood)
        self.telling = Telling(self.status, self.clock, self.observer, self.ledger)

    @property
    def ledger(self) -> Ledger:
        """Which offsets are whose, and how far they are."""
        return self.delivery.ledger

    def run(self, source: Lagging) -> None:
        """Works until told to stop, then drains: everything read is published, confirmed and committed.

        Raises:
            TransientError: an outage that only a new process gets over; nothing unconfirmed is committed.
        """
        self.source = source
        self.status.enter(State.STARTING, "waiting for partitions")
        try:
            while not self.stop.is_set():
                try:
                    self._step(source)
                except AbortedError as error:
                    self._begin_again(source, str(error))
        except HaltError as error:
            self._halt(source, str(error))
        self.status.enter(State.STOPPING, "draining")
        self.ends_at_ms = self.clock.ticks_ms() + self.limits.shutdown_ms_max
        self.delivery.finish(source, self.ends_at_ms, "shutdown")

    def assigned(self, positions: Mapping[int, int]) -> None:
        """See ports.Ownership."""
        self.ledger.assign(positions)
        self.rollout.assigned(positions)
        if self.source is not None:
            self.suspects.assigned(positions, self.source.unfinished())
        self.report("partitions.assigned", {"positions": dict(positions)})

    def revoked(self, partitions: Sequence[int]) -> None:
        """See ports.Ownership. Drains within a budget, commits, lets go."""
        assert self.source is not None
        until_ms = min(self.ends_at_ms, self.clock.ticks_ms() + self.limits.revoke_ms_max)
        self.delivery.finish(self.source, until_ms, "revoke")
        self._gone(partitions, "partitions.revoked")

    def lost(self, partitions: Sequence[int]) -> None:
        """See ports.Ownership."""
        self.delivery.lost()
        self._gone(partitions, "partitions.lost")

    def _gone(self, partitions: Sequence[int], event: str) -> None:
        self.ledger.drop(partitions)
        self.rollout.dropped(partitions)
        self.report(event, {"partitions": list(partitions)})

    def _step(self, source: Lagging) -> None:
        self.telling.turns(source)
        batch = source.poll(self.limits.batch, self.delivery.idle_ms(IDLE_MS_MAX))
        if batch is not None and not self.delivery.spoiled:  # else it is read again
            self.reached("consumed")
            self._process(source, batch)
        self._settle(source)
        self.telling.works(source)

    def _process(self, source: Lagging, batch: RecordBatch) -> None:
        since = dict(self.ledger.generations)
        frames = split_frames(batch.values, self.limits.batch.value_bytes_max)
        schemas = self.schemas.resolve(
            frames.groups, self.clock.ticks_ms, self.stop, lambda found: self._await(source, found.why, found.wait_ms)
        )
        left: RecordBatch | None = batch
        while schemas is not None and left is not None:
            planned = self._planned(source, left, since)
            if planned is None:
                return  # told to stop while waiting: the batch is read again by whoever comes next
            for part, recipe in planned.parts:
                own = frames if part is batch else split_frames(part.values, self.limits.batch.value_bytes_max)
                if not self._score(source, part, own, schemas, recipe=recipe, since=since):
                    return
            left = planned.rest

    def _planned(self, source: Lagging, batch: RecordBatch, since: Mapping[int, int]) -> Parts | None:
        """What scores what is still ours of a batch; None if told to stop before that was known."""
        began_ms = self.clock.ticks_ms()
        while not self.stop.is_set():
            after = batch.next_offsets
            gone = [p for p in after if not self.ledger.holds(p, since)]
            if gone:
                batch = batch.take(np.flatnonzero(~np.isin(batch.partitions, gone)))
                if not len(batch):
                    return Parts([])
                continue
            step = self.rollout.plan(batch, after)
            if isinstance(step, Parts):
                return step
            if isinstance(step, Tell):
                self._tell(source, step.entries)
            elif self.clock.ticks_ms() - began_ms > HOLD_AFTER_MS:
                self._await(source, step.why, IDLE_MS_MAX)
            else:
                self.clock.sleep(LOOK_AGAIN_MS)
        return None

    def _tell(self, source: Lagging, entries: list[Entry]) -> None:
        """Publishes entries of the deployments and waits until they are confirmed, or told to stop."""

        def going_on(waited_ms: float) -> bool:
            if waited_ms > HOLD_AFTER_MS:
                self._await(source, f"a deployment is unconfirmed for {waited_ms:.0f} ms", IDLE_MS_MAX, settling=False)
            return not self.stop.is_set()

        if self.delivery.announce(source, self.output.entries(entries), going_on):
            self.rollout.told(entries)

    def _score(
        self,
        source: Lagging,
        batch: RecordBatch,
        frames: Frames,
        schemas: Mapping[int, WriterSchema | str],
        *,
        recipe: Recipe,
        since: Mapping[int, int],
    ) -> bool:
        """Scores a batch with one recipe and publishes it. Returns False if told to stop before that."""
        started_ms = self.clock.ticks_ms()
        if recipe is not self.serving:
            self.serving = recipe
            self.observer.serving(recipe.model, recipe.origin)
            self.report("stream.serving", {"model": recipe.model.bundle.label, "sha256": recipe.model.bundle.sha256})
        if self.suspects.holds(batch):
            self.delivery.conclude(source)  # a record that hangs may take minutes
            scored = self.suspects.score(batch, schemas, recipe, self.clock.now_ms(), partial(self._going_on, source))
            if scored is None:
                return False
        else:
            scored = score_batch(batch, frames, schemas, recipe, self.clock.now_ms())
        self.reached("scored")
        self.watch.heed(len(batch), scored.rejections)
        if not self._wait_for_deliveries(source):
            return False
        published = self.output.publish(self.delivery, batch, scored, since, recipe)
        self.reached("produced")
        self.observer.batch(batch, published.all, self.clock.ticks_ms() - started_ms, self.clock.now_ms())
        if published.too_large:
            self.watch.heed(0, published.too_large)  # their records are counted already
        return True

    def _going_on(self, source: Lagging, why: str, wait_ms: int) -> bool:
        if why or self.clock.ticks_ms() - self.telling.turned_ms > IDLE_MS_MAX:
            self._await(source, why, max(1, wait_ms))
        self.telling.pauses(1000 * (START_S_MAX + BATCH_S_MAX))
        return not self.stop.is_set()

    def _wait_for_deliveries(self, source: Lagging) -> bool:
        """Waits until few enough batches are unconfirmed. Returns False if told to stop meanwhile."""
        started_ms = self.clock.ticks_ms()
        self.ledger.committable()
        while len(self.ledger.pending) > IN_FLIGHT_BATCHES_MAX:
            waited_ms = self.clock.ticks_ms() - started_ms
            if waited_ms > HOLD_AFTER_MS:
                self._await(source, unconfirmed(self.ledger, waited_ms), IDLE_MS_MAX)
            self.delivery.publisher.poll(10)
            self.ledger.committable()
            if self.stop.is_set() and waited_ms > HOLD_AFTER_MS:
                return False
        return True

    def _await(self, source: Lagging, why: str, wait_ms: float, settling: bool = True) -> None:
        """Waits as a member of the group, with delivery reports and commits going on unless they have failed."""
        if why:
            self.status.enter(State.WAITING, why)
        until_ms = self.clock.ticks_ms() + wait_ms
        while not self.stop.is_set() and (left_ms := until_ms - self.clock.ticks_ms()) > 0:
            self.telling.turns(source)
            source.hold(int(min(left_ms, IDLE_MS_MAX)))
            if settling:
                self._settle(source)

    def _settle(self, source: Lagging) -> None:
        if self.delivery.settle(source):
            self.aborts = 0

    def _begin_again(self, source: Lagging, why: str) -> None:
        """After an aborted transaction: everything since the last commit is read again."""
        self.aborts += 1
        self.report("transaction.aborted", {"why": why, "in_a_row": self.aborts})
        self.observer.aborted()
        self.watch = FloodWatch(self.limits.flood)  # else what is read again would count twice
        attempt = 0
        while not self.stop.is_set():
            try:
                self.delivery.recover()
                positions = source.rewind()
            except TransientError as error:
                attempt += 1
                self._await(source, str(error), pause_ms(attempt), settling=False)
            else:
                self.ledger.restart(positions)
                self.rollout.rewound(positions)
                break
        if self.aborts > 1:  # each costs a fetch of everything that was read ahead
            self._await(source, why, pause_ms(self.aborts), settling=False)

    def _halt(self, source: Lagging, why: str) -> None:
        """Stands still, not ready, as a member of the group, until told to stop."""
        aborted = ""
        while not self.stop.is_set():
            self.status.enter(State.HALTED, why)
            try:
                if aborted:
                    abort, aborted = aborted, ""
                    self._begin_again(source, abort)
                else:
                    self._await(source, "", HOLD_AFTER_MS)
            except HaltError as error:
                why = str(error)
            except AbortedError as error:
                aborted = str(error)
