"""Scores suspect records in a sandbox, and sets aside those that kill it (see core/sandbox.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from scorer.core.errors import HaltError
from scorer.core.ports import Report, Sandbox
from scorer.core.records import Outbound, RecordBatch, Rejection, Scored, Stage
from scorer.core.sandbox import SUSPECT_ROWS, UNFINISHED_MIN, Death, End
from scorer.core.schema import WriterSchema
from scorer.core.scoring import Recipe
from scorer.services.patience import pause_ms

OUTSIDE_MAX = 8
"""How often scoring a record may be ended from outside, some 11 s in all, before its stream halts. That is no verdict
on the record: memory ran out, or somebody kills processes."""

GoingOn = Callable[[str, int], bool]
"""Asked before each try: keeps the surroundings alive, and waits so many milliseconds if there is a reason to. False if
told to stop."""


@dataclass(slots=True)
class Suspects:
    """Which records of the owned partitions are suspect.

    Attributes:
        sandbox: where they are scored.
        report: told of partitions that become suspect, and of records that are set aside.
        until: partition to the first offset that is suspect no more.
    """

    sandbox: Sandbox
    report: Report
    until: dict[int, int] = field(default_factory=dict)

    def assigned(self, positions: Mapping[int, int], unfinished: Mapping[int, int]) -> None:
        """Partitions were taken at these positions, where so many starts before came to no good end."""
        for partition, position in positions.items():
            self.until.pop(partition, None)
            if unfinished.get(partition, 0) >= UNFINISHED_MIN:
                self.until[partition] = position + SUSPECT_ROWS
                told = {"partition": partition, "offset": position, "deaths": unfinished[partition]}
                self.report("partition.suspect", told)

    def holds(self, batch: RecordBatch) -> bool:
        """Whether any record of a batch is suspect."""
        if not self.until:
            return False
        ends = np.array([self.until.get(partition, -1) for partition in batch.partitions.tolist()])
        suspect = bool((batch.offsets < ends).any())
        if not suspect:
            self.sandbox.close()
        return suspect

    def score(
        self,
        batch: RecordBatch,
        schemas: Mapping[int, WriterSchema | str],
        recipe: Recipe,
        now_ms: int,
        going_on: GoingOn,
    ) -> Scored | None:
        """Scores a batch at one go, and record by record if the sandbox ended over it; None if told to stop meanwhile.

        Most suspicions are unfounded, an outage in which partitions changed hands unread being one, and record by
        record costs some fifty times as much.

        Args:
            batch: the records.
            schemas, recipe: see scoring.score_batch.
            now_ms: the same.
            going_on: asked before the batch, before each record and before it is tried again.

        Raises:
            HaltError: a record's tries were all ended from outside.
        """

        def tried(part: RecordBatch, why: str = "", wait_ms: int = 0) -> Scored | Death | None:
            if not going_on(why, wait_ms):
                return None
            found = self.sandbox.score(part, schemas, recipe, now_ms)
            if isinstance(found, Death):
                self.report("sandbox.ended", {"end": found.end.value, "detail": found.detail, "rows": len(part)})
            return found

        if len(batch) > 1:
            whole = tried(batch.take(np.arange(len(batch))))
            if not isinstance(whole, Death):
                return whole
        parts: list[Scored] = []
        for row in range(len(batch)):
            found, ended = tried(batch.row(row)), 0
            while isinstance(found, Death) and found.end is End.OUTSIDE:
                ended += 1
                place = f"offset {int(batch.offsets[row])} of partition {int(batch.partitions[row])}"
                why = f"scoring {place} was ended from outside {ended} times, the last time by {found.detail}"
                if ended == OUTSIDE_MAX:
                    raise HaltError(f"{why}: if memory ran out, give the process more")
                found = tried(batch.row(row), why, pause_ms(ended))
            if found is None:
                return None
            parts.append(self._set_aside(batch, row, found) if isinstance(found, Death) else found)
        return _joined(parts)

    def _set_aside(self, batch: RecordBatch, row: int, death: Death) -> Scored:
        place = {"partition": int(batch.partitions[row]), "offset": int(batch.offsets[row])}
        self.report("record.set_aside", {**place, "end": death.end.value, "detail": death.detail})
        stage = Stage.INFER if death.decoded else Stage.DECODE
        nothing = Outbound("", np.arange(0), [], [])
        return Scored(nothing, [Rejection(0, stage, "kills_process", f"{death.end.value}: {death.detail}")], 0)


def _joined(parts: list[Scored]) -> Scored:
    """The parts of a batch, one per row, as the batch's."""
    topic = next((part.outbound.topic for part in parts if len(part.outbound)), "")
    good = [row for row, part in enumerate(parts) if len(part.outbound)]
    headers = None
    if good and parts[good[0]].outbound.headers is not None:
        headers = [each for row in good for each in parts[row].outbound.headers or []]
    outbound = Outbound(
        topic,
        np.array(good, dtype=np.intp),
        [key for row in good for key in parts[row].outbound.keys],
        [value for row in good for value in parts[row].outbound.values],
        headers,
    )
    rejections = [
        Rejection(row, each.stage, each.reason, each.detail)
        for row, part in enumerate(parts)
        for each in part.rejections
    ]
    return Scored(outbound, rejections, sum(part.tombstones for part in parts))
