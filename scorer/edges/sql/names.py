"""The tables that a sink keeps, as SQLAlchemy tables, and what they are called."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from scorer.core.errors import ContractError
from scorer.core.tables import ORDER, RANK, Column, Layout, Type

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


NAME_LENGTH_MAX = 63
"""PostgreSQL cuts longer names, and would not find by its own name what it made."""


def fitting(name: str) -> str:
    """A table's or view's name as databases take it: what is too long is cut, with a digest behind it."""
    if len(name) <= NAME_LENGTH_MAX:
        return name
    return f"{name[: NAME_LENGTH_MAX - 9]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


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
        return fitting(f"{self.base}_{name}")

    def history_items(self, name: str) -> str:
        """Items of all predictions."""
        return fitting(f"{self.history}_{name}")


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
