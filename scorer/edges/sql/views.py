"""Views for analysts, made by rule from a layout: nothing about any one model.

`<t>_by_<label>_day`, `<t>_<label>_moves` for each text that the model gives out; `<t>_stale`; `<t>_completeness`.
They are made again only when their definition changes, in place where the database can, so that grants stay.
"""

# ruff: noqa: S608 - names are quoted by the dialect, values are bound
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from scorer.core.tables import ORDER, Layout
from scorer.edges.sql.database import POSTGRES
from scorer.edges.sql.names import Names, fitting

STALE_DAYS = 30
TOTAL = "total"


@dataclass(frozen=True, slots=True)
class Words:
    """What the two databases say differently. `day` is the UTC day of a time column."""

    quote: Callable[[str], str]
    day: Callable[[str], str]
    day_text: Callable[[str], str]
    today: str
    long_ago: str
    least: str


def words(connection: Connection) -> Words:
    """The words of a connection's database."""
    quote = connection.dialect.identifier_preparer.quote
    if connection.dialect.name == POSTGRES:
        return Words(
            quote,
            lambda time: f"({time} AT TIME ZONE 'UTC')::date",
            lambda time: f"to_char({time} AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
            "(date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC')",
            f"(now() - interval '{STALE_DAYS} days')",
            "LEAST",
        )
    return Words(
        quote,
        lambda time: f"substr({time}, 1, 10)",
        lambda time: f"substr({time}, 1, 10)",
        "strftime('%Y-%m-%dT00:00:00.000Z', 'now')",
        f"strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-{STALE_DAYS} days')",
        "MIN",
    )


def definitions(names: Names, layout: Layout, source_topic: str, word: Words) -> dict[str, str]:
    """Every view's name and query."""
    made: dict[str, str] = {}
    for label in layout.labels:
        made[fitting(f"{names.base}_by_{label}_day")] = _by_day(names, layout, label, word)
        made[fitting(f"{names.base}_{label}_moves")] = _moves(names, layout, label, word)
    made[f"{names.base}_stale"] = _stale(names, layout, word)
    made[f"{names.base}_completeness"] = _completeness(names, source_topic, word)
    return made


def make(connection: Connection, wanted: Mapping[str, str]) -> None:
    """Makes the views, and leaves alone those that are as they should be."""
    quote = connection.dialect.identifier_preparer.quote
    if connection.dialect.name == POSTGRES:
        for name, query in wanted.items():
            if _is_there(connection, name, query):
                continue
            connection.exec_driver_sql("SAVEPOINT views")
            try:
                connection.exec_driver_sql(f"CREATE OR REPLACE VIEW {quote(name)} AS {query}")
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", "") != "42P16":  # columns were taken away or renamed
                    raise
                connection.exec_driver_sql("ROLLBACK TO SAVEPOINT views")
                connection.exec_driver_sql(f"DROP VIEW {quote(name)}")
                connection.exec_driver_sql(f"CREATE VIEW {quote(name)} AS {query}")
            connection.exec_driver_sql("RELEASE SAVEPOINT views")
        return
    found = connection.execute(sa.text("SELECT name, sql FROM sqlite_master WHERE type = 'view'"))
    there = {str(row[0]): str(row[1]) for row in found}
    for name, query in wanted.items():
        text = f"CREATE VIEW {quote(name)} AS {query}"
        if there.get(name) != text:
            connection.exec_driver_sql(f"DROP VIEW IF EXISTS {quote(name)}")
            connection.exec_driver_sql(text)


def _is_there(connection: Connection, name: str, query: str) -> bool:
    """Whether PostgreSQL has this view: it understands both in the same way.

    Replacing it would wait for everybody who reads it (a dashboard, a dump), let nobody else read it meanwhile, and
    need its owner.
    """
    probe = "scorer_probe"
    connection.exec_driver_sql(f"CREATE TEMPORARY VIEW {probe} AS {query}")
    same = "SELECT pg_get_viewdef(to_regclass(:name)) = pg_get_viewdef(to_regclass(:probe))"
    asked = {"name": connection.dialect.identifier_preparer.quote(name), "probe": f"pg_temp.{probe}"}
    found = connection.execute(sa.text(same), asked).scalar_one()
    connection.exec_driver_sql(f"DROP VIEW pg_temp.{probe}")
    return bool(found)


def _by_day(names: Names, layout: Layout, label: str, word: Words) -> str:
    quote = word.quote
    figures = "".join(
        f", {call}({quote(number)}) AS {quote(f'{name}_{number}')}"
        for number in layout.numbers
        for name, call in (("mean", "avg"), ("min", "min"), ("max", "max"))
    )
    shown = quote(f"{label}_given" if label in ("day", "predictions") else label)
    return (
        f"SELECT {word.day('occurred_at')} AS day, {quote(label)} AS {shown}, count(*) AS predictions{figures} "
        f"FROM {quote(names.history)} GROUP BY 1, 2"
    )


def _moves(names: Names, layout: Layout, label: str, word: Words) -> str:
    entity, field = word.quote(layout.entity), word.quote(label)
    newest = ", ".join(f"h.{name} DESC" for name in ORDER)
    return (
        f"WITH earlier AS (SELECT h.{entity}, h.{field}, h.occurred_at, "
        f"row_number() OVER (PARTITION BY h.{entity} ORDER BY {newest}) AS place "
        f"FROM {word.quote(names.history)} h JOIN {word.quote(names.base)} l ON l.{entity} = h.{entity} "
        f"WHERE l.occurred_at >= {word.today} AND h.occurred_at < {word.today}) "
        f"SELECT l.{entity}, e.{field} AS {word.quote(f'{label}_before')}, l.{field} AS {word.quote(f'{label}_now')}, "
        f"e.occurred_at AS before_at, l.occurred_at AS now_at "
        f"FROM earlier e JOIN {word.quote(names.base)} l ON l.{entity} = e.{entity} "
        f"WHERE e.place = 1 AND l.{field} <> e.{field}"
    )


def _stale(names: Names, layout: Layout, word: Words) -> str:
    entity, table = word.quote(layout.entity), word.quote(names.base)
    newest = ", ".join(f"{name} DESC" for name in ORDER)
    return (
        f"WITH newest AS (SELECT model_sha256 FROM {table} ORDER BY {newest} LIMIT 1) "
        f"SELECT t.{entity}, t.occurred_at, t.model_name, t.model_version, "
        f"t.occurred_at < {word.long_ago} AS is_old, t.model_sha256 <> n.model_sha256 AS is_of_other_model "
        f"FROM {table} t CROSS JOIN newest n "
        f"WHERE t.occurred_at < {word.long_ago} OR t.model_sha256 <> n.model_sha256"
    )


def accounted(names: Names, source_topic: str, word: Words) -> str:
    """A query for what is known of every source offset: partition, lowest and highest offset, time, kind.

    Kind 1 is a scored event, 2 a rejected one, 3 offsets that hold none to be scored.
    """
    topic = f"source_topic = {_text(source_topic)}"
    return (
        "SELECT source_partition AS part, source_offset AS low, source_offset AS high, "
        f"min(source_timestamp) AS stamp, min(kind) AS kind FROM ("
        f"SELECT source_partition, source_offset, source_timestamp, 1 AS kind FROM {word.quote(names.history)} "
        f"WHERE {topic} UNION ALL "
        f"SELECT source_partition, source_offset, source_timestamp, 2 AS kind FROM {word.quote(names.rejected)} "
        f"WHERE {topic}) each_one GROUP BY source_partition, source_offset "
        f"UNION ALL SELECT source_partition, first_offset, last_offset, NULL, 3 "
        f"FROM {word.quote(names.skipped)} WHERE {topic}"
    )


def gaps(names: Names, source_topic: str, word: Words) -> str:
    """The same with `gap_from`: the offset from which on everything before `low` is missing (none if that is `low`).

    What lies below the beginning that the source topic had when it was first looked at is not asked for.
    """
    return (
        f"SELECT a.part, a.low, a.high, a.stamp, a.kind, COALESCE("
        f"max(a.high) OVER (PARTITION BY a.part ORDER BY a.low, a.high "
        f"ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) + 1, "
        f"{word.least}(s.first_offset, a.low), a.low) AS gap_from FROM ("
        f"{accounted(names, source_topic, word)}) a LEFT JOIN {word.quote(names.source)} s "
        f"ON s.source_topic = {_text(source_topic)} AND s.source_partition = a.part"
    )


def tails(names: Names, source_topic: str, word: Words) -> str:
    """A query over `gaps`: per partition the first offset of which nothing is known, and where the topic ended."""
    return (
        f"SELECT s.source_partition AS part, COALESCE(e.reach, s.first_offset) AS gap_from, s.next_offset AS low "
        f"FROM {word.quote(names.source)} s LEFT JOIN (SELECT part, max(high) + 1 AS reach FROM gaps GROUP BY part) e "
        f"ON e.part = s.source_partition WHERE s.source_topic = {_text(source_topic)} "
        f"AND s.next_offset > COALESCE(e.reach, s.first_offset)"
    )


def _completeness(names: Names, source_topic: str, word: Words) -> str:
    """Days by the event's Kafka timestamp. A gap counts to the day of the event behind it; the end, to the total."""
    missing = "COALESCE(sum(CASE WHEN low > gap_from THEN low - gap_from ELSE 0 END), 0)"
    scored, rejected = (f"COALESCE(sum(CASE WHEN kind = {kind} THEN 1 ELSE 0 END), 0)" for kind in (1, 2))

    def columns(waiting: str) -> str:
        sums = {
            "events": f"{scored} + {rejected} + {missing} + {waiting}",
            "scored": scored,
            "rejected": rejected,
            "missing": missing,
            "waiting": waiting,
        }
        return ", ".join(f"CAST({text} AS bigint) AS {name}" for name, text in sums.items())

    waiting = "(SELECT COALESCE(sum(low - gap_from), 0) FROM tails)"
    return (
        f"WITH gaps AS ({gaps(names, source_topic, word)}), tails AS ({tails(names, source_topic, word)}) "
        f"SELECT {word.day_text('stamp')} AS day, {columns('0')} FROM gaps WHERE kind < 3 GROUP BY 1 "
        f"UNION ALL SELECT '{TOTAL}', {columns(waiting)} FROM gaps"
    )


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
