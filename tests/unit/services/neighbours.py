"""The neighbours in a worker's world (surroundings.py): source, publisher, transactions. They check as they go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scorer.core.deployments import Activation, entry_of
from scorer.core.errors import AbortedError, ScorerError, TransientError
from scorer.core.model import Model
from scorer.core.offsets import InFlight
from scorer.core.records import DeadLetter, Outbound, RecordBatch, Scored
from scorer.core.strict import record_decoder
from scorer.core.wire import PREFIX_BYTES
from scorer.services.worker import IN_FLIGHT_BATCHES_MAX
from tests.unit.services.deployed import DEPLOYMENTS, deployments_schema
from tests.unit.services.samples import recipe

if TYPE_CHECKING:
    from tests.unit.services.surroundings import World

DEPLOYMENTS_MAX = 100
Place = tuple[int, int]
"""Partition and offset of a record."""


@dataclass
class Message:
    """A message on its way: which record it is about, and whether it is a dead letter."""

    place: Place
    kind: str
    batch: InFlight
    confirmed: bool = False


@dataclass
class WorldSource:
    world: World
    taken: dict[int, int] = field(default_factory=dict)

    def poll(self, *_: object) -> RecordBatch | None:
        world = self.world
        world.log.append(("poll", world.ms))
        if not world.steps:
            world.stop.set()
            return None
        found = world.steps.popleft()()
        world.advance(0 if found is not None else 1)
        return found

    def hold(self, wait_ms: int) -> None:
        self.world.log.append(("hold", self.world.ms))
        self.world.advance(max(wait_ms, 0.1))
        if self.world.holds:
            self.world.holds.popleft()()

    def commit(self, offsets: Mapping[int, int], wait: bool) -> Mapping[int, int]:
        world = self.world
        for partition, offset in offsets.items():
            assert partition in world.owned, "an offset of a partition that is not ours"
            confirmed = {each.place for each in world.deliveries if each.confirmed} | world.tombstones
            unconfirmed = {place for place in world.polled - confirmed if place[0] == partition and place[1] < offset}
            assert not unconfirmed, "an offset before everything up to it is confirmed"
        taken, self.taken = self.taken, {}
        if offsets:
            world.log.append(("commit", dict(offsets), wait, world.ms))
        if world.refuses:
            if wait:
                raise TransientError("the coordinator is away")
            return taken
        world.committed.update(offsets)
        if wait:
            return {**taken, **offsets}
        self.taken = dict(offsets)
        return taken

    def membership(self) -> object:
        return sorted(self.world.owned)

    def unfinished(self) -> dict[int, int]:
        return self.world.unfinished

    def rewind(self) -> dict[int, int]:
        self.world.log.append(("rewind", self.world.ms))
        self.world.polled -= {place for place in self.world.polled if place[0] in self.world.owned}
        return {partition: self.world.committed.get(partition, 0) for partition in self.world.owned}

    def outage(self) -> str | None:
        return self.world.away

    def lag(self) -> dict[int, int]:
        return dict.fromkeys(self.world.owned, 0)


@dataclass
class WorldPublisher:
    world: World

    def publish(self, outbound: Outbound, letters: Sequence[DeadLetter], batch: InFlight) -> list[int]:
        world = self.world
        before = {id(each.batch) for each in world.deliveries if not each.confirmed} - {id(batch)}
        assert len(before) <= IN_FLIGHT_BATCHES_MAX, "more than one batch ahead"
        if outbound.topic == DEPLOYMENTS:
            return self._deployments(outbound, batch)
        too_large: list[int] = []
        for letter in letters:
            notes = {name: (text or b"").decode() for name, text in letter.headers}
            place = int(notes["__connect.errors.partition"]), int(notes["__connect.errors.offset"])
            world.letters.append(letter)
            world.deliveries.append(Message(place, "letter", batch))
        decode = record_decoder(recipe().writer)
        for at, value in enumerate(outbound.values):
            made = decode(value, PREFIX_BYTES)
            place = made["source_partition"], made["source_offset"]
            if place[1] in world.too_large:
                too_large.append(at)
            else:
                world.deliveries.append(Message(place, "prediction", batch))
        world.log.append(("publish", len(outbound), len(letters), world.ms))
        return too_large

    def _deployments(self, outbound: Outbound, batch: InFlight) -> list[int]:
        assert len(self.world.deployments) < DEPLOYMENTS_MAX, "deployments are told for ever"
        decode = record_decoder(deployments_schema())
        for value in outbound.values:
            entry = entry_of(decode(value, PREFIX_BYTES), len(self.world.deployments))
            self.world.deployments.append(entry)
            place = (entry.partition, entry.first_offset) if isinstance(entry, Activation) else (0, -1)
            self.world.deliveries.append(Message(place, "deployment", batch))
        return []

    def close(self, _: int) -> int:
        return sum(not each.confirmed for each in self.world.deliveries)

    def poll(self, wait_ms: int) -> None:
        world = self.world
        if isinstance(world.failure, ScorerError):
            raise world.failure
        if world.failure:
            raise TransientError(f"a delivery failed: {world.failure}")
        waiting = [each for each in world.deliveries if not each.confirmed]
        if world.silent or not waiting:
            world.advance(wait_ms)
            return
        for each in waiting:
            each.confirmed = True
            each.batch.outstanding -= 1


@dataclass
class WorldTransactions(WorldPublisher):
    """Nothing is visible before a commit, and offsets come with it or not at all; not what was open too long."""

    timeout_ms: float = 10_000
    opened_ms: float | None = None
    held: list[Message] = field(default_factory=list)

    def begin(self) -> None:
        if self.world.begins_fail:
            raise self.world.begins_fail.popleft()
        if self.opened_ms is None:
            self.world.log.append(("begin", self.world.ms))
            self.opened_ms = self.world.ms

    def publish(self, outbound: Outbound, letters: Sequence[DeadLetter], batch: InFlight) -> list[int]:
        assert self.opened_ms is not None, "published outside a transaction"
        before = len(self.world.deliveries)
        too_large = super().publish(outbound, letters, batch)
        self.held += self.world.deliveries[before:]
        return too_large

    def poll(self, wait_ms: int) -> None:
        try:
            super().poll(wait_ms)
        except TransientError as error:
            raise AbortedError(str(error)) from error

    def commit(self, offsets: Mapping[int, int], membership: object, wait_ms_max: float | None = None) -> None:
        world = self.world
        assert self.opened_ms is not None
        assert offsets
        assert offsets.keys() <= world.owned, "an offset of a partition that is not ours"
        assert membership == sorted(world.owned), "somebody we were before"
        assert all(each.confirmed for each in self.held), "a commit before its deliveries"
        assert {each.place[0] for each in self.held} <= offsets.keys(), "a partition's records without its offset"
        world.log.append(("commit", dict(offsets), wait_ms_max, world.ms))
        if world.commits_fail:
            raise world.commits_fail.popleft()
        if world.ms - self.opened_ms > self.timeout_ms:
            raise AbortedError("the broker has timed it out")
        world.visible += [(each.place, each.kind) for each in self.held]
        world.committed.update(offsets)
        self.opened_ms, self.held = None, []

    def recover(self) -> None:
        self.world.log.append(("recover", self.world.ms))
        if self.world.recovers_fail:
            raise self.world.recovers_fail.popleft()
        self.world.failure = ""
        gone = {id(each) for each in self.held}  # nobody ever reports on what came to nothing
        self.world.deliveries = [each for each in self.world.deliveries if id(each) not in gone]
        self.opened_ms, self.held = None, []


@dataclass
class WorldObserver:
    world: World

    def batch(self, _: RecordBatch, scored: Scored, *__: object) -> None:
        self.world.scored.append(scored)

    def serving(self, model: Model, _: object) -> None:
        self.world.log.append(("serving", model.bundle.label))

    def lag(self, lag: Mapping[int, int]) -> None:
        self.world.log.append(("lag", lag, self.world.ms))

    def aborted(self) -> None:
        self.world.log.append(("aborted",))
