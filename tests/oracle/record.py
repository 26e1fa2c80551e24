"""What both readers return, and what both are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

Isolation = Literal["read_committed", "read_uncommitted"]

# A Confluent-compatible registry's URL, or the schemas' texts by their ids.
Schemas = str | Mapping[int, str]


class Record(TypedDict):
    """One record of Kafka, its value decoded.

    The value is plain Avro: logical types are left off (a timestamp is the int that was written), a float is the Python
    float of the very same value, so that `==` compares two readers bit for bit but for NaN and the sign of zero. A
    tombstone has neither schema_id nor value. `timestamp` is in milliseconds.
    """

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    headers: list[tuple[str, bytes | None]]
    schema_id: int | None
    value: dict[str, Any] | None
