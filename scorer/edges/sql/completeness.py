"""Whether every event of the source topic is there: as a prediction, as a rejection, or as an offset without one."""

# ruff: noqa: S608 - names are quoted by the dialect, values are bound
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from scorer.edges.sql.database import connected, reading, transaction
from scorer.edges.sql.names import Names
from scorer.edges.sql.views import TOTAL, gaps, tails, words

Span = tuple[int, int, int]
"""Partition, first offset, and the offset behind the last."""


@dataclass(frozen=True, slots=True)
class Totals:
    """The total line of the completeness view.

    Attributes:
        events: all that are known of: scored, rejected, missing and waiting.
        missing: offsets between known ones of which nothing is known.
        waiting: offsets behind the last known one, up to where the source topic ended.
        skipped: offsets that hold no event to be scored.
    """

    events: int
    scored: int
    rejected: int
    missing: int
    waiting: int
    skipped: int

    @property
    def complete(self) -> bool:
        """Whether nothing is missing and nothing waits."""
        return self.missing == 0 and self.waiting == 0


class Completeness:
    """Questions to, and notes in, the tables of one prediction topic."""

    def __init__(self, engine: Engine, names: Names, source_topic: str) -> None:
        self._engine, self._names, self._topic = engine, names, source_topic

    def note_source(self, extents: Mapping[int, tuple[int, int]]) -> None:
        """Notes where the source topic begins and ends. Its first beginning stays: what is lost later is missed."""
        with connected(self._engine) as connection, transaction(connection):
            self._put_source(connection, extents)

    def note_replayed(self, ranges: Mapping[int, tuple[int, int]]) -> None:
        """Notes what of the source topic a replay was begun for, which never changes. All else is forgotten: an older
        sink held the tables against the whole topic, and a note of it would leave a gap between it and the piece."""
        source, skipped = self._quote(self._names.source), self._quote(self._names.skipped)
        of_topic = {"topic": self._topic}
        with connected(self._engine) as connection, transaction(connection):
            connection.execute(sa.text(f"DELETE FROM {source} WHERE source_topic = :topic"), of_topic)
            self._put_source(connection, ranges)
            outside = (
                f"DELETE FROM {skipped} WHERE source_topic = :topic AND NOT EXISTS (SELECT 1 FROM {source} s "
                f"WHERE s.source_topic = :topic AND s.source_partition = {skipped}.source_partition "
                f"AND {skipped}.last_offset >= s.first_offset AND {skipped}.first_offset < s.next_offset)"
            )
            connection.execute(sa.text(outside), of_topic)

    def unknown(self) -> list[Span]:
        """Offsets of which nothing is known."""
        with reading(self._engine) as connection:
            word = words(connection)
            query = (
                f"WITH gaps AS ({gaps(self._names, self._topic, word)}), "
                f"tails AS ({tails(self._names, self._topic, word)}) "
                "SELECT part, gap_from, low FROM gaps WHERE low > gap_from "
                "UNION ALL SELECT part, gap_from, low FROM tails ORDER BY 1, 2"
            )
            return [(int(part), int(first), int(end)) for part, first, end in connection.execute(sa.text(query))]

    def note_skipped(self, spans: Sequence[tuple[Span, str]]) -> None:
        """Notes offsets that need no prediction, and why."""
        table = self._quote(self._names.skipped)
        statement = (
            f"INSERT INTO {table} (source_topic, source_partition, first_offset, last_offset, reason) "
            "VALUES (:topic, :part, :first, :last, :reason) ON CONFLICT DO NOTHING"
        )
        rows = [
            {"topic": self._topic, "part": part, "first": first, "last": end - 1, "reason": reason}
            for (part, first, end), reason in spans
        ]
        if rows:
            with connected(self._engine) as connection, transaction(connection):
                connection.execute(sa.text(statement), rows)

    def totals(self) -> Totals:
        """The total line."""
        view, skipped = self._quote(f"{self._names.base}_completeness"), self._quote(self._names.skipped)
        query = (
            "SELECT events, scored, rejected, missing, waiting, "
            "(SELECT COALESCE(sum(last_offset - first_offset + 1), 0) "
            f"FROM {skipped} WHERE source_topic = :topic) FROM {view} WHERE day = '{TOTAL}'"
        )
        with reading(self._engine) as connection:
            row = connection.execute(sa.text(query), {"topic": self._topic}).one()
            return Totals(*(int(each) for each in row))

    def _put_source(self, connection: Connection, extents: Mapping[int, tuple[int, int]]) -> None:
        table = self._quote(self._names.source)
        statement = (
            f"INSERT INTO {table} (source_topic, source_partition, first_offset, next_offset) "
            "VALUES (:topic, :part, :low, :high) ON CONFLICT (source_topic, source_partition) "
            "DO UPDATE SET next_offset = excluded.next_offset"
        )
        rows = [
            {"topic": self._topic, "part": part, "low": low, "high": high}
            for part, (low, high) in sorted(extents.items())
        ]
        if rows:
            connection.execute(sa.text(statement), rows)

    def _quote(self, name: str) -> str:
        return self._engine.dialect.identifier_preparer.quote(name)
