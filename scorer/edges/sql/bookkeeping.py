"""What a sink's transaction does besides predictions: positions, dead letters, unreadable values, erasures."""

# ruff: noqa: S608 - names are quoted by the dialect, values are bound
from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scorer.core.load import Load, Refused
from scorer.core.tables import Layout
from scorer.edges.sql.database import POSTGRES
from scorer.edges.sql.names import ID, Names, position

ERASED = "erased"
_REPEAT = "ON CONFLICT DO NOTHING"


def stored(connection: Connection, names: Names, topic: str) -> dict[int, int]:
    """Partition to the stored next offset; partitions that were never written are left out."""
    query = sa.select(position.c.partition, position.c.next_offset)
    found = connection.execute(query.where(position.c.sink == names.base, position.c.topic == topic))
    return {int(partition): int(offset) for partition, offset in found}


def lock(connection: Connection, names: Names, topic: str, partitions: Mapping[int, int]) -> dict[int, int]:
    """The same, held until the transaction ends: whoever else writes these partitions waits."""
    if connection.dialect.name != POSTGRES:
        return stored(connection, names, topic)  # the transaction holds the one write lock
    wanted = {"sink": names.base, "topic": topic}
    rows = [{**wanted, "partition": partition} for partition in sorted(partitions)]
    insert = f"INSERT INTO {position.name} (sink, topic, partition, next_offset) VALUES (:sink, :topic, :partition, 0)"
    connection.execute(sa.text(f"{insert} {_REPEAT}"), rows)
    query = (
        f"SELECT partition, next_offset FROM {position.name} WHERE sink = :sink AND topic = :topic "
        "AND partition = ANY(:partitions) ORDER BY partition FOR UPDATE"
    )
    found = connection.execute(sa.text(query), {**wanted, "partitions": sorted(partitions)})
    return {int(partition): int(offset) for partition, offset in found}


def store(connection: Connection, names: Names, topic: str, positions: Mapping[int, int]) -> None:
    """Sets the next offsets."""
    rows = [
        {"sink": names.base, "topic": topic, "partition": partition, "next_offset": offset}
        for partition, offset in sorted(positions.items())
    ]
    if rows:
        statement = (
            f"INSERT INTO {position.name} (sink, topic, partition, next_offset) "
            "VALUES (:sink, :topic, :partition, :next_offset) "
            "ON CONFLICT (sink, topic, partition) DO UPDATE SET next_offset = excluded.next_offset"
        )
        connection.execute(sa.text(statement), rows)


def keep_refused(connection: Connection, names: Names, source_topic: str, refused: Sequence[Refused]) -> None:
    """Notes which events became dead letters; the first letter of an event stays."""
    if not refused:
        return
    rows = [
        {
            "topic": source_topic,
            "part": each.partition,
            "at": each.offset,
            "stamp": _time(connection, each.timestamp),
            "stage": each.stage.replace("\0", ""),
            "reason": each.reason.replace("\0", ""),
        }
        for each in refused
    ]
    table = _quoted(connection, names.rejected)
    statement = (
        f"INSERT INTO {table} (source_topic, source_partition, source_offset, source_timestamp, stage, reason) "
        f"VALUES (:topic, :part, :at, :stamp, :stage, :reason) {_REPEAT}"
    )
    connection.execute(sa.text(statement), rows)


def keep_unreadable(connection: Connection, names: Names, load: Load) -> None:
    """Keeps values that are no row, with their bytes."""
    if not load.unreadable:
        return
    rows = [
        {
            "topic": load.topic,
            "part": each.partition,
            "at": each.offset,
            "entity": each.entity,
            "reason": each.reason,
            "value": each.value,
        }
        for each in load.unreadable
    ]
    table = _quoted(connection, names.unreadable)
    partition, offset = _quoted(connection, "partition"), _quoted(connection, "offset")
    statement = (
        f"INSERT INTO {table} (topic, {partition}, {offset}, entity, reason, value) "
        f"VALUES (:topic, :part, :at, :entity, :reason, :value) {_REPEAT}"
    )
    connection.execute(sa.text(statement), rows)


def erase(
    connection: Connection, names: Names, layout: Layout, *, entities: list[str], gone: pa.Table | None, bulk: Any
) -> None:
    """Deletes everything about these entities. Where their events were is noted, so that nothing looks lost.

    Args:
        gone: predictions of theirs that came before the tombstone in the same load, and were never written.
        bulk: how a list is bound.
    """
    key, history = _quoted(connection, layout.entity), _quoted(connection, names.history)
    bound = {"entities": bulk.as_list(entities), "reason": ERASED}
    mine = bulk.among(key, "entities")
    skipped = _quoted(connection, names.skipped)
    into = f"INSERT INTO {skipped} (source_topic, source_partition, first_offset, last_offset, reason)"
    places = "source_topic, source_partition, source_offset, source_offset"
    connection.execute(
        sa.text(f"{into} SELECT DISTINCT {places}, :reason FROM {history} WHERE {mine} {_REPEAT}"), bound
    )
    for each in layout.items:
        items = _quoted(connection, names.history_items(each.name))
        of = f"{ID} IN (SELECT {ID} FROM {history} WHERE {mine})"
        connection.execute(sa.text(f"DELETE FROM {items} WHERE {of}"), bound)
        connection.execute(sa.text(f"DELETE FROM {_quoted(connection, names.items(each.name))} WHERE {mine}"), bound)
    for table in (names.base, names.history):
        connection.execute(sa.text(f"DELETE FROM {_quoted(connection, table)} WHERE {mine}"), bound)
    kept = _quoted(connection, names.unreadable)
    connection.execute(sa.text(f"DELETE FROM {kept} WHERE {bulk.among('entity', 'entities')}"), bound)
    if gone is not None and len(gone):
        columns = [gone.column(name).to_pylist() for name in ("source_topic", "source_partition", "source_offset")]
        rows = [
            {"topic": topic, "part": part, "at": at, "reason": ERASED} for topic, part, at in zip(*columns, strict=True)
        ]
        connection.execute(sa.text(f"{into} VALUES (:topic, :part, :at, :at, :reason) {_REPEAT}"), rows)


def _time(connection: Connection, stamp_ms: int) -> Any:
    moment = datetime.fromtimestamp(stamp_ms / 1000, UTC)
    if connection.dialect.name == POSTGRES:
        return moment
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _quoted(connection: Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote(name)
