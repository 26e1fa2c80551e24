"""Made-up Avro data of a schema, with the values on which readers differ: the edges of numbers, texts beyond ASCII."""

from __future__ import annotations

import io
import math
import random
import struct
from typing import Any

import fastavro

TEXTS = ("", "Zoë", "日本", "🎯", 'quoted "text" and \\', "line\nbreak\ttab\0nul", "plain", "lead-1")
FLOATS = (0.0, -0.0, 1.0, 1e-45, 1.17549435e-38, 3.4028235e38, 0.1, 1 / 3, 1 - 2**-24, 16_777_217.0)
EDGES = {"int": 2**31, "long": 2**63}
YEAR_2100_MS = 4_102_444_800_000
ITEMS = 10


def sample(schema: Any, rng: random.Random) -> Any:
    """Returns a value of `schema` (text, int, long, time, float, null, and records, arrays and unions of them).

    Raises:
        ValueError: a type that no prediction has.
    """
    if isinstance(schema, list):
        return sample(rng.choice(schema), rng)
    if isinstance(schema, dict) and schema.get("logicalType") == "timestamp-millis":
        return rng.randrange(YEAR_2100_MS)
    match schema if isinstance(schema, str) else schema["type"]:
        case "record":
            return {field["name"]: sample(field["type"], rng) for field in schema["fields"]}
        case "array":
            return [sample(schema["items"], rng) for _ in range(ITEMS)]
        case "null":
            return None
        case "string":
            return rng.choice(TEXTS)
        case "int" | "long" as width:
            edge = EDGES[width]
            return rng.choice((0, -1, edge - 1, -edge, rng.randrange(-edge, edge), rng.randrange(1_000)))
        case "float":
            return single(rng.choice((*FLOATS, rng.random(), _any_finite(rng))))
        case other:
            raise ValueError(f"no samples of {other}")


def framed(schema_id: int, schema: Any, value: Any) -> bytes:
    """Returns `value` as Avro in Confluent's wire format."""
    out = io.BytesIO(struct.pack(">BI", 0, schema_id))
    out.seek(0, io.SEEK_END)
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), value)
    return out.getvalue()


def single(number: float) -> float:
    """Rounds to the nearest value that 32 bits can hold."""
    return float(struct.unpack(">f", struct.pack(">f", number))[0])


def bits(value: Any) -> Any:
    """Returns `value` with each float as its bits: `==` then tells 0.0 from -0.0, and NaN is equal to itself."""
    if isinstance(value, float):
        return struct.pack(">d", value)
    if isinstance(value, dict):
        return {name: bits(each) for name, each in value.items()}
    return [bits(each) for each in value] if isinstance(value, list) else value


def _any_finite(rng: random.Random) -> float:
    number = float(struct.unpack(">f", rng.randbytes(4))[0])
    return number if math.isfinite(number) else 0.5
