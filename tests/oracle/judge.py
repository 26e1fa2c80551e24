"""The oracle of the fault tests: what was sent, held against what readers got. Shares no code with the scorer.

O1 nothing is missing, O2 nothing is double (or, at least once, repeats are the same), O3 order, O4 committed offsets,
O5 the reader that watched saw what the last one sees, O6 scores and provenance are right. O7 (enough faults and
records) and O8 (recovery) are the scene's, which knows the faults.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.harness.claims import bits
from tests.harness.load import Place, Sent
from tests.harness.plain_scorer import PlainScorer, parsed
from tests.harness.poison import SKIPPED, kinds_of
from tests.oracle.python_reader import decode
from tests.oracle.watcher import Read

SHOWN = 4
RESCORED_MAX = 8_000
PREFIX = struct.Struct(">BI")


@dataclass(frozen=True, slots=True)
class Seen:
    """What readers got. `watched` is as it came, the others are by partition and offset."""

    predictions: Sequence[Read]
    watched: Sequence[Read]
    uncommitted: Sequence[Read]
    letters: Sequence[Read]
    letters_watched: Sequence[Read]
    committed: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run came to. `aborted` counts predictions that a reader of read_uncommitted sees beyond the committed."""

    records: int = 0
    missing: int = 0
    repeats: int = 0
    aborted: int = 0


class Broken(AssertionError):  # noqa: N818 -- it is a finding
    """A promise was broken. `findings` say which, with examples."""

    def __init__(self, findings: Sequence[str], figures: Figures) -> None:
        super().__init__("\n".join(findings))
        self.findings, self.figures = findings, figures


@dataclass(slots=True)
class Judge:
    """Judges one run of a stream of leads.

    Attributes:
        exactly_once: what was promised.
        plain: scores one event at a time.
        schemas: writers' schemas by id, of events and predictions, as registered.
    """

    exactly_once: bool
    plain: PlainScorer
    schemas: Mapping[int, Any]
    findings: list[str] = field(default_factory=list)
    _parsed: dict[int, Any] = field(default_factory=dict)

    def judge(self, sent: Mapping[Place, Sent], seen: Seen) -> Figures:
        """Returns the figures of a run in which every promise was kept.

        Raises:
            Broken: one was not.
        """
        self._parsed = parsed(self.schemas)
        good = {place for place, each in sent.items() if not each.kind}
        bad = {place: _verdict(each) for place, each in sent.items() if each.kind and _verdict(each) != SKIPPED}
        scored = self._by_place(seen.predictions)
        lettered = self._letters_by_place(seen.letters)
        missing = (good - scored.keys()) | (bad.keys() - lettered.keys())
        self._say(f"O1: {{}} of {len(sent)} records are missing", missing)
        self._say(
            "O1: {} predictions or dead letters of nothing", (scored.keys() - good) | (lettered.keys() - bad.keys())
        )
        twice = {p for p, found in scored.items() if len(found) > 1} | {p for p, f in lettered.items() if len(f) > 1}
        repeats = sum(len(found) - 1 for found in (*scored.values(), *lettered.values()))
        if self.exactly_once:
            self._say("O2: {} records came out more than once", twice)
        else:
            self._say(
                "O2: {} repeats differ from the first", {p for p in twice & scored.keys() if self._differ(scored[p])}
            )
        self._order(seen.predictions)
        self._offsets(sent, seen.committed)
        self._watched("predictions", seen.predictions, seen.watched)
        self._watched("dead letters", seen.letters, seen.letters_watched)
        self._letters(bad, lettered, sent)
        self._scores(scored, sent)
        figures = Figures(len(sent), len(missing), repeats, len(seen.uncommitted) - len(seen.predictions))
        if self.findings:
            raise Broken(self.findings, figures)
        return figures

    def _say(self, text: str, which: set[Place]) -> None:
        if which:
            self.findings.append(f"{text.format(len(which))}, as {sorted(which)[:SHOWN]}")

    def _by_place(self, records: Sequence[Read]) -> dict[Place, list[Read]]:
        found: dict[Place, list[Read]] = defaultdict(list)
        for record in records:
            value = self._value(record)
            found[value["source_partition"], value["source_offset"]].append(record)
        return found

    def _value(self, record: Read) -> dict[str, Any]:
        assert record.value is not None
        magic, schema_id = PREFIX.unpack_from(record.value)
        assert magic == 0
        value: dict[str, Any] = decode(record.value[PREFIX.size :], self._parsed[schema_id])
        return value

    def _letters_by_place(self, letters: Sequence[Read]) -> dict[Place, list[Read]]:
        found: dict[Place, list[Read]] = defaultdict(list)
        for letter in letters:
            notes = dict(letter.headers)
            at = [int(notes[f"__connect.errors.{name}"] or b"") for name in ("partition", "offset")]
            found[at[0], at[1]].append(letter)
        return found

    def _differ(self, records: Sequence[Read]) -> bool:
        """Whether predictions of one event differ in more than the time at which they were made."""
        first, *more = [{**self._value(each), "scored_at": 0} for each in records]
        keys = {(each.partition, each.key) for each in records}
        return len(keys) > 1 or any(bits(each) != bits(first) for each in more)

    def _order(self, records: Sequence[Read]) -> None:
        latest: dict[tuple[int, int], int] = {}
        met: set[Place] = set()
        wrong: set[Place] = set()
        for record in records:
            value = self._value(record)
            place = value["source_partition"], value["source_offset"]
            if place in met:
                continue  # a repeat, where those are allowed
            met.add(place)
            lane = place[0], record.partition
            if place[1] <= latest.get(lane, -1):
                wrong.add(place)
            latest[lane] = place[1]
        self._say("O3: {} records came out behind later ones", wrong)

    def _offsets(self, sent: Mapping[Place, Sent], committed: Mapping[int, int]) -> None:
        ends: dict[int, int] = {}
        for partition, offset in sent:
            ends[partition] = max(ends.get(partition, 0), offset + 1)
        if dict(committed) != ends:
            self.findings.append(f"O4: the group has committed {dict(committed)}, the input ends at {ends}")

    def _watched(self, what: str, last: Sequence[Read], watched: Sequence[Read]) -> None:
        kept = {each.at: each.value for each in last}
        came = {each.at: each.value for each in watched}
        if kept != came:
            gone, new = came.keys() - kept.keys(), kept.keys() - came.keys()
            self.findings.append(
                f"O5: of {what}, {len(gone)} that were seen are gone, {len(new)} were never seen on the way"
            )

    def _letters(
        self, bad: Mapping[Place, tuple[str, str]], letters: Mapping[Place, list[Read]], sent: Mapping[Place, Sent]
    ) -> None:
        wrong: set[Place] = set()
        for place, (stage, reason) in bad.items():
            for letter in letters.get(place, ()):
                notes = dict(letter.headers)
                said = [
                    (notes[f"__connect.errors.{name}"] or b"").decode() for name in ("stage", "exception.class.name")
                ]
                raw = sent[place].raw
                if said != [stage, reason] or (letter.key, letter.value) != (raw.key, raw.value):
                    wrong.add(place)
        self._say("O6: {} dead letters are not the record, or say something else than why", wrong)

    def _scores(self, scored: Mapping[Place, list[Read]], sent: Mapping[Place, Sent]) -> None:
        places = sorted(place for place in scored if place in sent)
        wrong: set[Place] = set()
        names: set[str] = set()
        for place in places[:: max(1, len(places) // RESCORED_MAX)]:
            found = self._value(scored[place][0])
            found.pop("scored_at")
            wanted = self.plain.prediction(sent[place].raw, self._parsed)
            if bits(found) != bits(wanted):
                wrong.add(place)
                names |= {name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)}
        self._say(f"O6: {{}} predictions are not what a plain scorer makes of the event, by {sorted(names)}", wrong)


def _verdict(each: Sent) -> tuple[str, str]:
    return kinds_of("lead")[each.kind][1]
