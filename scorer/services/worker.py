"""One process serves one stream: read a micro-batch, score it, publish it; delivery.py settles it.

One batch may be on its way while the next is scored. Outages are waited out. A flood of rejections or a lost range
halts the stream: alive, a member of its group, not ready, until an operator has looked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from threading import Event

import numpy as np

from scorer.core.dead_letters import dead_letters
from scorer.core.errors import AbortedError, HaltError, TransientError
from scorer.core.floods import FloodLimit, FloodWatch
from scorer.core.offsets import Ledger
from scorer.core.ports import BatchLimits, Clock, Lagging, Observer, Report
from scorer.core.records import DeadLetter, RecordBatch, Rejection, Scored, Stage
from scorer.core.schema import WriterSchema
from scorer.core.scoring import Recipe, score_batch
from scorer.core.state import State, Status
from scorer.core.wire import Frames, split_frames
from scorer.services.delivery import Delivery, Reached
from scorer.services.patience import pause_ms
from scorer.services.schemas import Schemas, Waiting
from scorer.services.suspects import Suspects

IDLE_MS_MAX = 100
HOLD_AFTER_MS = 1000
"""A wait this long pauses the partitions and polls, so that the group keeps us. Shorter ones keep the prefetched."""
IN_FLIGHT_BATCHES_MAX = 1
"""How many batches may be unconfirmed when the next one is published."""


@dataclass(frozen=True, slots=True)
class Limits:
    """A worker's limits, all times in milliseconds."""

    batch: BatchLimits = field(default_factory=BatchLimits)
    flood: FloodLimit = field(default_factory=FloodLimit)
    revoke_ms_max: int = 10_000
    shutdown_ms_max: int = 20_000


@dataclass(slots=True)
class Worker:
    """Scores one stream until `stop` is set. All calls come from one thread.

    Attributes:
        group: the consumer group, for dead letters.
        dead_letter_topic: where rejections go.
        delivery: publishes, and commits offsets.
        schemas, clock, observer, report: the surroundings.
        suspects: scores records that may end the process, elsewhere; None scores all here.
        recipe: what to score with.
        status: what health checks see.
        stop: set by signal handlers.
    """

    group: str
    dead_letter_topic: str
    delivery: Delivery
    schemas: Schemas
    recipe: Recipe
    clock: Clock
    observer: Observer
    report: Report
    status: Status
    stop: Event
    limits: Limits = field(default_factory=Limits)
    reached: Reached = lambda _: None
    suspects: Suspects | None = None
    source: Lagging | None = None
    watch: FloodWatch = field(init=False)
    aborts: int = 0
    ends_at_ms: float = inf
    """When a stop has used up its budget; leaving the group, which revokes, comes out of the same one."""

    def __post_init__(self) -> None:
        self.watch = FloodWatch(self.limits.flood)

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
        if self.suspects is not None and self.source is not None:
            self.suspects.assigned(positions, self.source.unfinished())
        self.report("partitions.assigned", {"positions": dict(positions)})

    def revoked(self, partitions: Sequence[int]) -> None:
        """See ports.Ownership. Drains within a budget, commits, lets go."""
        assert self.source is not None
        until_ms = min(self.ends_at_ms, self.clock.ticks_ms() + self.limits.revoke_ms_max)
        self.delivery.finish(self.source, until_ms, "revoke")
        self.ledger.drop(partitions)
        self.report("partitions.revoked", {"partitions": list(partitions)})

    def lost(self, partitions: Sequence[int]) -> None:
        """See ports.Ownership."""
        self.delivery.lost()
        self.ledger.drop(partitions)
        self.report("partitions.lost", {"partitions": list(partitions)})

    def _step(self, source: Lagging) -> None:
        self.status.beat(self.clock.ticks_ms())
        batch = source.poll(self.limits.batch, self.delivery.idle_ms(IDLE_MS_MAX))
        if batch is not None and not self.delivery.spoiled:  # else it is read again
            self.reached("consumed")
            self._process(source, batch)
        self._settle(source)
        if outage := source.outage():
            self.status.enter(State.WAITING, outage)
        elif self.ledger.generations:
            self.status.enter(State.RUNNING, "")
        else:
            self.status.enter(State.STARTING, "no partitions assigned")

    def _process(self, source: Lagging, batch: RecordBatch) -> None:
        since = dict(self.ledger.generations)
        started_ms = self.clock.ticks_ms()
        frames = split_frames(batch.values, self.limits.batch.value_bytes_max)
        schemas = self.schemas.resolve(
            frames.groups, self.clock.ticks_ms, self.stop, lambda waiting: self._await_schemas(source, waiting)
        )
        if schemas is None:
            return  # told to stop while waiting: the batch is read again by whoever comes next
        scored = self._scored(source, batch, frames, schemas)
        if scored is None:
            return
        self.reached("scored")
        flood = self.watch.saw(len(batch), scored.rejections)
        if flood is not None:
            raise HaltError(flood)
        if not self._wait_for_deliveries(source):
            return
        ours = self._still_ours(batch, scored, since)
        published = self._publish(batch, ours, since)
        self.reached("produced")
        self.observer.batch(batch, published, self.clock.ticks_ms() - started_ms, self.clock.now_ms())
        too_large = published.rejections[len(ours.rejections) :]
        flood = self.watch.saw(0, too_large) if too_large else None  # their records are counted already
        if flood is not None:
            raise HaltError(flood)

    def _scored(
        self, source: Lagging, batch: RecordBatch, frames: Frames, schemas: Mapping[int, WriterSchema | str]
    ) -> Scored | None:
        """The batch, scored; None if told to stop before it was."""
        if self.suspects is None or not self.suspects.holds(batch):
            return score_batch(batch, frames, schemas, self.recipe, self.clock.now_ms())

        def going_on() -> bool:
            self._linger(source, 1)
            return not self.stop.is_set()

        self.status.enter(State.WAITING, "records behind two deaths are scored one by one")
        return self.suspects.score(batch, schemas, self.clock.now_ms(), going_on)

    def _publish(self, batch: RecordBatch, scored: Scored, since: Mapping[int, int]) -> Scored:
        """Hands a batch over. Returns it as it was published: what is too large is a rejection."""
        outbound, letters = scored.outbound, self._letters(batch, scored.rejections)
        self.delivery.begin(len(batch))
        in_flight = self.ledger.begin(batch.next_offsets, len(outbound) + len(letters), since)
        too_large = self.delivery.publisher.publish(outbound, letters, in_flight)
        if not too_large:
            return scored
        # A dead letter takes the place of each, and is waited for in its stead.
        detail = f"{outbound.topic} does not take it"
        rejections = [
            Rejection(int(outbound.rows[at]), Stage.ENCODE, "prediction_too_large", detail) for at in too_large
        ]
        self.delivery.publisher.publish(outbound.take([]), self._letters(batch, rejections), in_flight)
        stays = sorted(set(range(len(outbound))) - set(too_large))
        return Scored(outbound.take(stays), [*scored.rejections, *rejections], scored.tombstones)

    def _letters(self, batch: RecordBatch, rejections: list[Rejection]) -> list[DeadLetter]:
        return dead_letters(
            batch,
            rejections,
            topic=self.dead_letter_topic,
            stream=self.group,
            model=self.recipe.model.bundle.label,
            now_ms=self.clock.now_ms(),
        )

    def _await_schemas(self, source: Lagging, waiting: Waiting) -> None:
        self.status.enter(State.WAITING, waiting.why)
        self._linger(source, waiting.wait_ms)

    def _wait_for_deliveries(self, source: Lagging) -> bool:
        """Waits until few enough batches are unconfirmed. Returns False if told to stop meanwhile."""
        started_ms = self.clock.ticks_ms()
        self.ledger.committable()
        while len(self.ledger.pending) > IN_FLIGHT_BATCHES_MAX:
            waited_ms = self.clock.ticks_ms() - started_ms
            if waited_ms > HOLD_AFTER_MS:
                self.status.enter(
                    State.WAITING, f"{len(self.ledger.pending)} batches unconfirmed for {waited_ms:.0f} ms"
                )
                self._linger(source, IDLE_MS_MAX)
            self.delivery.publisher.poll(10)
            self.ledger.committable()
            if self.stop.is_set() and waited_ms > HOLD_AFTER_MS:
                return False
        return True

    def _linger(self, source: Lagging, wait_ms: float, settling: bool = True) -> None:
        """Waits as a member of the group, with delivery reports and commits going on unless they have failed."""
        until_ms = self.clock.ticks_ms() + wait_ms
        while not self.stop.is_set() and (left_ms := until_ms - self.clock.ticks_ms()) > 0:
            self.status.beat(self.clock.ticks_ms())
            source.hold(int(min(left_ms, IDLE_MS_MAX)))
            if settling:
                self._settle(source)

    def _still_ours(self, batch: RecordBatch, scored: Scored, since: Mapping[int, int]) -> Scored:
        """Leaves out rows of partitions that changed hands while we waited: their new owner scores them."""
        gone = [p for p in batch.next_offsets if not self.ledger.holds(p, since)]
        if not gone:
            return scored
        stays = ~np.isin(batch.partitions, gone)
        kept = np.flatnonzero(stays[scored.outbound.rows]).tolist()
        return Scored(
            scored.outbound.take(kept), [each for each in scored.rejections if stays[each.row]], scored.tombstones
        )

    def _settle(self, source: Lagging) -> None:
        if self.delivery.settle(source):
            self.aborts = 0
            self.observer.commit(source.lag())

    def _begin_again(self, source: Lagging, why: str) -> None:
        """After an aborted transaction: everything since the last commit is read again."""
        self.aborts += 1
        self.report("transaction.aborted", {"why": why, "in_a_row": self.aborts})
        self.observer.aborted()
        attempt = 0
        while not self.stop.is_set():
            try:
                self.delivery.recover()
                positions = source.rewind()
            except TransientError as error:
                attempt += 1
                self.status.enter(State.WAITING, str(error))
                self._linger(source, pause_ms(attempt), settling=False)
            else:
                self.ledger.restart(positions)
                break
        if self.aborts > 1:  # each costs a fetch of everything that was read ahead
            self.status.enter(State.WAITING, why)
            self._linger(source, pause_ms(self.aborts), settling=False)

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
                    self._linger(source, HOLD_AFTER_MS)
            except HaltError as error:
                why = str(error)
            except AbortedError as error:
                aborted = str(error)
