"""The registry's wire format: one zero byte, the schema id in four bytes big-endian, then the Avro body.

Source: Confluent Schema Registry, "Wire format", version 0. The newer form with a schema GUID in a header has no
prefix in the value; such a value is rejected as `bad_frame`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct

import numpy as np

from scorer.core.records import Rejection, Rows, Stage

PREFIX_BYTES = 5
_PREFIX = Struct(">bI")


def prefix(schema_id: int) -> bytes:
    """The five bytes before a body written with that schema."""
    return _PREFIX.pack(0, schema_id)


@dataclass(frozen=True, slots=True)
class Frames:
    """The rows of a batch by the schema that wrote them.

    Attributes:
        groups: schema id to its rows, ascending.
        rejections: values that are not in the wire format, or too large.
        tombstones: how many values are null; they are skipped and counted.
    """

    groups: dict[int, Rows]
    rejections: list[Rejection]
    tombstones: int


def split_frames(values: Sequence[bytes | None], value_bytes_max: int) -> Frames:
    """Sorts values by schema id. Looks at the first five bytes of each and at its length, nothing else."""
    heads = {None if value is None else value[:PREFIX_BYTES] for value in values}
    head = next(iter(heads)) if len(heads) == 1 else None
    if head is not None and _is_prefix(head) and max(map(len, filter(None, values))) <= value_bytes_max:
        return Frames({_PREFIX.unpack(head)[1]: np.arange(len(values))}, [], 0)
    groups: dict[int, list[int]] = {}
    rejections: list[Rejection] = []
    tombstones = 0
    for row, value in enumerate(values):
        if value is None:
            tombstones += 1
        elif len(value) > value_bytes_max:
            rejections.append(
                Rejection(row, Stage.DECODE, "too_large", f"{len(value)} bytes, at most {value_bytes_max}")
            )
        elif not _is_prefix(value[:PREFIX_BYTES]):
            rejections.append(Rejection(row, Stage.DECODE, "bad_frame", _frame_problem(value)))
        else:
            groups.setdefault(_PREFIX.unpack_from(value)[1], []).append(row)
    return Frames({key: np.array(rows, dtype=np.intp) for key, rows in groups.items()}, rejections, tombstones)


def _is_prefix(head: bytes) -> bool:
    return len(head) == PREFIX_BYTES and head[0] == 0


def _frame_problem(value: bytes) -> str:
    if len(value) < PREFIX_BYTES:
        return f"{len(value)} bytes, the wire format needs {PREFIX_BYTES}"
    return f"the first byte is {value[0]}, not 0"
