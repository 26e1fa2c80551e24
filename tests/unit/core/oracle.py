"""Avro's binary encoding a third time, in plain Python from the specification, to judge the other two by.

Types are expanded: references resolved, namespaces gone. A value of a union is a Branch, so that nothing is guessed.
The encoder writes any legal form on demand: arrays in several blocks, blocks with their size, varints longer than need
be. The decoder is as strict as the scorer says it is.
"""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PLAIN = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")


@dataclass(frozen=True)
class Type:
    """An expanded type: `parts` are a record's fields, an array's or map's item, or a union's branches."""

    kind: str
    parts: tuple[Type, ...] = ()
    names: tuple[str, ...] = ()
    size: int = 0
    logical: str = ""


@dataclass(frozen=True)
class Branch:
    """A union's value: which branch, and the value in it."""

    index: int
    value: Any


class BadError(Exception):
    """The bytes are no encoding of the type."""


def expand(raw: Any, space: str = "", known: dict[str, Type] | None = None) -> Type:
    """Resolves names as the specification says."""
    known = {} if known is None else known
    if isinstance(raw, str):
        if raw in PLAIN:
            return Type(raw)
        return known[raw if "." in raw or not space else f"{space}.{raw}"]
    if isinstance(raw, list):
        return Type("union", tuple(expand(branch, space, known) for branch in raw))
    kind = raw["type"]
    if kind in PLAIN:
        return Type(kind, logical=raw.get("logicalType", ""))
    if kind in ("array", "map"):
        return Type(kind, (expand(raw.get("items", raw.get("values")), space, known),))
    name = raw["name"]
    space = name.rpartition(".")[0] if "." in name else raw.get("namespace", space)
    full = name if "." in name or not space else f"{space}.{name}"
    if kind == "enum":
        made = Type("enum", names=tuple(raw["symbols"]))
    elif kind == "fixed":
        made = Type("fixed", size=raw["size"])
    else:
        fields = raw["fields"]
        parts = tuple(expand(field["type"], space, known) for field in fields)
        made = Type("record", parts, tuple(field["name"] for field in fields))
    known[full] = made
    return made


def plain(value: Any) -> Any:
    """The value as a decoder gives it: without the marks of branches."""
    if isinstance(value, Branch):
        return plain(value.value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def same(one: Any, other: Any) -> bool:
    """Equal in type and bits; every NaN equals every other."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return (math.isnan(one) and math.isnan(other)) or struct.pack("<d", one) == struct.pack("<d", other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def varint(number: int, extra: int = 0) -> bytes:
    """A zigzag varint, with `extra` bytes more than it needs."""
    bits = (number << 1) ^ (number >> 63) if number >= 0 else ((-number) << 1) - 1
    out = bytearray()
    while bits > 0x7F or extra:
        extra -= bits <= 0x7F
        out.append(bits & 0x7F | 0x80)
        bits >>= 7
    return bytes([*out, bits])


def encode(kind: Type, value: Any, loose: random.Random | None = None) -> bytes:
    """Encodes canonically, or with `loose` in any other legal form."""

    def number(value: int, bytes_max: int = 10) -> bytes:
        need = len(varint(value))
        return varint(value, loose.randint(0, bytes_max - need) if loose and loose.random() < 0.3 else 0)

    def write(kind: Type, value: Any) -> bytes:
        match kind.kind:
            case "null":
                return b""
            case "boolean":
                return bytes([value])
            case "int" | "long":
                return number(value, 5 if kind.kind == "int" else 10)
            case "float" | "double":
                return struct.pack("<f" if kind.kind == "float" else "<d", value)
            case "bytes":
                return number(len(value)) + value
            case "string":
                return number(len(value.encode())) + value.encode()
            case "fixed":
                return bytes(value)
            case "enum":
                return number(kind.names.index(value), 5)
            case "union":
                return number(value.index) + write(kind.parts[value.index], value.value)
            case "record":
                return b"".join(write(part, value[name]) for part, name in zip(kind.parts, kind.names, strict=True))
            case "array":
                return blocks([write(kind.parts[0], item) for item in value])
            case "map":
                text = Type("string")
                return blocks([write(text, key) + write(kind.parts[0], item) for key, item in value.items()])
        raise AssertionError(kind.kind)

    def blocks(items: list[bytes]) -> bytes:
        out = b""
        while items:
            count = loose.randint(1, len(items)) if loose else len(items)
            body = b"".join(items[:count])
            sized = loose is not None and loose.random() < 0.5
            out += (number(-count) + number(len(body)) if sized else number(count)) + body
            items = items[count:]
        return out + number(0)

    return write(kind, value)


def decode(kind: Type, data: bytes) -> Any:
    """The value of `data`, all of it. Raises BadError."""
    at = 0

    def take(count: int) -> bytes:
        nonlocal at
        if count < 0 or at + count > len(data):
            raise BadError("bytes end")
        at += count
        return data[at - count : at]

    def number(bytes_max: int) -> int:
        bits = 0
        for position in range(bytes_max):
            byte = take(1)[0]
            bits |= (byte & 0x7F) << (7 * position)
            if not byte & 0x80:
                if bits >= 1 << 64:
                    raise BadError("more than 64 bits")
                return bits >> 1 if bits % 2 == 0 else -(bits >> 1) - 1
        raise BadError("overlong")

    def index(count: int, bytes_max: int) -> int:
        found = number(bytes_max)
        if not 0 <= found < count:
            raise BadError("index")
        return found

    def items(read_item: Callable[[], Any]) -> list[Any]:
        found: list[Any] = []
        while count := number(10):
            size = number(10) if count < 0 else None
            start = at
            for _ in range(abs(count)):
                found.append(read_item())
            if size is not None and at - start != size:
                raise BadError("block size")
        return found

    def read(kind: Type) -> Any:
        if kind.kind in scalars:
            return scalars[kind.kind]()
        match kind.kind:
            case "fixed":
                return take(kind.size)
            case "enum":
                return kind.names[index(len(kind.names), 5)]
            case "union":
                return read(kind.parts[index(len(kind.parts), 10)])
            case "record":
                return {name: read(part) for part, name in zip(kind.parts, kind.names, strict=True)}
            case "array":
                return items(lambda: read(kind.parts[0]))
            case "map":
                return dict(items(lambda: (text(), read(kind.parts[0]))))
        raise AssertionError(kind.kind)

    def whole() -> int:
        found = number(5)
        if not -(2**31) <= found < 2**31:
            raise BadError("int")
        return found

    def boolean() -> bool:
        byte = take(1)[0]
        if byte > 1:
            raise BadError("boolean")
        return bool(byte)

    def text() -> str:
        try:
            return take(number(10)).decode()
        except UnicodeDecodeError as error:
            raise BadError("text") from error

    scalars: dict[str, Callable[[], Any]] = {
        "null": lambda: None,
        "boolean": boolean,
        "int": whole,
        "long": lambda: number(10),
        "float": lambda: struct.unpack("<f", take(4))[0],
        "double": lambda: struct.unpack("<d", take(8))[0],
        "bytes": lambda: take(number(10)),
        "string": text,
    }
    found = read(kind)
    if at != len(data):
        raise BadError("trailing")
    return found
