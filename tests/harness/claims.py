"""What tests claim of the predictions that a subscriber got, against the events as Kafka holds them."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from tests.harness.plain_scorer import PlainScorer, parsed
from tests.harness.topics import Raw, schemas_of
from tests.oracle.record import Record

Place = tuple[int, int]
"""Partition and offset of an event."""


def place(record: Record) -> Place:
    """The event that a prediction was made from."""
    assert record["value"] is not None
    return record["value"]["source_partition"], record["value"]["source_offset"]


def places(sources: Iterable[Raw]) -> set[Place]:
    """Partition and offset of each event."""
    return {(source.partition, source.offset) for source in sources}


def scored_once(records: Sequence[Record], sources: Sequence[Raw]) -> None:
    """Every event has exactly one prediction, and nothing else has any."""
    found = [place(record) for record in records]
    assert len(set(found)) == len(found), "an event was scored twice"
    assert set(found) == places(sources)


def scored_at_least_once(records: Sequence[Record], sources: Sequence[Raw]) -> dict[Place, list[Record]]:
    """Every event has a prediction; all of one event are the same but for `scored_at`. Returns the repeated ones."""
    found: dict[Place, list[Record]] = defaultdict(list)
    for record in records:
        found[place(record)].append(record)
    missing = places(sources) - found.keys()
    assert not missing, f"{len(missing)} of {len(sources)} events were lost: {sorted(missing)[:5]}"
    assert found.keys() == places(sources)
    for first, *more in found.values():
        for again in more:
            assert (again["key"], again["partition"]) == (first["key"], first["partition"])
            assert lasting(again) == lasting(first)
    return {at: each for at, each in found.items() if len(each) > 1}


def scored_right(
    records: Sequence[Record], sources: Sequence[Raw], plain: PlainScorer, registry: str, **more: Any
) -> None:
    """Every field of every prediction is, bit for bit, what the plain scorer makes of the event.

    `more` are fields that the model does not fill.
    """
    schemas = parsed(schemas_of(registry, sources))
    by_place = {(source.partition, source.offset): source for source in sources}
    for record in records:
        source = by_place[place(record)]
        found, wanted = lasting(record), bits({**plain.prediction(source, schemas), **more})
        assert found.keys() == wanted.keys()
        wrong = {name: (found[name], wanted[name]) for name in wanted if found[name] != wanted[name]}
        assert not wrong, f"{source.topic}/{source.partition}/{source.offset}: found and wanted: {wrong}"
        assert source.timestamp <= (record["value"] or {})["scored_at"] <= record["timestamp"]


def in_order(records: Sequence[Record]) -> None:
    """Events of one partition that went to one partition kept their order."""
    latest: dict[tuple[int, int], int] = {}
    for record in records:
        partition, offset = place(record)
        lane = partition, record["partition"]
        assert offset > latest.get(lane, -1), f"offset {offset} came after {latest[lane]} in {lane}"
        latest[lane] = offset


def lasting(record: Record) -> dict[str, Any]:
    """A prediction without the one field that is new each time, as bits."""
    assert record["value"] is not None
    return {name: bits(value) for name, value in record["value"].items() if name != "scored_at"}


def bits(value: Any) -> Any:
    """The same value with floats as their bits: equal are only those that are the same."""
    if isinstance(value, float):
        return struct.pack(">d", value)
    if isinstance(value, dict):
        return {key: bits(each) for key, each in value.items()}
    return [bits(each) for each in value] if isinstance(value, list) else value
