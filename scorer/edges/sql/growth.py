"""How tables that are there grow with the schema of the predictions.

Additive changes add columns; columns that are no longer written stay and are null. A type that a column cannot hold is
refused with the statements to run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.schema import CreateTable

from scorer.core.errors import ConfigError, HaltError
from scorer.core.load import Load
from scorer.core.tables import NUMBERS, Column, Layout, Type, grown
from scorer.edges.sql.database import POSTGRES, SQLITE
from scorer.edges.sql.names import NAME_LENGTH_MAX

RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")
_WIDER = {
    Type.DOUBLE: {Type.REAL, Type.WHOLE},
    Type.TEXT: {Type.WHOLE, Type.REAL, Type.DOUBLE, Type.BOOLEAN, Type.TIME, Type.TIME_MICROS},
}
"""What the columns that a sink has made room for hold besides values of their own type."""
_HOLDS = {
    ("VARCHAR", "TEXT"),
    ("DOUBLE PRECISION", "REAL"),
    ("DOUBLE PRECISION", "BIGINT"),
    ("DOUBLE", "REAL"),
    ("DOUBLE", "BIGINT"),
}
"""Types of columns that are there, and others whose values they hold: whole numbers up to 2^53."""


def grow(connection: Connection, wanted: Sequence[sa.Table], views: Sequence[str]) -> list[str]:
    """Makes tables and columns that are not there. Returns the names of those changed. `views` may be in the way.

    Raises:
        HaltError: a column cannot hold what is to be written, or a table has not its key, with the statements to run;
            a column's name is too long.
    """
    changed: list[str] = []
    narrow: list[tuple[str, str, str, str]] = []
    seen = sa.inspect(connection)
    there = set(seen.get_table_names())
    for table in wanted:
        if connection.dialect.name == POSTGRES:
            _refuse_long(table)
        if table.name not in there:
            connection.execute(CreateTable(table))
            changed.append(table.name)
            continue
        if connection.dialect.name == POSTGRES:
            _refuse_without_key(connection, table, seen.get_pk_constraint(table.name)["constrained_columns"])
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


def widened(known: Layout, load: Load) -> Layout:
    """The layout that holds what is known and a load. Columns of both are as the load has them, unless what is known
    holds that as well: older predictions come along with newer ones, and while a database is filled anew.
    """
    assert load.layout is not None
    assert load.rows is not None
    there, none = {each.name: each.columns for each in known.items}, load.rows.select([])
    items = [
        replace(each, columns=_held(there.get(each.name, ()), each.columns, load.items.get(each.name, none)))
        for each in load.layout.items
    ]
    columns = _held(known.columns, load.layout.columns, load.rows)
    return grown(known, replace(load.layout, columns=columns, items=tuple(items)))


def refuse_without_rights(connection: Connection, tables: Sequence[sa.Table]) -> None:
    """Asks PostgreSQL for what a load and an erasure will need of tables that another user may have made.

    Raises:
        ConfigError: a right is missing; with the statements to run.
    """
    query = (
        "SELECT name FROM unnest(CAST(:names AS text[])) name WHERE NOT "
        "(SELECT bool_and(has_table_privilege(name, each)) FROM unnest(CAST(:rights AS text[])) each)"
    )
    names = [_quoted(connection, table.name) for table in tables]
    lacking = connection.execute(sa.text(query), {"names": names, "rights": list(RIGHTS)}).scalars().all()
    if lacking:
        user = connection.execute(sa.text("SELECT current_user")).scalar_one()
        grant = f"GRANT {', '.join(RIGHTS)} ON {', '.join(lacking)} TO {_quoted(connection, str(user))};"
        raise ConfigError(f"the user {user} lacks rights on tables that are there. Run as their owner:\n{grant}")


def _held(known: Sequence[Column], new: Sequence[Column], rows: pa.Table) -> tuple[Column, ...]:
    there = {each.name: each for each in known}
    # Where schemas follow each other within a load, its layout is the last one's, and its rows are of the widest type.
    doubles, texts = ({each.name for each in rows.schema if each.type == kind} for kind in (pa.float64(), pa.string()))
    found: list[Column] = []
    for each in new:
        own = each
        if each.type in NUMBERS and each.name in doubles:
            own = replace(each, type=Type.DOUBLE)
        elif each.name in texts:
            own = replace(each, type=Type.TEXT)
        before = there.get(each.name, own)
        found.append(before if own.type in _WIDER.get(before.type, ()) else own)
    return tuple(found)


def _holds(there: str, wanted: str) -> bool:
    return there == wanted or (there, wanted) in _HOLDS


def _statements(connection: Connection, narrow: Sequence[tuple[str, str, str, str]], views: Sequence[str]) -> str:
    run: list[str] = [f"DROP VIEW IF EXISTS {', '.join(_quoted(connection, name) for name in views)};"]
    if connection.dialect.name == SQLITE:
        run = []
    for table, column, known, wanted in narrow:
        quoted, name = _quoted(connection, table), _quoted(connection, column)
        wider = _wider(known, wanted) if connection.dialect.name == POSTGRES else ""
        if wider:
            run.append(f"ALTER TABLE {quoted} ALTER COLUMN {name} TYPE {wider} USING {name}::{wider};")
        else:
            run.append(f"ALTER TABLE {quoted} RENAME COLUMN {name} TO {_quoted(connection, f'{column}_before')};")
    said = "; ".join(f"{table}.{column} is {known}, predictions now hold {new}" for table, column, known, new in narrow)
    return f"{said}. Stop the sink, run these statements, start it (it makes its views again):\n" + "\n".join(run)


def _wider(known: str, wanted: str) -> str:
    """PostgreSQL's type that holds what is there and what is wanted; "" where none does, or no cast leads to it."""
    if wanted == "TEXT":
        return wanted
    numbers = {"SMALLINT", "INTEGER", "BIGINT", "REAL", "DOUBLE PRECISION"}
    if not {known, wanted} <= numbers:
        return ""
    return wanted if wanted == "BIGINT" and known in ("SMALLINT", "INTEGER") else "DOUBLE PRECISION"


def _refuse_long(table: sa.Table) -> None:
    for each in table.columns:
        if len(each.name) > NAME_LENGTH_MAX:
            raise HaltError(
                f"{table.name}.{each.name} is longer than the {NAME_LENGTH_MAX} characters that PostgreSQL gives to a "
                "column's name: the prediction's field has to be called something shorter"
            )


def _refuse_without_key(connection: Connection, table: sa.Table, there: Sequence[str]) -> None:
    """By its key a table tells what it has already; one without it takes everything twice."""
    wanted = [each.name for each in table.primary_key.columns]
    if not set(wanted) <= set(there):
        columns = ", ".join(_quoted(connection, name) for name in wanted)
        raise HaltError(
            f"{table.name} has no primary key of {columns}, and would take predictions twice. Stop the sink, run this "
            f"(rows that are there twice have to go first), start it:\n"
            f"ALTER TABLE {_quoted(connection, table.name)} ADD PRIMARY KEY ({columns});"
        )


def _type(connection: Connection, kind: sa.types.TypeEngine[Any]) -> str:
    return kind.compile(connection.dialect).partition(" COLLATE")[0]


def _quoted(connection: Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote(name)
