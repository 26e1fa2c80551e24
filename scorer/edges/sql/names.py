"""The tables that a sink keeps, as SQLAlchemy tables, and how existing ones grow with the schema.

Additive changes add columns; columns that are no longer written stay and are null. A type that a column cannot hold is
refused with the statements to run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.schema import CreateTable

from scorer.core.errors import ContractError, HaltError
from scorer.core.tables import ORDER, RANK, Column, Layout, Type
from scorer.edges.sql.database import SQLITE

ID = "prediction_id"
_KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Keys compare byte by byte: the same order in every database, and half the cost."""
_TIME = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")
TYPES: dict[Type, sa.types.TypeEngine[Any]] = {
    Type.TEXT: sa.Text(),
    Type.WHOLE: sa.BigInteger(),
    Type.REAL: sa.REAL(),
    Type.DOUBLE: sa.Double(),
    Type.BOOLEAN: sa.Boolean(),
    Type.TIME: _TIME,
    Type.TIME_MICROS: _TIME,
    Type.BYTES: sa.LargeBinary(),
}


@dataclass(frozen=True, slots=True)
class Names:
    """Tables and views of one prediction topic, by what they are for. `base` is the table of the latest ones."""

    base: str

    @property
    def history(self) -> str:
        """One row for each prediction_id."""
        return f"{self.base}_history"

    @property
    def unreadable(self) -> str:
        """Values that are no row."""
        return f"{self.base}_unreadable"

    @property
    def rejected(self) -> str:
        """Events that the worker could not score."""
        return f"{self.base}_rejected"

    @property
    def skipped(self) -> str:
        """Source offsets that need no prediction, and why."""
        return f"{self.base}_skipped"

    @property
    def source(self) -> str:
        """How far the source topic reached when it was last looked at."""
        return f"{self.base}_source"

    def items(self, name: str) -> str:
        """Items of the latest predictions."""
        return f"{self.base}_{name}"

    def history_items(self, name: str) -> str:
        """Items of all predictions."""
        return f"{self.history}_{name}"


position = sa.Table(
    "scorer_position",
    sa.MetaData(),
    sa.Column("sink", _KEY, primary_key=True),
    sa.Column("topic", _KEY, primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("next_offset", sa.BigInteger, nullable=False),
)
"""Up to where each sink's tables have come; written with the rows."""


def tables(names: Names, layout: Layout) -> list[sa.Table]:
    """Every table of a layout.

    Raises:
        ContractError: two of them come to one name.
    """
    meta = sa.MetaData()
    made = [
        sa.Table(names.base, meta, *_columns(layout.columns, [layout.entity])),
        sa.Table(names.history, meta, *_columns(layout.columns, [ID])),
        *_bookkeeping(names, meta),
    ]
    for each in layout.items:
        for name, key in ((names.items(each.name), layout.entity), (names.history_items(each.name), ID)):
            if name in meta.tables:
                raise ContractError(f"the field {each.name} needs a table {name}, which is there for something else")
            rank = sa.Column(RANK, sa.BigInteger, primary_key=True, autoincrement=False)
            owner = sa.Column(key, _KEY, primary_key=True)
            made.append(sa.Table(name, meta, owner, rank, *_columns(each.columns, [])))
    return made


def grow(connection: Connection, wanted: Sequence[sa.Table], views: Sequence[str]) -> list[str]:
    """Makes tables and columns that are not there. Returns the names of those changed. `views` may be in the way.

    Raises:
        HaltError: a column cannot hold what is to be written; with the statements to run.
    """
    changed: list[str] = []
    narrow: list[tuple[str, str, str, str]] = []
    seen = sa.inspect(connection)
    there = set(seen.get_table_names())
    for table in wanted:
        if table.name not in there:
            connection.execute(CreateTable(table))
            changed.append(table.name)
            continue
        known = {str(each["name"]): each["type"] for each in seen.get_columns(table.name)}
        for column in table.columns:
            text = _type(connection, column.type)
            if column.name not in known:
                quoted = [_quoted(connection, name) for name in (table.name, column.name)]
                connection.exec_driver_sql(f"ALTER TABLE {quoted[0]} ADD COLUMN {quoted[1]} {text}")
                changed.append(table.name)
            elif not _holds(_type(connection, known[column.name]), text):
                narrow.append((table.name, column.name, _type(connection, known[column.name]), text))
    if narrow:
        raise HaltError(_statements(connection, narrow, views))
    return changed


def _columns(columns: Sequence[Column], keys: Sequence[str]) -> Iterator[sa.Column[Any]]:
    for each in columns:
        key = each.name in keys
        kind = _KEY if each.name in (*keys, ID) else TYPES[each.type]
        yield sa.Column(each.name, kind, primary_key=key, nullable=not (key or each.name in ORDER))


def _bookkeeping(names: Names, meta: sa.MetaData) -> list[sa.Table]:
    def place(name: str, kind: type[sa.types.TypeEngine[int]] = sa.BigInteger) -> sa.Column[int]:
        return sa.Column(name, kind, primary_key=True, autoincrement=False)

    return [
        sa.Table(
            names.unreadable,
            meta,
            sa.Column("topic", _KEY, primary_key=True),
            place("partition", sa.Integer),
            place("offset"),
            sa.Column("entity", sa.Text),
            sa.Column("reason", sa.Text, nullable=False),
            sa.Column("value", sa.LargeBinary, nullable=False),
        ),
        sa.Table(
            names.rejected,
            meta,
            sa.Column("source_topic", _KEY, primary_key=True),
            place("source_partition", sa.Integer),
            place("source_offset"),
            sa.Column("source_timestamp", _TIME, nullable=False),
            sa.Column("stage", sa.Text, nullable=False),
            sa.Column("reason", sa.Text, nullable=False),
        ),
        sa.Table(
            names.skipped,
            meta,
            sa.Column("source_topic", _KEY, primary_key=True),
            place("source_partition", sa.Integer),
            place("first_offset"),
            sa.Column("last_offset", sa.BigInteger, nullable=False),
            sa.Column("reason", sa.Text, nullable=False),
        ),
        sa.Table(
            names.source,
            meta,
            sa.Column("source_topic", _KEY, primary_key=True),
            place("source_partition", sa.Integer),
            sa.Column("first_offset", sa.BigInteger, nullable=False),
            sa.Column("next_offset", sa.BigInteger, nullable=False),
        ),
    ]


def _holds(there: str, wanted: str) -> bool:
    return there == wanted or (wanted == "REAL" and there in ("DOUBLE PRECISION", "DOUBLE"))


def _statements(connection: Connection, narrow: Sequence[tuple[str, str, str, str]], views: Sequence[str]) -> str:
    run: list[str] = [f"DROP VIEW IF EXISTS {', '.join(_quoted(connection, name) for name in views)};"]
    if connection.dialect.name == SQLITE:
        run = []
    for table, column, _, wanted in narrow:
        quoted, name = _quoted(connection, table), _quoted(connection, column)
        if connection.dialect.name == SQLITE:
            run.append(f"ALTER TABLE {quoted} RENAME COLUMN {name} TO {_quoted(connection, f'{column}_before')};")
        else:
            run.append(f"ALTER TABLE {quoted} ALTER COLUMN {name} TYPE {wanted} USING {name}::{wanted};")
    said = "; ".join(f"{table}.{column} is {known}, predictions now hold {new}" for table, column, known, new in narrow)
    return f"{said}. Stop the sink, run these statements, start it (it makes its views again):\n" + "\n".join(run)


def _type(connection: Connection, kind: sa.types.TypeEngine[Any]) -> str:
    return kind.compile(connection.dialect).partition(" COLLATE")[0]


def _quoted(connection: Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote(name)
