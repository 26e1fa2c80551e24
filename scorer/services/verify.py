"""Scores a range of live predictions again and says of each how it stands, and of each event what stands against it.

By the worker's own core (rescoring.py), with the bundle that the activations name at each offset. Read alone: nothing
is published or committed. The range and all ends are fixed before anything is read. Memory holds the predictions of one
window of the range; the others wait on disk (gathering.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np

from scorer.core.account import Account
from scorer.core.compose import digest
from scorer.core.deployments import Activation, Identity
from scorer.core.letters import Place
from scorer.core.lineage import Lineage, Standing, before_scoring, in_turn
from scorer.core.pieces import Piece
from scorer.core.ranges import Aside
from scorer.core.records import RecordBatch
from scorer.core.verdicts import (
    Cause,
    Event,
    Level,
    Published,
    Rescored,
    Verdict,
    prediction_id,
    settled,
)
from scorer.services.gathering import Gathering
from scorer.services.patience import StoppedError
from scorer.services.rescoring import Rescoring
from scorer.services.spans import Topics

Pair = tuple[int, Identity]
"""A row of a batch, and what it is scored with."""


@dataclass(slots=True)
class Verify:
    """Judges what was gathered about a range.

    Attributes:
        topics: where the events are read.
        gathering: the predictions and dead letters about them.
        rescoring: scores them again.
        lineage: what was live; None for a lane, whose predictions are taken at their word.
        piece: what a lane's replay was for; None for live, and where that is not known: all of the range.
        progress: told how many events were looked at, of how many at most.
    """

    topics: Topics
    gathering: Gathering
    rescoring: Rescoring
    lineage: Lineage | None
    piece: Piece | None = None
    progress: Callable[[int, int], None] = lambda *_: None
    _waiting: dict[Place, list[Aside]] = field(default_factory=dict)

    @property
    def account(self) -> Account:
        """What was found so far."""
        return self.gathering.account

    def run(self) -> Account:
        """Reads the events of the range, wave by wave.

        Raises:
            StoppedError, ConfigError, TransientError: told to stop; there is no such topic; Kafka does not answer.
        """
        done = 0
        for wave in self.gathering.waves():
            spans = {self.gathering.cut[number][0]: self.gathering.cut[number][1] for number in wave}
            for number in wave:
                partition = self.gathering.cut[number][0]
                for aside in self.gathering.shelf.take(number):
                    self._waiting.setdefault((partition, aside.offset), []).append(aside)
            for batch in self.topics.stretch(self.gathering.topic, spans):
                self._batch(batch)
                done += len(batch)
                self.progress(done, self.gathering.range.events)
            if self.topics.stop.is_set():  # reading ends early then, and what was not read is not missing
                raise StoppedError
            self._left_over()
        self.account.close()
        return self.account

    def _batch(self, batch: RecordBatch) -> None:
        places = list(zip(batch.partitions.tolist(), batch.offsets.tolist(), strict=True))
        found = [self._waiting.pop(place, []) for place in places]
        published = self._published(found)
        letters = [any(_about(each, value) for each in own) for own, value in zip(found, batch.values, strict=True)]
        live = self._activations(batch)
        verdicts: dict[int, list[tuple[Published, Verdict]]] = {}
        wanted: dict[Identity, list[int]] = {}
        for row, own in enumerate(published):
            event = Event(digest(batch.values[row] or b""), int(batch.timestamps[row])) if own else None
            for each in own:
                verdict = None if event is None else before_scoring(each, event, self._standing(live[row]))
                if verdict is not None:
                    verdicts.setdefault(row, []).append((each, verdict))
                elif row not in wanted.setdefault(each.bundle, []):
                    wanted[each.bundle].append(row)
        again = self._scored(batch, wanted)
        for row, own in enumerate(published):
            done = {id(each) for each, _ in verdicts.get(row, [])}
            for each in own:
                if id(each) not in done:
                    verdict = self.rescoring.judged(each, batch, row, again[row, each.bundle])
                    if not letters[row]:
                        verdict = self._in_turn(each, verdict, batch, row, live[row])
                    verdicts.setdefault(row, []).append((each, verdict))
            self._count(verdicts.get(row, []), row, again)
            self._event(batch, row, verdicts.get(row, []), letters[row], live[row])

    def _in_turn(
        self, published: Published, verdict: Verdict, batch: RecordBatch, row: int, live: Activation | None
    ) -> Verdict:
        found = in_turn(published, verdict, self._standing(live))
        if found is verdict or not self._letter_is_gone(batch, row, live):
            return found
        return verdict  # another bundle scored it, by a redrive or before

    def _letter_is_gone(self, batch: RecordBatch, row: int, live: Activation | None) -> bool:
        """Whether an event without a dead letter may have had one: that of its time may be gone, and it is rejected."""
        if live is None or not self.gathering.letters_gone.may_be(int(batch.timestamps[row])):
            return False
        return self.rescoring.rejects(batch, row, live.bundle)

    def _published(self, found: list[list[Aside]]) -> list[list[Published]]:
        flat = [(row, each) for row, own in enumerate(found) for each in own if each.value is not None]
        records = self.rescoring.decoder.records([each.value for _, each in flat])
        made: list[list[Published]] = [[] for _ in found]
        for (row, each), record in zip(flat, records, strict=True):
            assert record is not None, "it was decoded before it was put aside"
            published = Published(each.place, each.key, *record)
            if self.lineage is not None and self.lineage.foreign(published.bundle, self.gathering.topic):
                self.account.skipped["other_stream"] += 1
            else:
                made[row].append(published)
        return made

    def _activations(self, batch: RecordBatch) -> list[Activation | None]:
        """What was live at each row."""
        found: list[Activation | None] = [None] * len(batch)
        if self.lineage is None:
            return found
        for partition in batch.next_offsets:
            rows = np.flatnonzero(batch.partitions == partition)
            offsets = batch.offsets[rows]
            first, end = int(offsets[0]), int(offsets[-1]) + 1
            starts = [first, *self.lineage.changes(partition, first, end)]
            own = [self.lineage.at(partition, start) for start in starts]
            turns = np.searchsorted(np.array(starts), offsets, side="right") - 1
            for row, turn in zip(rows.tolist(), turns.tolist(), strict=True):
                found[row] = own[turn]
        return found

    def _standing(self, live: Activation | None) -> Standing:
        gathering = self.gathering
        return Standing(gathering.topic, gathering.recreated, self.lineage, live)

    def _scored(self, batch: RecordBatch, wanted: Mapping[Identity, list[int]]) -> dict[Pair, Rescored | str]:
        found: dict[Pair, Rescored | str] = {}
        for bundle, rows in wanted.items():
            if not rows:
                continue
            part = batch if len(rows) == len(batch) else batch.take(np.array(rows))
            again = self.rescoring.score(part, bundle)
            for at, row in enumerate(rows):
                found[row, bundle] = again if isinstance(again, str) else again[at]
        return found

    def _count(self, verdicts: list[tuple[Published, Verdict]], row: int, again: Mapping[Pair, Rescored | str]) -> None:
        seen: list[Mapping[str, Any]] = []
        for published, verdict in settled(verdicts) if len(verdicts) > 1 else verdicts:
            if len(verdicts) > 1:
                if published.content in seen:
                    self.account.repeats += 1
                    continue
                seen.append(published.content)
            scored = again.get((row, published.bundle))
            self.account.judged(published, verdict, scored if isinstance(scored, Rescored) else None)

    def _event(
        self,
        batch: RecordBatch,
        row: int,
        verdicts: list[tuple[Published, Verdict]],
        letter: bool,
        live: Activation | None,
    ) -> None:
        """Notes what stands against an event."""
        events = self.account.events
        earlier = any(each.cause is Cause.RECREATED for _, each in verdicts)
        if not all(_strange(each) for _, each in verdicts):
            events["prediction"] += 1
        elif letter:
            events["dead_letter"] += 1
        elif batch.values[row] is None:
            events["tombstone"] += 1
        elif not self._served(batch, row, live, earlier=earlier):
            events["unserved"] += 1
        else:
            events["missing"] += 1
            place = int(batch.partitions[row]), int(batch.offsets[row])
            bundle = live.bundle if live is not None else Identity("?", "?", "")
            self.account.missed(prediction_id(bundle, batch.topic, place), self._missing(batch, row, live))

    def _missing(self, batch: RecordBatch, row: int, live: Activation | None) -> Verdict:
        cause, why = Cause.UNEXPLAINED, "the event has neither a prediction nor a dead letter"
        if self.gathering.predictions_gone.may_be(int(batch.timestamps[row])):
            cause = Cause.PREDICTION_GONE
        elif self._letter_is_gone(batch, row, live):
            cause = Cause.LETTER_GONE
        elif self.account.skipped["unknown_schema"]:
            why += " that can be read; see what was left out for an unknown schema"
        return Verdict(Level.MISSING, cause, why)

    def _served(self, batch: RecordBatch, row: int, live: Activation | None, *, earlier: bool) -> bool:
        """Whether it was to be scored. `earlier`: its place has a prediction, of a topic that was there before."""
        if self.lineage is not None:
            return live is not None and not (earlier and live.source_topic_id != self.lineage.topic_id)
        event = int(batch.partitions[row]), int(batch.offsets[row]), int(batch.timestamps[row])
        return self.piece is None or self.piece.means(*event)

    def _left_over(self) -> None:
        """Judges predictions at whose event's place the topic holds no record."""
        waiting, self._waiting = self._waiting, {}
        if not waiting:
            return
        extents = self.topics.extents.extents(self.gathering.topic)  # now: records may have expired meanwhile
        for published in self._published(list(waiting.values())):
            for each in published:
                low, _ = extents.get(each.source[0], (0, 0))
                high = self.gathering.range.extents.get(each.source[0], (0, 0))[1]
                self.account.judged(each, self.gathering.nowhere(each, (low, high)))


def _about(aside: Aside, value: bytes | None) -> bool:
    """Whether a record that was put aside is a dead letter of these bytes, or does not say of which."""
    if aside.value is not None:
        return False
    return aside.key is None or (value is not None and sha256(value).hexdigest().encode() == aside.key)


def _strange(verdict: Verdict) -> bool:
    """Whether a prediction with that verdict leaves its event without one."""
    if verdict.cause is Cause.RECREATED:
        return True
    return verdict.level is Level.SURPLUS and verdict.cause in (Cause.FORGED, Cause.AGAIN)
