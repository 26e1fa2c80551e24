"""When rejections become a flood: a wrong schema, a broken model or a bad deploy, not a few bad records.

Sending a whole topic to the dead letters helps nobody, so the stream halts instead. Source of the idea: arroyo's
DlqLimit.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from scorer.core.errors import HaltError
from scorer.core.records import Rejection


@dataclass(frozen=True, slots=True)
class FloodLimit:
    """What is too much.

    Attributes:
        ratio_max: share of rejected records among the latest `window_rows`, 0 to 1.
        window_rows: how many records back the share is taken; it is judged only over a full window.
        run_rows_max: how many rejected records in a row.
    """

    ratio_max: float = 0.5
    window_rows: int = 1000
    run_rows_max: int = 500


@dataclass(slots=True)
class FloodWatch:
    """The latest records of a stream, by batch: how many there were and how many were rejected; and the latest why."""

    limit: FloodLimit
    batches: deque[tuple[int, int]] = field(default_factory=deque)
    rows: int = 0
    rejected: int = 0
    run: int = 0
    latest: str = ""

    def heed(self, rows: int, rejections: list[Rejection]) -> None:
        """Takes note of a batch.

        Raises:
            HaltError: it is too much.
        """
        if (flood := self.saw(rows, rejections)) is not None:
            raise HaltError(flood)

    def saw(self, rows: int, rejections: list[Rejection]) -> str | None:
        """Takes note of a batch. Returns for people why the stream has to halt, or None."""
        self._count(rows, len(rejections))
        if rejections:
            last = rejections[-1]
            self.latest = f"; the latest: {last.stage}, {last.reason}: {last.detail}"
        longest = self._extend_run(rows, rejections)
        if longest > self.limit.run_rows_max:
            return f"{longest} records in a row were rejected, more than {self.limit.run_rows_max}{self.latest}"
        if self.rows >= self.limit.window_rows and self.rejected > self.limit.ratio_max * self.rows:
            share = f"{self.rejected} of the latest {self.rows} records"
            return f"{share} were rejected, more than {self.limit.ratio_max:.0%}{self.latest}"
        return None

    def _count(self, rows: int, rejected: int) -> None:
        self.batches.append((rows, rejected))
        self.rows += rows
        self.rejected += rejected
        while self.rows - self.batches[0][0] >= self.limit.window_rows:
            gone_rows, gone_rejected = self.batches.popleft()
            self.rows -= gone_rows
            self.rejected -= gone_rejected

    def _extend_run(self, rows: int, rejections: list[Rejection]) -> int:
        """The longest run in this batch, whatever came before counted in; `run` is what goes on into the next."""
        bad = {rejection.row for rejection in rejections}
        if rows and not bad:
            self.run = 0
            return 0
        longest = 0
        for row in range(rows):
            self.run = self.run + 1 if row in bad else 0
            longest = max(longest, self.run)
        return longest
