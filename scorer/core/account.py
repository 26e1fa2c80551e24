"""What a verification comes to: every event and every prediction of the range, counted once, and the worst of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from scorer.core.compose import PROVENANCE
from scorer.core.verdicts import ALARMING, Cause, Level, Published, Rescored, Verdict, stranger

EXAMPLES_MAX = 5
STRANGERS_MIN = 20
"""From so many events on that differ in bytes and in time, if they are most of all, it is another topic."""


@dataclass(frozen=True, slots=True)
class Example:
    """One finding in full.

    Attributes:
        prediction_id: the prediction's, or what it would be.
        place: where it is in the output topic, as PARTITION:OFFSET; "" for one that is missing.
        verdict: what was found.
        values: field to (published, scored again), for outputs and provenance that differ; nothing of whom it is about.
    """

    prediction_id: str
    place: str
    verdict: Verdict
    values: Mapping[str, tuple[Any, Any]]


@dataclass(slots=True)
class Account:
    """Counts of one verification.

    Attributes:
        events: offsets of the range that hold an event, by what stands against it: prediction, dead_letter, tombstone,
            missing, unserved (nothing was live there).
        levels, causes: predictions and gaps by level, and those that are not bit-equal by cause.
        models: predictions by name, version and the beginning of the sha256.
        builds: predictions by runtime, CPU class and version of the scorer.
        repeats: predictions that say the same as another of their id.
        skipped: records of the output topic that were left out, by why.
        lost: offsets that retention took before they were scored.
        examples: the worst by cause.
    """

    events: Counter[str] = field(default_factory=Counter)
    levels: Counter[Level] = field(default_factory=Counter)
    causes: Counter[Cause] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    builds: Counter[str] = field(default_factory=Counter)
    repeats: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    examples: dict[Cause, list[Example]] = field(default_factory=dict)
    strangers: int = 0

    def judged(self, published: Published, verdict: Verdict, again: Rescored | None = None) -> None:
        """Takes a verdict on a prediction. `again` is what the core makes of its event now, if that was asked."""
        own = published.fields
        self.models[f"{published.bundle.label} {published.bundle.sha256[:12]}"] += 1
        self.builds[f"{own['runtime']}, {own['cpu_class']}, scorer {own['scorer_version']}"] += 1
        self.strangers += stranger(verdict)
        values = {}
        if again is not None and again.fields is not None:
            shown = {rule.field for rule in again.contract.outputs} | PROVENANCE.keys() - {"event_id"}
            values = {name: (own.get(name), again.fields.get(name)) for name in verdict.fields if name in shown}
        place = f"{published.place[0]}:{published.place[1]}"
        self._count(Example(str(own["prediction_id"]), place, verdict, values))

    def missed(self, prediction_id: str, verdict: Verdict) -> None:
        """Takes note of an event without what it ought to have."""
        self._count(Example(prediction_id, "", verdict, {}))

    def close(self) -> None:
        """Once all is counted: many strangers are no changed events but another topic."""
        checked = sum(self.levels[each] for each in Level if each is not Level.MISSING)
        if self.strangers < STRANGERS_MIN or self.strangers * 2 < checked:
            return
        self.causes[Cause.EVENT] -= self.strangers
        self.causes[Cause.RECREATED] += self.strangers
        self.causes += Counter()  # without zeros
        moved = self.examples.pop(Cause.EVENT, [])
        for each in moved:
            cause = Cause.RECREATED if stranger(each.verdict) else Cause.EVENT
            self.examples.setdefault(cause, []).append(replace(each, verdict=replace(each.verdict, cause=cause)))
        self.strangers = 0

    @property
    def clean(self) -> bool:
        """Whether nothing is left that somebody has to look at."""
        return not self.lost and not any(self.causes[each] for each in ALARMING)

    def _count(self, example: Example) -> None:
        verdict = example.verdict
        self.levels[verdict.level] += 1
        if verdict.cause is None:
            return
        self.causes[verdict.cause] += 1
        kept = self.examples.setdefault(verdict.cause, [])
        kept.append(example)
        kept.sort(key=lambda each: -each.verdict.size)
        del kept[EXAMPLES_MAX:]
