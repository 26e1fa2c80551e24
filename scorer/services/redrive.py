"""Scores dead letters again, by the same core as the live run, and publishes the predictions under the same ids.

A record is taken from the source topic where that still holds its bytes, else from the letter, with the original's
place either way: so the id is the one that the live run would have given, and doing it twice changes nothing for a
reader that upserts. What fails again becomes a new dead letter that counts the attempts. Nothing is ever written to the
source topic. At least once: what was interrupted is done again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from threading import Event
from typing import Protocol

from scorer.core.dead_letters import dead_letters
from scorer.core.errors import TransientError
from scorer.core.letters import Letter, Place, Stored, as_originals, chunks, tried_again
from scorer.core.offsets import InFlight
from scorer.core.ports import Clock, Report
from scorer.core.records import DeadLetter, Outbound, RecordBatch, Rejection, Scored, Stage
from scorer.core.scoring import Recipe, score_batch
from scorer.core.wire import split_frames
from scorer.services.patience import StoppedError
from scorer.services.schemas import Schemas, Waiting
from scorer.services.spans import Topics
from scorer.services.suspects import Suspects

BYTES_MAX = 64 << 20
"""Values that are in hand at a time; a single larger one is taken alone."""
KILLS_PROCESS = "kills_process"
POLL_MS = 100
STOP_MS_MAX = 2_000
"""How long deliveries are waited for once it is told to stop."""


class Publishing(Protocol):
    """What is used of ports.Publisher."""

    def publish(self, outbound: Outbound, letters: Sequence[DeadLetter], batch: InFlight) -> list[int]:
        """See ports.Publisher."""

    def poll(self, wait_ms: int) -> None:
        """See ports.Publisher."""


@dataclass(slots=True)
class Outcome:
    """What came of records, by the reason of the letter that was there before.

    Attributes:
        passed: predictions published, or with a dry run: that would be.
        rejected: (old reason, new reason) to records.
        lost: records whose bytes neither the source topic nor the letter holds.
        refused: records that have been tried too often.
        from_source, from_letters: where the bytes were taken from.
    """

    passed: Counter[str] = field(default_factory=Counter)
    rejected: Counter[tuple[str, str]] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    from_source: int = 0
    from_letters: int = 0

    @property
    def done(self) -> int:
        """How many records have their outcome."""
        return sum(each.total() for each in (self.passed, self.rejected, self.lost, self.refused))

    @property
    def all_passed(self) -> bool:
        """Whether no record is left without a prediction."""
        return self.done == self.passed.total()


@dataclass(slots=True)
class Redrive:
    """Scores letters of one stream again. All calls come from one thread.

    Attributes:
        topics: where records are read.
        source_topic, letters_topic: the stream's own.
        group: the stream's consumer group, for dead letters.
        publisher: takes predictions and dead letters; a Rehearsal publishes nothing.
        schemas, recipe: what to score with.
        suspects: scores records that have ended a process before, elsewhere.
        attempts_max: records that have failed so often are refused; None for no limit.
        rows_max, value_bytes_max: of a batch, and of a value that is decoded.
        stop: set to end after the batch in hand.
        progress: told after each batch what has come of the records so far.
    """

    topics: Topics
    source_topic: str
    letters_topic: str
    group: str
    publisher: Publishing
    schemas: Schemas
    recipe: Recipe
    suspects: Suspects
    clock: Clock
    report: Report
    attempts_max: int | None
    rows_max: int
    value_bytes_max: int
    stop: Event
    progress: Callable[[Outcome], None] = lambda _: None

    def run(self, letters: Sequence[Letter]) -> Outcome:
        """Scores the records of these letters, of which there is one for each record.

        Raises:
            StoppedError: told to stop; the batches before were published and confirmed.
            TransientError: Kafka does not answer, or did not confirm what was published.
        """
        outcome = Outcome()
        most = self.attempts_max
        outcome.refused.update(each.reason for each in letters if most is not None and each.attempts >= most)
        tried = [each for each in letters if most is None or each.attempts < most]
        for deadly in (False, True):
            alike = [each for each in tried if (each.reason == KILLS_PROCESS) is deadly]
            for chunk in chunks(alike, self.rows_max, BYTES_MAX):
                if self.stop.is_set():
                    raise StoppedError
                self._score(chunk, outcome, deadly)
                self.progress(outcome)
        return outcome

    def _score(self, letters: list[Letter], outcome: Outcome, deadly: bool) -> None:
        contents = self._contents(letters, outcome)
        by_place = {letter.source: letter for letter in letters}
        outcome.lost.update(letter.reason for place, letter in by_place.items() if place not in contents)
        if not contents:
            return
        batch = as_originals(self.source_topic, contents)
        owners = [by_place[place] for place in sorted(contents)]
        scored = self._scored(batch, deadly)
        rejections = scored.rejections + self._publish(batch, scored.outbound, scored.rejections, owners)
        failed = {each.row for each in rejections}
        outcome.rejected.update((owners[each.row].reason, each.reason) for each in rejections)
        outcome.passed.update(owners[row].reason for row in scored.outbound.rows.tolist() if row not in failed)

    def _contents(self, letters: list[Letter], outcome: Outcome) -> dict[Place, Stored]:
        """The original records by their places; those that are nowhere are left out."""
        found = self.topics.fetch(self.source_topic, (letter.source for letter in letters))
        contents = {
            letter.source: found[letter.source]
            for letter in letters
            if letter.source in found and letter.tells_of(found[letter.source].value)
        }
        outcome.from_source += len(contents)
        others = [letter for letter in letters if letter.source not in contents and not letter.omitted]
        copies = self.topics.fetch(self.letters_topic, (letter.place for letter in others))
        for letter in others:
            copy = copies.get(letter.place)
            if copy is not None and letter.tells_of(copy.value):
                own = copy.headers[: letter.headers]
                contents[letter.source] = Stored(copy.key, copy.value, own, copy.timestamp)
                outcome.from_letters += 1
        if self.stop.is_set():  # reading ends early then, and what was not read is not lost
            raise StoppedError
        return contents

    def _scored(self, batch: RecordBatch, deadly: bool) -> Scored:
        frames = split_frames(batch.values, self.value_bytes_max)
        known = self.schemas.resolve(frames.groups, self.clock.ticks_ms, self.stop, self._await_schemas)
        if known is None:
            raise StoppedError
        now_ms = self.clock.now_ms()
        if not deadly:
            return score_batch(batch, frames, known, self.recipe, now_ms)
        scored = self.suspects.score(batch, known, self.recipe, now_ms, self._going_on)
        if scored is None:
            raise StoppedError
        return scored

    def _going_on(self, _: str, wait_ms: int) -> bool:
        return not self.stop.wait(wait_ms / 1000)

    def _await_schemas(self, waiting: Waiting) -> None:
        self.report("neighbour.waiting", {"why": waiting.why, "next_try_ms": waiting.wait_ms})
        self.stop.wait(waiting.wait_ms / 1000)

    def _publish(
        self, batch: RecordBatch, outbound: Outbound, rejections: list[Rejection], owners: list[Letter]
    ) -> list[Rejection]:
        """Publishes a batch and waits until it is confirmed. Returns a rejection for each that is too large."""
        letters = self._letters(batch, rejections, owners)
        in_flight = InFlight({}, len(outbound) + len(letters))
        refused = self.publisher.publish(outbound, letters, in_flight)
        detail = f"{outbound.topic} does not take it"
        too_large = [Rejection(int(outbound.rows[at]), Stage.ENCODE, "prediction_too_large", detail) for at in refused]
        if too_large:
            self.publisher.publish(outbound.take([]), self._letters(batch, too_large, owners), in_flight)
        self._wait_for_deliveries(in_flight)
        return too_large

    def _wait_for_deliveries(self, in_flight: InFlight) -> None:
        told_ms = inf
        while in_flight.outstanding:
            self.publisher.poll(POLL_MS)
            if self.stop.is_set():
                now_ms = self.clock.ticks_ms()
                told_ms = min(told_ms, now_ms)
                if now_ms - told_ms > STOP_MS_MAX:
                    raise TransientError(f"{in_flight.outstanding} messages are not confirmed; a repeat does no harm")

    def _letters(self, batch: RecordBatch, rejections: list[Rejection], owners: list[Letter]) -> list[DeadLetter]:
        made = dead_letters(
            batch,
            rejections,
            topic=self.letters_topic,
            stream=self.group,
            model=self.recipe.model.bundle.label,
            now_ms=self.clock.now_ms(),
        )
        return [tried_again(each, owners[why.row].attempts + 1) for each, why in zip(made, rejections, strict=True)]


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Implements Publishing without publishing: says what is too large, and confirms the rest.

    Attributes:
        bytes_max: what a topic takes, by its name.
        overhead_bytes: what a message takes besides key and value.
    """

    bytes_max: Mapping[str, int]
    overhead_bytes: int

    def publish(self, outbound: Outbound, letters: Sequence[DeadLetter], batch: InFlight) -> list[int]:
        """See Publishing."""
        limit = self.bytes_max[outbound.topic] - self.overhead_bytes
        sizes = [len(key) + len(value) for key, value in zip(outbound.keys, outbound.values, strict=True)]
        too_large = [at for at, size in enumerate(sizes) if size > limit]
        batch.outstanding -= len(outbound) - len(too_large) + len(letters)
        return too_large

    def poll(self, wait_ms: int) -> None:
        """See Publishing."""
