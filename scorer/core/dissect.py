"""A record taken apart field by field, as far as its bytes go, for people who want to know where it breaks.

Guarantee: it comes to the end without a stop exactly where the strict decoder (strict.py) takes the record, and then
with the same values; a property test compares the two. Slower than that, it keeps the place of every value.

Source: Avro specification 1.12, "Binary Encoding".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

from scorer.core.schema import Node, WriterSchema
from scorer.core.strict import INT_MAX, INT_MIN

PARTS_MAX = 500
"""How many values are kept; the rest is walked and counted."""


@dataclass(frozen=True, slots=True)
class Part:
    """One value: its field path, its Avro type, its bytes from `start` to `end`, and what they say."""

    path: str
    kind: str
    start: int
    end: int
    value: Any


@dataclass(frozen=True, slots=True)
class Dissection:
    """What was found.

    Attributes:
        parts: values in order, at most PARTS_MAX.
        omitted: how many more there were.
        stopped_at: where decoding stopped; the end of the bytes if it did not.
        path: the field in which it stopped; "" behind the record.
        why: why it stopped, without payload; "" for a valid record.
    """

    parts: list[Part]
    omitted: int
    stopped_at: int
    path: str
    why: str


class _StopError(Exception):
    pass


@dataclass(slots=True)
class _Walk:
    value: bytes
    at: int
    path: str = ""
    parts: list[Part] = field(default_factory=list)
    omitted: int = 0

    def keep(self, path: str, kind: str, start: int, value: Any) -> None:
        if len(self.parts) < PARTS_MAX:
            self.parts.append(Part(path, kind, start, self.at, value))
        else:
            self.omitted += 1


def dissect(value: bytes, start: int, schema: WriterSchema) -> Dissection:
    """Takes `value[start:]` apart as one record of the schema."""
    walk = _Walk(value, start)
    try:
        _take(walk, schema.root, "")
    except _StopError as stop:
        return Dissection(walk.parts, walk.omitted, walk.at, walk.path, str(stop))
    left = len(value) - walk.at
    why = f"{left} bytes follow the record" if left else ""
    return Dissection(walk.parts, walk.omitted, walk.at, "", why)


def _take(walk: _Walk, node: Node, path: str) -> None:
    """Passes one value; where it stops, `walk.at` is its first byte."""
    if node.kind == "record":
        for name, child in node.fields:
            _take(walk, child, f"{path}.{name}" if path else name)
        return
    walk.path, start = path, walk.at
    if node.kind == "union":
        index = _index(walk, len(node.branches), 10, "a union index")
        _take(walk, node.branches[index], path)
    elif node.kind in ("array", "map"):
        _blocks(walk, node, path)
    else:
        try:
            found = _leaf(walk, node)
        except _StopError:
            walk.at = start
            raise
        walk.keep(path, node.kind, start, found)


def _blocks(walk: _Walk, node: Node, path: str) -> None:
    number = 0
    while True:
        start = walk.at
        count, size = _varint(walk, 10), None
        if count == 0:
            if number == 0:
                walk.keep(path, node.kind, start, [] if node.kind == "array" else {})
            return
        if count < 0:
            count, size = -count, _varint(walk, 10)
        first = walk.at
        for _ in range(count):
            name = str(number)
            if node.kind == "map":
                key_at = walk.at
                name = _text(walk)
                walk.keep(f"{path}[]", "key", key_at, name)
            _take(walk, node.branches[0], f"{path}[{number}]" if node.kind == "array" else f"{path}[{name!r}]")
            walk.path = path
            number += 1
        if size is not None and walk.at - first != size:
            raise _StopError("a block's size does not match its items")


def _leaf(walk: _Walk, node: Node) -> Any:
    kind = node.kind
    if kind == "null":
        return None
    if kind == "boolean":
        (byte,) = _raw(walk, 1)
        if byte > 1:
            raise _StopError("a boolean is neither 0 nor 1")
        return bool(byte)
    if kind == "int":
        number = _varint(walk, 5)
        if not INT_MIN <= number <= INT_MAX:
            raise _StopError("an int holds more than 32 bits")
        return number
    if kind == "long":
        return _varint(walk, 10)
    if kind in ("float", "double"):
        return struct.unpack("<f" if kind == "float" else "<d", _raw(walk, 4 if kind == "float" else 8))[0]
    if kind == "fixed":
        return _raw(walk, node.size)
    if kind == "enum":
        return node.symbols[_index(walk, len(node.symbols), 5, "an enum index")]
    return _raw(walk, _varint(walk, 10)) if kind == "bytes" else _text(walk)


def _text(walk: _Walk) -> str:
    raw = _raw(walk, _varint(walk, 10))
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise _StopError("a string is not valid UTF-8") from None


def _raw(walk: _Walk, size: int) -> bytes:
    if size < 0:
        raise _StopError("a length is negative")
    end = walk.at + size
    if end > len(walk.value):
        raise _StopError("the bytes end inside a field")
    found = walk.value[walk.at : end]
    walk.at = end
    return found


def _index(walk: _Walk, count: int, bytes_max: int, what: str) -> int:
    start = walk.at
    index = _varint(walk, bytes_max)
    if not 0 <= index < count:
        walk.at = start
        raise _StopError(f"{what} is outside 0 to {count - 1}")
    return index


def _varint(walk: _Walk, bytes_max: int) -> int:
    number = shift = 0
    for at in range(walk.at, walk.at + bytes_max):
        if at >= len(walk.value):
            raise _StopError("the bytes end inside a field")
        byte = walk.value[at]
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            if number >> 64:
                raise _StopError("a varint holds more than 64 bits")
            walk.at = at + 1
            return (number >> 1) ^ -(number & 1)
    raise _StopError(f"a varint is longer than {bytes_max} bytes")
