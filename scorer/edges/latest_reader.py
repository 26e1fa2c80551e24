"""Reads what a LatestStore has written so far: the latest prediction of an entity, and pages of the recent log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from scorer.core.answers import Answer, Mark, Positions
from scorer.edges.latest_store import COLUMNS, connected

EVENT_ROWS_MAX = 1_000
"""How many of an entity's logged predictions are looked through for one event."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the log.

    Attributes:
        answers: in the order in which they were read.
        next_seq: where the next page begins.
        reached: the positions up to which the file is read with this page, or None: there is more.
        lost: the first offsets still there, if some that were asked for are gone; else None.
    """

    answers: list[Answer]
    next_seq: int
    reached: Positions | None
    lost: Positions | None


class StoreReader:
    """Reads what is written so far."""

    def __init__(self, path: Path) -> None:
        self._db = connected(path)
        self._db.execute("PRAGMA query_only = ON")

    def latest(self, kind: str, entity: str) -> Answer | None:
        """The entity's newest prediction."""
        return self._one(f"SELECT {COLUMNS} FROM latest WHERE kind = ? AND entity = ?", kind, entity)  # noqa: S608

    def of_event(self, kind: str, entity: str, event_id: str) -> Answer | None:
        """The entity's prediction for an event, if it is among the logged ones."""
        recent = (
            f"SELECT {COLUMNS}, seq FROM log WHERE kind = ? AND entity = ? ORDER BY seq DESC LIMIT {EVENT_ROWS_MAX}"  # noqa: S608
        )
        wanted = f"SELECT {COLUMNS} FROM ({recent}) WHERE event_id = ? AND body NOTNULL ORDER BY seq DESC"  # noqa: S608
        return self._one(wanted, kind, entity, event_id)

    def recent(self, kind: str, rows_max: int) -> list[bytes]:
        """Bodies of the latest logged predictions of a kind."""
        wanted = "SELECT body FROM log WHERE kind = ? AND body NOTNULL ORDER BY seq DESC LIMIT ?"
        found = self._db.execute(wanted, (kind, rows_max))
        return [body for (body,) in found]

    def back(self, kind: str, entity: str | None, rows: int, positions: Positions) -> Positions:
        """The positions from which on so many logged predictions are to come, at most these."""
        where, names = _whose(kind, entity)
        wanted = f"SELECT part, place FROM log WHERE {where} AND body NOTNULL ORDER BY seq DESC LIMIT ?"  # noqa: S608
        found = self._db.execute(wanted, (*names, rows))
        started = dict(positions)
        for part, place in found:
            started[part] = min(place, started.get(part, place))
        return started

    def page(self, kind: str, entity: str | None, since: Mark, seq: int, rows_max: int) -> Page:
        """Logged answers from these positions on; `seq` is 0 for the first page, then the last page's `next_seq`."""
        return self._snapshot(lambda: self._page(kind, entity, since, seq, rows_max))

    def close(self) -> None:
        """Lets go of the file."""
        self._db.close()

    def _page(self, kind: str, entity: str | None, since: Mark, seq: int, rows_max: int) -> Page:
        rows = self._db.execute("SELECT part, next, floor FROM positions WHERE kind = ?", (kind,)).fetchall()
        reached = {part: place for part, place, _ in rows}
        floors = {part: floor for part, _, floor in rows}
        lost = None
        if seq == 0:
            if any(since.positions.get(part, 0) < floor for part, floor in floors.items()):
                lost = {part: max(floor, since.positions.get(part, 0)) for part, floor in floors.items()}
            seq = self._first_seq(kind, floors, since)
        else:
            (trimmed,) = self._db.execute("SELECT trimmed FROM kinds WHERE kind = ?", (kind,)).fetchone() or (0,)
            lost = floors if seq <= trimmed else None
        where, names = _whose(kind, entity)
        found = self._db.execute(
            f"SELECT {COLUMNS}, seq FROM log WHERE {where} AND seq >= ? ORDER BY seq LIMIT ?",  # noqa: S608
            (*names, seq, rows_max),
        ).fetchall()
        answers = [
            answer for *row, _ in found if (answer := _answer(row)).offset >= since.positions.get(answer.partition, 0)
        ]
        more = len(found) == rows_max
        return Page(answers, found[-1][-1] + 1 if found else seq, None if more else reached, lost)

    def _first_seq(self, kind: str, parts: Positions, since: Mark) -> int:
        first = "SELECT seq FROM log WHERE kind = ? AND part = ? AND place >= ? ORDER BY place LIMIT 1"
        found = [self._db.execute(first, (kind, part, since.positions.get(part, 0))).fetchone() for part in parts]
        return min((each[0] for each in found if each is not None), default=1 << 62)

    def _one(self, question: str, *names: str) -> Answer | None:
        row = self._db.execute(question, names).fetchone()
        return None if row is None else _answer(row)

    def _snapshot(self, read: Callable[[], T]) -> T:
        self._db.execute("BEGIN")
        try:
            return read()
        finally:
            self._db.execute("COMMIT")


def _whose(kind: str, entity: str | None) -> tuple[str, tuple[str, ...]]:
    return ("kind = ?", (kind,)) if entity is None else ("kind = ? AND entity = ?", (kind, entity))


def _answer(row: Sequence[Any]) -> Answer:
    kind, entity, part, place, event_id, *order, scored_at, tag, body = row
    return Answer(kind, entity, part, place, event_id, tuple(order), scored_at, tag, body)
