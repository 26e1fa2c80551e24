"""Which recipe scores which record of a worker's stream: follows the deployments, loads bundles, and swaps.

    step = rollout.plan(batch)          # the worker's thread, once per batch
    Wait(why)                           # the history is not read to its end yet, or an old bundle is being loaded
    Tell(entries)                       # publish these, call `told`, and ask again
    Parts([(batch, recipe), ...])       # score and publish them in this order

A thread of its own reads the topic of deployments, another loads, proves and warms a bundle, so that the worker goes on
meanwhile. A bundle that cannot be loaded is reported, and the old one stays live; no activation says otherwise.

A partition's history is read to its end after the partition was assigned and before a record of it is scored, so that
its new owner follows what the old one has activated. An activation by a member that had been given up by then may come
later still; the owner then sets the record straight, so history says what was scored with what.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from threading import Event, Lock

from scorer.core.deployments import (
    Activation,
    Entry,
    History,
    Identity,
    Intent,
    Spans,
    boundary,
    differences,
    parted,
)
from scorer.core.errors import HaltError, ShutOutError, TransientError
from scorer.core.ports import Clock, Report
from scorer.core.records import RecordBatch
from scorer.core.scoring import Recipe
from scorer.services.deployment_log import Log
from scorer.services.loading import Bundles
from scorer.services.patience import pause_ms
from scorer.services.plans import Parts, Tell, Wait

LOOK_MS = 100


@dataclass(slots=True)
class Rollout:
    """One worker's view of its stream's deployments. `plan`, `told` and the ownership calls come from one thread.

    Attributes:
        history: what was read so far.
        topic_id: asks for the input topic's identity as it is now; raises as `look` does. Called by `follow` alone.
        first: the intent that a stream begins with if it has none.
        log: read by `follow`, in a thread of its own.
        bundles: what is loaded.
        who: names this process in activations.
        clock, report, stop: the surroundings.
        failure: what ended `follow`, or why another process has to go on.
    """

    history: History
    topic_id: Callable[[], str]
    first: Intent
    log: Log
    bundles: Bundles
    who: str
    clock: Clock
    report: Report
    stop: Event
    failure: Exception | None = None
    _lock: Lock = field(default_factory=Lock)
    _asked: int = 1
    _answered: int = 0
    _changed: int = 0
    _current: Recipe | None = None
    _settled: set[int] = field(default_factory=set)
    _scored: dict[int, Spans] = field(default_factory=dict)
    _next: dict[int, int] = field(default_factory=dict)

    def assigned(self, positions: Mapping[int, int]) -> None:
        """Partitions are ours; their history is read to its end before a record of them is scored."""
        with self._lock:
            self._asked += 1
            self._forget(positions)

    def dropped(self, partitions: Iterable[int]) -> None:
        """Partitions are ours no more."""
        with self._lock:
            self._forget(partitions)

    def rewound(self, positions: Mapping[int, int]) -> None:
        """What was scored behind these positions came to nothing."""
        with self._lock:
            for partition, position in positions.items():
                scored, kept = self._scored.pop(partition, Spans()), Spans()
                for start in scored.starts[: bisect_left(scored.starts, position)]:
                    kept.put(start, scored.bundles[start])
                if kept.starts:
                    self._scored[partition] = kept
                self._next[partition] = position
                self._settled.discard(partition)

    def plan(self, batch: RecordBatch, after: Mapping[int, int]) -> Wait | Tell | Parts:
        """What to do with a batch next.

        Args:
            batch: the records.
            after: its next_offsets.

        Raises:
            HaltError: a bundle that has to score it cannot be had; the message says where to put which.
        """
        with self._lock:
            for failure in (self.failure, self.bundles.failure):
                if failure is not None:
                    raise failure
            if self._changed != self.bundles.changed:
                self._changed = self.bundles.changed
                self._settled.clear()
            if self._current is not None and after.keys() <= self._settled:
                self._next.update(after)
                return Parts([(batch, self._current)])
            if self._answered != self._asked:
                return Wait("reading the deployments")
            if self.history.wanted is None:
                return Tell([self.first])
            entries: list[Entry] = []
            for partition in after:
                found = self._due(batch, partition)
                if isinstance(found, Wait):
                    return found
                entries += found
            return Tell(entries) if entries else self._parts(batch, after)

    def told(self, entries: Iterable[Entry]) -> None:
        """These were published and confirmed."""
        with self._lock:
            for entry in entries:
                if isinstance(entry, Intent):
                    self._asked += 1  # it comes back with its number
                elif isinstance(entry, Activation):
                    self.history.apply([entry])
                    told = {"model": entry.bundle.label, "sha256": entry.bundle.sha256, "partition": entry.partition}
                    self.report("deployment.activated", {**told, "first_offset": entry.first_offset})

    def read_all(self) -> None:
        """Reads what is there now, before `follow` begins.

        Raises:
            TransientError: it cannot be read now; call again.
        """
        end = self.log.end()
        while self.log.position < end and not self.stop.is_set():
            self.history.apply(self.log.read(LOOK_MS))

    def follow(self) -> None:
        """Reads the deployments and has bundles loaded until told to stop. Runs in a thread of its own."""
        failed = 0
        while not self.stop.is_set() and self.failure is None:
            try:
                self.look()
                failed = 0
            except (TransientError, ShutOutError) as error:
                failed += 1
                wait = pause_ms(failed)
                self.report("neighbour.waiting", {"why": str(error), "attempt": failed, "next_try_ms": wait})
                self.stop.wait(wait / 1000)
            except Exception as error:
                self.failure = error
        self.log.close()

    def look(self) -> None:
        """Reads on, up to the end where that was asked for.

        Raises:
            TransientError, RefusedError: it cannot be read now.
        """
        asked, end = self._asked, 0
        if asked != self._answered:
            if self.topic_id() != self.history.topic_id:  # all that is known here is of the one before
                self.failure = TransientError(f"{self.first.source_topic} was made anew: a new process takes it up")
                return
            end = self.log.end()
        while not self.stop.is_set():
            entries = self.log.read(LOOK_MS)
            with self._lock:
                if self.history.apply(entries):
                    self._settled.clear()
                wanted = self.history.wanted
                done = self.log.position >= end
                if done:
                    self._answered = asked
            if wanted is not None:
                self.bundles.need(wanted)
            if done:
                return

    def _due(self, batch: RecordBatch, partition: int) -> list[Entry] | Wait:
        """What has to be published before a batch's records of a partition are scored."""
        spans, scored = self.history.of(partition), self._scored.get(partition)
        if scored is not None:
            strayed = differences(scored, spans, scored.starts[0], self._next[partition])
            if strayed:
                return [self._activation(partition, start, bundle, -1) for start, bundle in strayed]
        if spans.last is None:
            return self._begin(batch, partition)
        wanted = self.history.wanted
        assert wanted is not None
        start, bundle = spans.last
        at = boundary(batch, partition, wanted)
        if at is None or at < start or bundle == wanted.bundle or self.bundles.ready(wanted.bundle) is None:
            return []
        return [self._activation(partition, at, wanted.bundle, wanted.number)]

    def _begin(self, batch: RecordBatch, partition: int) -> list[Entry] | Wait:
        """The first activation of a partition: the newest intent that is in effect and ready, or waited for."""
        first = next(iter(batch.offsets[batch.partitions == partition].tolist()))
        servable = [
            intent
            for _, intent in sorted(self.history.intents.items(), reverse=True)
            if self.bundles.refusal(intent) is None and boundary(batch, partition, intent) == first
        ]
        for intent in servable:
            if self.bundles.ready(intent.bundle) is not None:
                return [self._activation(partition, first, intent.bundle, intent.number)]
        if servable:
            self.bundles.need(servable[0])
            return Wait(f"loading {servable[0].bundle.label}")
        refusals = {self.bundles.refusal(intent) for intent in self.history.intents.values()} - {None}
        why = "; ".join(sorted(str(each) for each in refusals)) or "none is in effect yet"
        raise HaltError(f"no deployment of {self.first.stream} can be served: {why}; see: scorer deployments")

    def _parts(self, batch: RecordBatch, after: Mapping[int, int]) -> Wait | Parts:
        """What of a batch can be scored now: a batch may span more bundles than are kept at a time."""
        recipes: list[tuple[RecordBatch, Recipe]] = []
        reached: dict[int, int] = {}
        for part, bundle in parted(batch, self.history):
            recipe = self.bundles.ready(bundle)
            if recipe is None:
                return Parts(recipes, batch.behind(reached)) if recipes else self._lacking(bundle)
            recipes.append((part, recipe))
            reached.update(part.next_offsets)
            self._note(part, bundle)
        self._settle(after)
        return Parts(recipes)

    def _note(self, part: RecordBatch, bundle: Identity) -> None:
        """A part is about to be scored."""
        for partition, end in part.next_offsets.items():
            first = int(part.offsets[part.partitions == partition][0])
            scored = self._scored.setdefault(partition, Spans())
            if not scored.starts or scored.at(first) != bundle:
                scored.put(first, bundle)
            self._next[partition] = end

    def _settle(self, after: Mapping[int, int]) -> None:
        """Partitions that nothing more is to come for take the short way from now on."""
        wanted = self.history.wanted
        assert wanted is not None
        for partition, position in after.items():
            last = self.history.of(partition).last
            if last is None or last[0] >= position:
                continue
            if last[1] == wanted.bundle or self.bundles.refusal(wanted) is not None:
                recipe = self.bundles.ready(last[1])
                if not self._settled:
                    self._current = recipe
                if recipe is self._current:
                    self._settled.add(partition)

    def _lacking(self, bundle: Identity) -> Wait:
        intent = self.history.intent_for(bundle.sha256)
        label = f"{bundle.label} (sha256 {bundle.sha256[:12]})"
        if intent is None:
            raise HaltError(f"{label} was live here, but no intent says where it is; give one with: scorer deploy")
        if (refusal := self.bundles.refusal(intent)) is not None:
            raise HaltError(f"{label} has to score records here: {refusal}")
        self.bundles.need(intent)
        return Wait(f"loading {bundle.label}")

    def _activation(self, partition: int, first_offset: int, bundle: Identity, intent: int) -> Activation:
        first = self.first
        return Activation(
            first.group,
            first.stream,
            bundle,
            self.clock.now_ms(),
            first.source_topic,
            self.history.topic_id,
            partition,
            first_offset,
            intent,
            self.who,
        )

    def _forget(self, partitions: Iterable[int]) -> None:
        for partition in partitions:
            self._scored.pop(partition, None)
            self._next.pop(partition, None)
            self._settled.discard(partition)
