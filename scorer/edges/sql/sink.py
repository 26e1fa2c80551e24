"""Implements ports.Sink: predictions into tables, with the position in the same transaction.

Nothing is lost and nothing is there twice, whoever writes: a transaction reads the stored positions under a lock and
leaves out what lies below them. The newest prediction of an entity stays, in whatever order they come.
"""

# ruff: noqa: S608 - names are quoted by the dialect, values are bound
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from scorer.core.errors import ConfigError, HaltError, TransientError
from scorer.core.load import AT_OFFSET, AT_PARTITION, ROW, Load, kept, newest, once, outlived, without
from scorer.core.tables import ORDER, Layout
from scorer.edges.sql import postgres, sqlite
from scorer.edges.sql.bookkeeping import erase, keep_refused, keep_unreadable, lock, store, stored
from scorer.edges.sql.database import POSTGRES, address, connected, reading, transaction, translated, tried
from scorer.edges.sql.growth import grow, refuse_without_rights, widened
from scorer.edges.sql.names import ID, Names, position, tables
from scorer.edges.sql.views import definitions, make, words

PAUSE_LOADS_MAX = 64
MAKE_LOCK = 5_227_914_011
"""PostgreSQL's advisory lock while tables are made or grow, so that sinks that do so together do not collide."""


class SqlSink:
    """Writes one prediction topic's tables. `write` is called from one thread at a time."""

    def __init__(self, engine: Engine, names: Names, source_topic: str, layout: Layout) -> None:
        self._engine, self._names, self._source_topic = engine, names, source_topic
        self._layout = layout
        self._bulk: Any = postgres if engine.dialect.name == POSTGRES else sqlite
        self._connection: Connection | None = None
        self._direct = _Sparing()
        self._repeats = False  # whether the latest batch held predictions that were there already

    def prepare(self) -> None:
        """Makes what is not there: tables, columns, views.

        Raises:
            TransientError: the database is away.
            ConfigError: it refuses us, or has a column that cannot hold what is to be written.
        """
        try:
            with connected(self._engine) as connection:
                self._check(connection)
                with transaction(connection):
                    self._make(connection, self._layout)
        except HaltError as error:
            raise ConfigError(str(error)) from error

    def positions(self, topic: str) -> Mapping[int, int]:
        """See ports.Sink."""
        with reading(self._engine) as connection:
            return stored(connection, self._names, topic)

    def write(self, load: Load) -> Mapping[str, int]:
        """See ports.Sink."""
        known = self._layout
        try:
            with translated(self._engine):
                return self._write(self._connected(), load)
        except BaseException:
            self._layout = known  # columns that were made went with the transaction
            self.close()  # whatever state it is in: the next attempt has a new one
            raise

    def close(self) -> None:
        """Ends the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except SQLAlchemyError:
                connection.invalidate()

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def _write(self, connection: Connection, load: Load) -> Mapping[str, int]:
        counts = dict(load.counts)
        with transaction(connection):
            there = lock(connection, self._names, load.topic, load.next_offsets)
            self._refuse_gap(there, load)
            load = without(load, there)
            keep_refused(connection, self._names, self._source_topic, load.refused)
            keep_unreadable(connection, self._names, load)
            rows = 0 if load.rows is None else len(load.rows)
            counts["row"] = self._rows(connection, load) if rows or load.erasures else 0
            counts["repeat"] = rows - counts["row"]
            ends = {part: max(offset, there.get(part, 0)) for part, offset in load.next_offsets.items()}
            store(connection, self._names, load.topic, ends)
        return counts

    def _rows(self, connection: Connection, load: Load) -> int:
        """Writes predictions and carries out erasures. Returns how many predictions are new."""
        if load.rows is not None and load.layout is not None:
            self._fit(connection, load)
            load = once(load)
            keep, erased = outlived(load)
            gone = kept(load, ~keep).rows
            load = kept(load, keep)
        else:
            erased, gone = {each.entity: each for each in load.erasures}, None
        if erased:
            erase(connection, self._names, self._layout, entities=list(erased), gone=gone, bulk=self._bulk)
        if load.rows is None or not len(load.rows):
            return 0
        load, before = self._history(connection, load)
        if load.rows is not None and len(load.rows):
            self._latest(connection, load, before)
        return 0 if load.rows is None else len(load.rows)

    def _history(self, connection: Connection, load: Load) -> tuple[Load, int]:
        """Adds what is not there yet. Returns that, and SQLite's greatest rowid before."""
        before = 0
        if self._bulk is sqlite:
            quoted = self._quote(self._names.history)
            before = connection.execute(sa.text(f"SELECT COALESCE(max(rowid), 0) FROM {quoted}")).scalar_one()
        if not self._repeats and tried(connection, partial(self._append, connection, load)):
            return load, before
        ids = load.rows.column(ID)  # type: ignore[union-attr]
        condition = self._bulk.among(ID, "ids")
        query = sa.text(f"SELECT {ID} FROM {self._quote(self._names.history)} WHERE {condition}")
        known = connection.execute(query, {"ids": self._bulk.as_list(ids.to_pylist())}).scalars().all()
        self._repeats = bool(known)
        if known:
            load = kept(load, ~np.isin(np.array(ids.to_pylist(), object), np.array(known, object)))
        self._append(connection, load)
        return load, before

    def _append(self, connection: Connection, load: Load) -> None:
        self._bulk.insert(connection, self._names.history, _bare(load))
        for name, table in load.items.items():
            if len(table):
                owned = _owned(table, load.rows, ID)
                self._bulk.insert(connection, self._names.history_items(name), owned)

    def _latest(self, connection: Connection, load: Load, before: int) -> None:
        """Merges the newest prediction of each entity, and its items where it is the one that stays."""
        source = f"{self._quote(self._names.history)} WHERE rowid > {int(before)}"
        if self._bulk is postgres:
            keep = np.zeros(len(_bare(load)), np.bool_)
            keep[newest(load)] = True
            rows = _bare(kept(load, keep))
            if not load.items and self._direct.due() and self._all_new(connection, rows):
                return
            source = self._staged(connection, rows)
        connection.exec_driver_sql(self._merge(_bare(load).column_names, source))
        for name, table in load.items.items():
            self._replace_items(connection, name, table.drop_columns([ROW]).column_names, source)

    def _all_new(self, connection: Connection, rows: pa.Table) -> bool:
        """Adds the latest without a merge, which is all that is to be done while every entity is new."""
        done = tried(connection, partial(self._bulk.insert, connection, self._names.base, rows))
        self._direct.came_to(done)
        return done

    def _merge(self, columns: Sequence[str], source: str) -> str:
        """The upsert: newest wins, an equal one changes nothing."""
        base, key = self._quote(self._names.base), self._quote(self._layout.entity)
        quoted = [self._quote(name) for name in columns]
        sets = ", ".join(f"{name} = excluded.{name}" for name in quoted if name != key)
        new, old = (", ".join(f"{table}.{name}" for name in ORDER) for table in ("excluded", base))
        where = "" if "WHERE" in source else " WHERE true"  # without it SQLite takes ON for a join's
        return (
            f"INSERT INTO {base} ({', '.join(quoted)}) SELECT {', '.join(quoted)} FROM {source}{where} "
            f"ON CONFLICT ({key}) DO UPDATE SET {sets} WHERE ({new}) > ({old})"
        )

    def _replace_items(self, connection: Connection, name: str, columns: Sequence[str], source: str) -> None:
        """Gives every entity whose newest prediction is one of these its items."""
        target, key = self._quote(self._names.items(name)), self._quote(self._layout.entity)
        won = (
            f"SELECT l.{key}, l.{ID} FROM (SELECT {key}, {ID} FROM {source}) s "
            f"JOIN {self._quote(self._names.base)} l ON l.{key} = s.{key} AND l.{ID} = s.{ID}"
        )
        own = ", ".join(self._quote(each) for each in columns)
        theirs = ", ".join(f"i.{self._quote(each)}" for each in columns)
        connection.exec_driver_sql(f"DELETE FROM {target} WHERE {key} IN (SELECT {key} FROM ({won}) won)")
        connection.exec_driver_sql(
            f"INSERT INTO {target} ({key}, {own}) SELECT won.{key}, {theirs} FROM ({won}) won "
            f"JOIN {self._quote(self._names.history_items(name))} i ON i.{ID} = won.{ID}"
        )

    def _staged(self, connection: Connection, rows: pa.Table) -> str:
        """Puts rows into a temporary table, which is emptied at each commit, and returns its name.

        It has the columns that are written and no other's: people add their own to the table of the latest, and what
        these demand is not for us to give. A pooler may hand us a server process that served another sink, or none: the
        name says for which columns it was made.
        """
        columns = [(each.name, each.type) for each in self._layout.columns]
        name = f"scorer_stage_{sha256(repr((self._names.base, columns)).encode()).hexdigest()[:8]}"
        quoted = ", ".join(self._quote(column) for column, _ in columns)
        connection.exec_driver_sql(
            f"CREATE TEMPORARY TABLE IF NOT EXISTS {name} ON COMMIT DELETE ROWS AS "
            f"SELECT {quoted} FROM {self._quote(self._names.base)} WITH NO DATA"
        )
        self._bulk.insert(connection, name, rows)
        return name

    def _fit(self, connection: Connection, load: Load) -> None:
        """Makes room for columns that the tables do not have yet."""
        wider = widened(self._layout, load)
        if wider != self._layout:
            self._make(connection, wider)
            self._layout = wider

    def _make(self, connection: Connection, layout: Layout) -> None:
        """Makes what is not there, and looks for that once nobody else is at it."""
        if connection.dialect.name == POSTGRES:
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": MAKE_LOCK})
        queries = definitions(self._names, layout, self._source_topic, words(connection))
        wanted = [position, *tables(self._names, layout)]
        grow(connection, wanted, list(queries))
        if connection.dialect.name == POSTGRES:
            refuse_without_rights(connection, wanted)
        make(connection, queries)

    def _refuse_gap(self, there: Mapping[int, int], load: Load) -> None:
        for partition, start in load.starts.items():
            if there.get(partition, 0) < start:
                raise HaltError(
                    f"{load.topic}/{partition}: the database says {there.get(partition, 0)} is the next offset, the "
                    f"sink had written up to {start}: it was restored or emptied meanwhile. Start the sink again: it "
                    "reads on from there"
                )

    def _check(self, connection: Connection) -> None:
        if connection.dialect.name == POSTGRES:
            encoding = connection.execute(sa.text("SHOW server_encoding")).scalar_one()
            if encoding != "UTF8":
                raise ConfigError(f"{address(self._engine)} is encoded in {encoding}; predictions need a UTF8 database")
            if connection.execute(sa.text("SELECT pg_is_in_recovery()")).scalar_one():
                raise TransientError(f"{address(self._engine)} is a standby, which takes no rows")

    def _quote(self, name: str) -> str:
        return self._engine.dialect.identifier_preparer.quote(name)


@dataclass(slots=True)
class _Sparing:
    """When to try again what saves work if it succeeds: at once after a success, else after ever more loads."""

    left: int = 0
    pause: int = 1

    def due(self) -> bool:
        self.left -= 1
        return self.left < 0

    def came_to(self, success: bool) -> None:
        self.pause = 1 if success else min(2 * self.pause, PAUSE_LOADS_MAX)
        self.left = 0 if success else self.pause


def _bare(load: Load) -> pa.Table:
    assert load.rows is not None
    return load.rows.drop_columns([AT_PARTITION, AT_OFFSET])


def _owned(items: pa.Table, rows: pa.Table, key: str) -> pa.Table:
    """Items with their prediction's key in the place of its number."""
    at = items.schema.get_field_index(ROW)
    return items.set_column(at, key, rows.column(key).take(items.column(ROW)))
