"""Bulk into SQLite: executemany over columns that Arrow has turned into Python values at once."""

# ruff: noqa: S608 - names are quoted by the dialect, values are bound
from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import repeat
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy.engine import Connection


def insert(connection: Connection, table: str, data: pa.Table) -> None:
    """Appends rows; columns by name."""
    quote = connection.dialect.identifier_preparer.quote
    columns = ", ".join(quote(name) for name in data.column_names)
    marks = ", ".join("?" * data.num_columns)
    driver: Any = connection.connection.driver_connection
    values = [_values(column.combine_chunks()) for column in data.columns]
    driver.executemany(f"INSERT INTO {quote(table)} ({columns}) VALUES ({marks})", zip(*values, strict=True))


def among(column: str, parameter: str) -> str:
    """A condition: the column's value is in a list that is bound to the parameter."""
    return f"{column} IN (SELECT value FROM json_each(:{parameter}))"


def as_list(values: Sequence[str]) -> Any:
    """The list as it is bound."""
    return json.dumps(list(values), ensure_ascii=False)


def as_text(times: pa.Array) -> pa.Array:
    """Times as ISO 8601 text in UTC with milliseconds, which sorts as the times do."""
    plain = times.cast(pa.timestamp("ms", "UTC"), safe=False).cast(pa.timestamp("ms")).cast(pa.string())
    return pc.binary_join_element_wise(pc.binary_replace_slice(plain, 10, 11, "T"), "Z", "")


def _values(column: pa.Array) -> Any:
    if pa.types.is_timestamp(column.type):
        column = as_text(column)
    if pa.types.is_string(column.type) and not column.null_count and len(column):
        first = column[0]
        if pc.all(pc.equal(column, first)).as_py():
            return repeat(first.as_py(), len(column))
    if pa.types.is_floating(column.type) or column.null_count:
        return column.to_pylist()
    return column.to_numpy(zero_copy_only=False).tolist()
