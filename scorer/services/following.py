"""Which bundle scores which record of a history, as its deployments have it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from scorer.core.deployments import Entry, History, Identity, parted
from scorer.core.records import RecordBatch
from scorer.core.scoring import Recipe
from scorer.services.plans import Parts


@dataclass(frozen=True, slots=True)
class Following:
    """Which recipe scores which record, as history has it; tells nothing. Implements plans.Planner.

    Attributes:
        history: of the stream; every partition has spans.
        recipes: by sha256, all that are needed.
    """

    history: History
    recipes: Mapping[str, Recipe]

    def assigned(self, positions: Mapping[int, int]) -> None:
        """See Planner."""

    def dropped(self, partitions: Iterable[int]) -> None:
        """See Planner."""

    def rewound(self, positions: Mapping[int, int]) -> None:
        """See Planner."""

    def told(self, entries: Iterable[Entry]) -> None:
        """See Planner."""

    def plan(self, batch: RecordBatch, after: Mapping[int, int]) -> Parts:
        """See Planner."""
        only = self._only(batch, after)
        if only is not None:
            return Parts([(batch, self.recipes[only.sha256])])
        return Parts([(part, self.recipes[bundle.sha256]) for part, bundle in parted(batch, self.history)])

    def _only(self, batch: RecordBatch, after: Mapping[int, int]) -> Identity | None:
        """The bundle of all of a batch, if there is one: most batches lie between two boundaries."""
        found = set()
        for partition, end in after.items():
            first = int(batch.offsets[(batch.partitions == partition).argmax()])
            found |= live_within(self.history, partition, first, end)
        return found.pop() if len(found) == 1 else None


def live_within(history: History, partition: int, first: int, end: int) -> set[Identity]:
    """The bundles that score the offsets from `first` up to `end` of a partition that has spans."""
    spans = history.of(partition)
    starts = (first, *spans.changes(first, end)) if first < end else ()
    return {bundle for start in starts if (bundle := spans.at(start)) is not None}
