"""What a worker does with a batch next, as its stream's deployments have it (rollout.py)."""

from __future__ import annotations

from dataclasses import dataclass

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
    """What scores what, in the order in which it is published."""

    parts: list[tuple[RecordBatch, Recipe]]
