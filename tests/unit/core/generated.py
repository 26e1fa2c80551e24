"""Hypothesis strategies: Avro schemas, values of them, and bytes gone wrong."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from tests.unit.core.oracle import Branch, Type, encode, expand

INT_EDGES = (0, 1, -1, 63, 64, -64, -65, 127, 128, 2**15, 2**31 - 1, -(2**31))
LONG_EDGES = (*INT_EDGES, 2**31, -(2**31) - 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63))
FLOAT_EDGES = (0.0, -0.0, 1.0, -1.5, float("inf"), float("-inf"), float("nan"), 2.0**-149, 2.0**127)
DOUBLE_EDGES = (*FLOAT_EDGES, 0.1, 5e-324, 1.7976931348623157e308, 2.0**53)
TEXTS = ("", "a", "ä", "日本語", "𝄞", "\0", "a\nb", "x" * 70)
LOGICAL = {
    "int": ("date", "time-millis"),
    "long": ("timestamp-millis", "timestamp-micros", "timestamp-nanos", "time-micros"),
    "string": ("uuid",),
    "bytes": ("decimal",),
}
NUMBERS = ("boolean", "int", "long", "float", "double")
SPACES = ("", "one", "two.deep")


@dataclass
class Names:
    """Full names of what a schema has defined so far, and of the records that are still open around this place.

    `columnar` keeps to what pyruhvro decodes: no bytes, no fixed, no plain null, no empty namespace in another.
    """

    columnar: bool
    full: list[str] = field(default_factory=list)
    around: list[str] = field(default_factory=list)

    def usable(self, space: str) -> list[str]:
        """What may be referred to here; a record around this place would make the schema recursive."""
        return [name for name in self.full if name not in self.around and ("." in name or not space)]


@st.composite
def schemas(draw: st.DrawFn, columnar: bool = False) -> dict[str, Any]:
    """A record schema; `columnar` leaves out what pyruhvro does not decode."""
    return _record(draw, Names(columnar), "", 0)


def _naming(draw: st.DrawFn, names: Names, space: str) -> tuple[dict[str, Any], str]:
    """The naming attributes of a new type, and its namespace. Short names repeat in different namespaces."""
    short = draw(st.sampled_from(("A", "B", "C")))
    style = draw(st.sampled_from(("inherit", "attribute", "dotted")))
    own = space if style == "inherit" else draw(st.sampled_from(SPACES[names.columnar :]))
    while (full := f"{own}.{short}" if own else short) in names.full:
        short += "x"
    names.full.append(full)
    if style == "inherit":
        return {"name": short}, own
    return ({"name": full}, own) if style == "dotted" and own else ({"name": short, "namespace": own}, own)


def _record(draw: st.DrawFn, names: Names, space: str, depth: int) -> dict[str, Any]:
    naming, own = _naming(draw, names, space)
    names.around.append(names.full[-1])
    count = draw(st.integers(1, 4 if depth else 6))
    fields = [_field(draw, f"f{at}", names, own, depth) for at in range(count)]
    names.around.pop()
    return {"type": "record", **naming, "fields": fields}


def _field(draw: st.DrawFn, name: str, names: Names, space: str, depth: int) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name, "type": _type(draw, names, space, depth)}
    if made["type"] == ["null", "string"]:
        made["default"] = None
    if made["type"] == "int" and draw(st.booleans()):
        made |= {"default": 7, "doc": "a number", "aliases": ["old"], "order": "ignore"}
    return made


def _type(draw: st.DrawFn, names: Names, space: str, depth: int) -> Any:
    kinds = ["plain", "plain", "logical", "enum", "nullable", "nullable", "union"]
    kinds += ["array", "map", "record", "nullable record"] if depth < 3 else []
    kinds += ["reference"] * bool(names.usable(space))
    kinds += [] if names.columnar else ["bytes", "fixed"]
    kind = draw(st.sampled_from(kinds))
    match kind:
        case "plain":
            return draw(st.sampled_from((*NUMBERS, "string") if names.columnar else (*NUMBERS, "string", "null")))
        case "bytes":
            return draw(st.sampled_from(("bytes", {"type": "bytes", "logicalType": "decimal", "precision": 4})))
        case "logical":
            of = draw(st.sampled_from([name for name in LOGICAL if not (names.columnar and name == "bytes")]))
            return {"type": of, "logicalType": draw(st.sampled_from(LOGICAL[of])), "precision": 9}
        case "enum":
            return _enum(draw, names, space)
        case "fixed":
            return {"type": "fixed", **_naming(draw, names, space)[0], "size": draw(st.integers(1, 5))}
        case "nullable":
            inner = draw(st.sampled_from((*NUMBERS, "string", {"type": "array", "items": "string"})))
            return draw(st.permutations(["null", inner]))
        case "union":
            some = st.sampled_from(("null", "int", "long", "float", "double", "string", "boolean"))
            return draw(st.lists(some, min_size=1, max_size=4, unique=True))
        case "array" | "map":
            item = _type(draw, names, space, depth + 1)
            return {"type": kind, "items" if kind == "array" else "values": item}
        case "record":
            return _record(draw, names, space, depth + 1)
        case "nullable record":
            return ["null", _record(draw, names, space, depth + 1)]
    full = draw(st.sampled_from(names.usable(space)))
    home, _, short = full.rpartition(".")
    return short if home == space and draw(st.booleans()) else full


def _enum(draw: st.DrawFn, names: Names, space: str) -> dict[str, Any]:
    symbols = draw(st.lists(st.sampled_from(("RED", "GREEN", "BLUE", "x", "_1")), min_size=1, unique=True))
    return {"type": "enum", **_naming(draw, names, space)[0], "symbols": symbols}


SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.sampled_from(INT_EDGES) | st.integers(-(2**31), 2**31 - 1),
    "long": st.sampled_from(LONG_EDGES) | st.integers(-(2**63), 2**63 - 1),
    "float": st.sampled_from(FLOAT_EDGES) | st.floats(width=32),
    "double": st.sampled_from(DOUBLE_EDGES) | st.floats(),
    "bytes": st.binary(max_size=5),
    "string": st.sampled_from(TEXTS) | st.text(max_size=5),
}


def values(kind: Type) -> st.SearchStrategy[Any]:
    """Values of a type; those of unions are marked with their branch."""
    parts = [values(part) for part in kind.parts]
    match kind.kind:
        case "fixed":
            return st.binary(min_size=kind.size, max_size=kind.size)
        case "enum":
            return st.sampled_from(kind.names)
        case "union":
            return st.one_of([st.builds(Branch, st.just(at), part) for at, part in enumerate(parts)])
        case "array":
            return st.lists(parts[0], max_size=4)
        case "map":
            return st.dictionaries(st.sampled_from(TEXTS), parts[0], max_size=3)
        case "record":
            return st.fixed_dictionaries(dict(zip(kind.names, parts, strict=True)))
    return SCALARS[kind.kind]


@dataclass(frozen=True)
class Case:
    """A schema, its expanded type, some values of it and their canonical bodies."""

    schema: dict[str, Any]
    type: Type
    values: list[Any]

    @property
    def bodies(self) -> list[bytes]:
        """Canonical encodings, without frames."""
        return [encode(self.type, value) for value in self.values]

    def loose_bodies(self, seed: int) -> list[bytes]:
        """Other legal encodings of the same values."""
        chance = random.Random(seed)
        return [encode(self.type, value, chance) for value in self.values]


@st.composite
def cases(draw: st.DrawFn, columnar: bool = False, rows_max: int = 4) -> Case:
    """A schema with one to `rows_max` values."""
    schema = draw(schemas(columnar))
    kind = expand(schema)
    return Case(schema, kind, draw(st.lists(values(kind), min_size=1, max_size=rows_max)))


@st.composite
def mutated(draw: st.DrawFn, body: bytes) -> bytes:
    """Bytes that were once a valid encoding: one to three flips, cuts, insertions, repeats or appended bytes."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(body) - 1, 0)))
        wild = draw(
            st.sampled_from((b"\xff", b"\x00", b"\x01", b"\x80", b"\x80\x00", b"\xff" * 11)) | st.binary(max_size=3)
        )
        match draw(st.sampled_from(("flip", "truncate", "append", "insert", "splice"))):
            case "flip" if body:
                body = body[:at] + bytes([body[at] ^ (1 << draw(st.integers(0, 7)))]) + body[at + 1 :]
            case "truncate":
                body = body[:at]
            case "append":
                body = body + wild
            case "insert":
                body = body[:at] + wild + body[at:]
            case _:
                body = body[: at + 1] + body[at // 2 :]
    return body
