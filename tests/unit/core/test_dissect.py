"""Taking a record apart: the same verdict and the same values as the strict decoder, with places."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.core.dissect import PARTS_MAX, Dissection, dissect
from scorer.core.errors import ContractError
from scorer.core.schema import WriterSchema, writer_schema
from scorer.core.strict import MalformedError, record_decoder
from tests.unit.core.batches import record_schema
from tests.unit.core.generated import Case, cases, mutated


def admitted(case: Case) -> WriterSchema | None:
    try:
        return writer_schema(1, json.dumps(case.schema))
    except ContractError:
        return None


def leaves(value: Any) -> list[str]:
    """Every value in a decoded record, in order, empty arrays and maps and the keys of maps included."""
    if isinstance(value, dict):
        return [each for item in value.values() for each in leaves(item)]
    if isinstance(value, list):
        return [each for item in value for each in leaves(item)]
    return [repr(value)]


def found(taken: Dissection) -> list[str]:
    return [repr(part.value) for part in taken.parts if part.kind not in ("key", "array", "map")]


@given(cases(), st.data())
def test_it_stops_exactly_where_the_strict_decoder_refuses_and_has_its_values_otherwise(
    case: Case, data: st.DataObject
) -> None:
    schema = admitted(case)
    if schema is None:
        return
    decode = record_decoder(schema)
    for body in case.bodies:
        value = data.draw(mutated(body) | st.just(body))
        taken = dissect(value, 0, schema)
        why, decoded = strictly(decode, value)
        assert taken.why == why or (taken.why and why.startswith("fastavro"))
        if not why:
            assert taken.stopped_at == len(value)
            if not _has_maps(case.schema):  # in a map, the later of two equal keys wins
                assert sorted(found(taken)) == sorted(leaves(decoded))


def strictly(decode: Callable[[bytes, int], dict[str, Any]], value: bytes) -> tuple[str, Any]:
    """Why the strict decoder refuses a record, or "" and the record."""
    try:
        return "", decode(value, 0)
    except MalformedError as error:
        return error.detail, None


@given(cases(rows_max=1))
def test_parts_lie_one_behind_the_other_within_the_record(case: Case) -> None:
    schema = admitted(case)
    if schema is None:
        return
    at = 0
    for part in dissect(case.bodies[0], 0, schema).parts:
        assert at <= part.start <= part.end <= len(case.bodies[0])
        at = part.end


def _has_maps(schema: Any) -> bool:
    return '"map"' in json.dumps(schema)


LEAD = record_schema(
    ("id", "string"),
    ("age", "int"),
    ("job", {"type": "enum", "name": "J", "symbols": ["a", "b"]}),
    ("days", ["null", "int"]),
    ("codes", {"type": "array", "items": "string"}),
    ("home", {"type": "record", "name": "H", "fields": [{"name": "zip", "type": "bytes"}]}),
    ("seen", {"type": "map", "values": "boolean"}),
)
GOOD = b"\x02x" + b"\x08" + b"\x02" + b"\x02\x06" + b"\x04\x02p\x02q\x00" + b"\x02\xff" + b"\x02\x02k\x01\x00"


def test_every_value_has_its_path_type_place_and_value() -> None:
    taken = dissect(b"....." + GOOD, 5, LEAD)
    assert taken.why == ""
    assert [(part.path, part.kind, part.start, part.end, part.value) for part in taken.parts] == [
        ("id", "string", 5, 7, "x"),
        ("age", "int", 7, 8, 4),
        ("job", "enum", 8, 9, "b"),
        ("days", "int", 10, 11, 3),
        ("codes[0]", "string", 12, 14, "p"),
        ("codes[1]", "string", 14, 16, "q"),
        ("home.zip", "bytes", 17, 19, b"\xff"),
        ("seen[]", "key", 20, 22, "k"),
        ("seen['k']", "boolean", 22, 23, True),
    ]


@pytest.mark.parametrize(
    ("value", "stopped_at", "path", "why"),
    [
        (GOOD[:3] + b"\x04" + GOOD[4:], 3, "job", "an enum index is outside 0 to 1"),
        (GOOD[:3] + b"\x01" + GOOD[4:], 3, "job", "an enum index is outside 0 to 1"),
        (GOOD[:2] + b"\x80\x80\x80\x80\x10" + GOOD[3:], 2, "age", "an int holds more than 32 bits"),
        (b"\x02\xff" + GOOD[2:], 0, "id", "a string is not valid UTF-8"),
        (b"\x01" + GOOD[2:], 0, "id", "a length is negative"),
        (b"\xff" * 40, 0, "id", "a varint is longer than 10 bytes"),
        (GOOD[:4] + b"\x06" + GOOD[5:], 4, "days", "a union index is outside 0 to 1"),
        (GOOD[:9], 9, "codes[1]", "the bytes end inside a field"),
        (b"", 0, "id", "the bytes end inside a field"),
        (GOOD[:6] + b"\x01\x06\x02p\x00" + GOOD[12:], 10, "codes", "a block's size does not match its items"),
        (GOOD + b"ab", len(GOOD), "", "2 bytes follow the record"),
    ],
)
def test_it_says_at_which_byte_and_in_which_field_it_stopped_and_why(
    value: bytes, stopped_at: int, path: str, why: str
) -> None:
    taken = dissect(value, 0, LEAD)
    assert (taken.stopped_at, taken.path, taken.why) == (stopped_at, path, why)


def test_only_so_many_values_are_kept_and_the_rest_is_counted() -> None:
    schema = record_schema(("codes", {"type": "array", "items": "boolean"}))
    taken = dissect(b"\xd0\x0f" + b"\x01" * 1000 + b"\x00", 0, schema)
    assert (len(taken.parts), taken.omitted, taken.why) == (PARTS_MAX, 1000 - PARTS_MAX, "")
