"""What a worker does with a batch next, as its stream's deployments have it (rollout.py live, replay.py afterwards)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from scorer.core.deployments import Entry
from scorer.core.records import RecordBatch
from scorer.core.scoring import Recipe


@dataclass(frozen=True, slots=True)
class Wait:
    """The batch cannot be scored yet.

    Attributes:
        why: for people.
    """

    why: str


@dataclass(frozen=True, slots=True)
class Tell:
    """These have to be published before the batch is scored."""

    entries: list[Entry]


@dataclass(frozen=True, slots=True)
class Parts:
    """What scores what, in the order in which it is published.

    Attributes:
        parts: what can be scored now.
        rest: what cannot yet, to be planned anew once these parts are published; offsets behind theirs.
    """

    parts: list[tuple[RecordBatch, Recipe]]
    rest: RecordBatch | None = None


class Planner(Protocol):
    """Says which recipe scores which record. All calls come from the worker's thread."""

    def assigned(self, positions: Mapping[int, int]) -> None:
        """Partitions are ours from these offsets on."""

    def dropped(self, partitions: Iterable[int]) -> None:
        """Partitions are ours no more."""

    def rewound(self, positions: Mapping[int, int]) -> None:
        """What was scored behind these positions came to nothing."""

    def plan(self, batch: RecordBatch, after: Mapping[int, int]) -> Wait | Tell | Parts:
        """What to do with a batch next; `after` are its next offsets.

        Raises:
            HaltError: a bundle that has to score it cannot be had.
        """

    def told(self, entries: Iterable[Entry]) -> None:
        """These were published and confirmed."""
