"""The account: every event came out exactly once, and contenders that score made the same predictions.

Nothing of the scorer's own code reads here.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import fastavro

SAMPLE_EVERY = 97
PREFIX_BYTES = 5
OF_THE_RUN = frozenset({"prediction_id", "source_topic", "source_timestamp", "scored_at", "runtime"})
"""Fields that differ from run to run; Java's ONNX Runtime has a version of its own."""

Place = tuple[int, int]
Sample = Mapping[Place, Mapping[str, Any]]
"""Source partition and offset to what was predicted there, without what differs from run to run."""


class MiscountError(Exception):
    """Not every event came out exactly once, or two contenders disagree: no figure of the run means anything."""


def count_predictions(values: Sequence[bytes], expected: int, decode: Callable[[bytes], Any]) -> Sample:
    """Holds predictions against the number of events that were sent; their offsets start at 0.

    Returns:
        The predictions of every 97th offset.

    Raises:
        MiscountError: something is missing or came twice.
    """
    ends: dict[int, int] = {}
    places: set[Place] = set()
    sample: dict[Place, Mapping[str, Any]] = {}
    for value in values:
        place = _place(value)
        places.add(place)
        ends[place[0]] = max(ends.get(place[0], 0), place[1] + 1)
        if place[1] % SAMPLE_EVERY == 0:
            sample[place] = {name: field for name, field in decode(value).items() if name not in OF_THE_RUN}
    if not len(values) == len(places) == sum(ends.values()) == expected:
        raise MiscountError(f"{len(values)} predictions, {len(places)} different ones, of {expected} events")
    return sample


def count_copies(values: Sequence[bytes], expected: int) -> None:
    """Holds copies of events, which differ in their event_id, against the number of events that were sent.

    Raises:
        MiscountError: something is missing or came twice.
    """
    different = len(set(values))
    if not len(values) == different == expected:
        raise MiscountError(f"{len(values)} copies, {different} different ones, of {expected} events")


def agree(one: Sample, other: Sample) -> None:
    """Compares two contenders' predictions, floats bit for bit.

    Raises:
        MiscountError: they differ; the message has the first difference.
    """
    if one.keys() != other.keys():
        raise MiscountError("the contenders' predictions are of different events")
    for place, prediction in one.items():
        if prediction != other[place]:
            raise MiscountError(f"the contenders differ at {place}: {prediction} and {other[place]}")


def decoder(schema: str) -> Callable[[bytes], Any]:
    """A function from a framed value to its record, logical types left off."""
    parsed = fastavro.parse_schema(_plain(json.loads(schema)))
    return lambda value: fastavro.schemaless_reader(io.BytesIO(value[PREFIX_BYTES:]), parsed)


def _place(value: bytes) -> Place:
    """Source partition and offset out of a prediction's first field, its id."""
    length, shift, at = 0, 0, PREFIX_BYTES
    while True:
        byte = value[at]
        length |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            break
    _, partition, offset = value[at : at + (length >> 1)].rsplit(b"/", 2)
    return int(partition), int(offset)


def _plain(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if isinstance(schema, dict):
        return {name: _plain(value) for name, value in schema.items() if name != "logicalType"}
    return schema
