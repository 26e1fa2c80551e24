"""Decoding one record, strictly: the reference that says whether bytes are a valid record.

fastavro makes the value; a checker compiled from the schema walks the same bytes and holds what fastavro lets pass:
trailing bytes, negative enum and union indexes, ints beyond 32 bits, overlong varints, booleans other than 0 and 1,
block sizes that do not match, invalid UTF-8. A record is admitted only if both agree.

Source: Avro specification 1.12, "Binary Encoding".
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any, cast

import fastavro

from scorer.core.schema import Node, WriterSchema

Check = Callable[[bytes, int], int]

INT_MIN, INT_MAX = -(1 << 31), (1 << 31) - 1


class MalformedError(Exception):
    """The bytes are not a valid encoding; carries the reason code and a detail without payload."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def record_decoder(schema: WriterSchema) -> Callable[[bytes, int], dict[str, Any]]:
    """Compiles a strict decoder of `value[start:]`, one record of the schema.

    The decoder returns fastavro's value (logical types as their underlying numbers and strings).
    The decoder raises MalformedError for anything that is not exactly one valid record.
    """
    check, parsed = _check(schema.root), schema.parsed

    def decode(value: bytes, start: int) -> dict[str, Any]:
        try:
            end = check(value, start)
        except IndexError:
            raise MalformedError("malformed", "the bytes end inside a field") from None
        if end != len(value):
            raise MalformedError("trailing_bytes", f"{len(value) - end} bytes follow the record")
        try:
            decoded = fastavro.schemaless_reader(BytesIO(value[start:]), parsed)
        except Exception as error:  # fastavro raises many types; the message may quote the payload, so it is not kept
            raise MalformedError("malformed", f"fastavro: {type(error).__name__}") from error
        return cast("dict[str, Any]", decoded)  # a WriterSchema's root is a record

    return decode


def _check(node: Node) -> Check:
    """A function (value, position) -> next position, raising MalformedError or IndexError (bytes end)."""
    builders: dict[str, Callable[[Node], Check]] = {
        "null": lambda _: _sized(0),
        "boolean": lambda _: _boolean,
        "int": lambda _: _int,
        "long": lambda _: _long,
        "float": lambda _: _sized(4),
        "double": lambda _: _sized(8),
        "fixed": lambda n: _sized(n.size),
        "bytes": lambda _: _bytes,
        "string": lambda _: _string,
        "enum": _enum,
        "union": _union,
        "array": lambda n: _blocks(_check(n.branches[0])),
        "map": lambda n: _blocks(_in_order((_string, _check(n.branches[0])))),
        "record": lambda n: _in_order(tuple(_check(child) for child in n.branches)),
    }
    return builders[node.kind](node)


def _varint(value: bytes, at: int, bytes_max: int) -> tuple[int, int]:
    byte = value[at]
    at += 1
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), at
    number, shift, start = byte & 0x7F, 7, at
    while True:
        byte = value[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if at - start >= bytes_max - 1:
            raise MalformedError("malformed", f"a varint is longer than {bytes_max} bytes")
    if number >> 64:
        raise MalformedError("malformed", "a varint holds more than 64 bits")
    return (number >> 1) ^ -(number & 1), at


def _long(value: bytes, at: int) -> int:
    if value[at] < 0x80:
        return at + 1
    return _varint(value, at, 10)[1]


def _int(value: bytes, at: int) -> int:
    if value[at] < 0x80:
        return at + 1
    number, at = _varint(value, at, 5)
    if not INT_MIN <= number <= INT_MAX:
        raise MalformedError("malformed", "an int holds more than 32 bits")
    return at


def _boolean(value: bytes, at: int) -> int:
    if value[at] > 1:
        raise MalformedError("malformed", "a boolean is neither 0 nor 1")
    return at + 1


def _sized(size: int) -> Check:
    def check(value: bytes, at: int) -> int:
        end = at + size
        if end > len(value):
            raise MalformedError("malformed", "the bytes end inside a field")
        return end

    return check


def _length(value: bytes, at: int) -> tuple[int, int]:
    """Start and end of a length-prefixed value."""
    length = value[at]
    if length < 0x80 and not length & 1:
        start = at + 1
        end = start + (length >> 1)
    else:
        number, start = _varint(value, at, 10)
        end = start + number
        if number < 0:
            raise MalformedError("malformed", "a length is negative")
    if end > len(value):
        raise MalformedError("malformed", "the bytes end inside a field")
    return start, end


def _bytes(value: bytes, at: int) -> int:
    return _length(value, at)[1]


def _string(value: bytes, at: int) -> int:
    start, end = _length(value, at)
    try:
        value[start:end].decode()
    except UnicodeDecodeError:
        raise MalformedError("malformed", "a string is not valid UTF-8") from None
    return end


def _enum(node: Node) -> Check:
    count = len(node.symbols)

    def check(value: bytes, at: int) -> int:
        index, at = _varint(value, at, 5)
        if not 0 <= index < count:
            raise MalformedError("malformed", f"an enum index is outside 0 to {count - 1}")
        return at

    return check


def _union(node: Node) -> Check:
    checks = tuple(_check(branch) for branch in node.branches)

    def check(value: bytes, at: int) -> int:
        index, at = _varint(value, at, 10)
        if not 0 <= index < len(checks):
            raise MalformedError("malformed", f"a union index is outside 0 to {len(checks) - 1}")
        return checks[index](value, at)

    return check


def _in_order(checks: tuple[Check, ...]) -> Check:
    def check(value: bytes, at: int) -> int:
        for each in checks:
            at = each(value, at)
        return at

    return check


def _blocks(item: Check) -> Check:
    def check(value: bytes, at: int) -> int:
        while True:
            count, at = _varint(value, at, 10)
            if count == 0:
                return at
            size, start = None, at
            if count < 0:
                count = -count
                size, start = _varint(value, at, 10)
                at = start
            for _ in range(count):
                at = item(value, at)
            if size is not None and at - start != size:
                raise MalformedError("malformed", "a block's size does not match its items")

    return check
