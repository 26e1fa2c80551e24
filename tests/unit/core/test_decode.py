"""Decoding a batch: the same verdict for a row, whichever way and beside whomever it is decoded."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from scorer.core.decode import by_column, decode
from scorer.core.errors import ContractError
from scorer.core.records import VECTOR_ROWS_MIN, VECTOR_ROWS_MIN_REPEATED, Rejection
from scorer.core.schema import WriterSchema, writer_schema
from scorer.core.strict import MalformedError, record_decoder
from scorer.core.wire import prefix, split_frames
from tests.unit.core.batches import batch_of, event, event_schema, framed, reasons, record_schema
from tests.unit.core.generated import Case, cases, mutated
from tests.unit.core.oracle import varint


def admitted(case: Case) -> WriterSchema:
    try:
        return writer_schema(1, json.dumps(case.schema))
    except ContractError as error:
        assume("no bytes" not in str(error) and "zero bytes" not in str(error))
        raise


def verdict(schema: WriterSchema, body: bytes) -> str:
    """What the by-record reference says: a reason code, or "" for a valid record."""
    try:
        record_decoder(schema)(body, 0)
    except MalformedError as error:
        return error.reason
    return ""


def decoded(
    values: list[bytes | None], schemas: dict[int, WriterSchema | str]
) -> tuple[dict[int, Any], list[Rejection]]:
    """Row to whether it came by column, and the rejections."""
    batch = batch_of(values)
    events, rejections = decode(batch, split_frames(values, 1 << 20), schemas)
    assert all(len(part) == len(part.table) for part in events)
    ways = {row: not isinstance(part.table, list) for part in events for row in part.rows.tolist()}
    return ways, rejections


@given(cases(columnar=True))
def test_a_batch_of_canonical_encodings_is_decoded_by_column(case: Case) -> None:
    table = by_column([prefix(1) + body for body in case.bodies], admitted(case))
    assert table is not None
    assert len(table) == len(case.bodies)


@given(cases(columnar=True), st.integers(0, 1 << 30))
def test_other_legal_encodings_are_left_to_the_reference(case: Case, seed: int) -> None:
    loose = case.loose_bodies(seed)
    table = by_column([prefix(1) + body for body in loose], admitted(case))
    assert (table is not None) == (loose == case.bodies)


@given(cases(), st.data())
def test_a_batch_is_taken_by_column_only_if_the_reference_takes_every_row(case: Case, data: st.DataObject) -> None:
    schema = admitted(case)
    bodies = [data.draw(mutated(body)) if data.draw(st.booleans()) else body for body in case.bodies]
    if by_column([prefix(1) + body for body in bodies], schema) is not None:
        assert [verdict(schema, body) for body in bodies] == [""] * len(bodies)


@given(cases(), st.data())
def test_the_verdict_on_a_row_does_not_depend_on_its_batch_mates(case: Case, data: st.DataObject) -> None:
    schema = admitted(case)
    bodies = [data.draw(mutated(body)) if data.draw(st.booleans()) else body for body in case.bodies]
    rows = bodies + case.bodies * VECTOR_ROWS_MIN
    _, rejections = decoded([prefix(1) + body for body in rows], {1: schema})
    assert reasons(rejections) == {row: found for row, body in enumerate(rows) if (found := verdict(schema, body))}


@pytest.mark.parametrize(
    ("kind", "value", "rows_min"),
    [("int", 7, VECTOR_ROWS_MIN), ({"type": "array", "items": "int"}, [7, 8], VECTOR_ROWS_MIN_REPEATED)],
)
def test_small_groups_go_by_record_and_large_ones_by_column_those_with_arrays_sooner(
    kind: Any, value: Any, rows_min: int
) -> None:
    schema = event_schema(("a", kind))
    for rows in (rows_min - 1, rows_min):
        ways, rejections = decoded([framed(schema, event(at, a=value)) for at in range(rows)], {1: schema})
        assert (set(ways.values()), rejections) == ({rows == rows_min}, [])


def test_a_schema_with_bytes_goes_by_record_however_large_the_group() -> None:
    schema = event_schema(("raw", "bytes"))
    ways, rejections = decoded([framed(schema, event(at, raw=b"x")) for at in range(50)], {1: schema})
    assert (ways, rejections) == (dict.fromkeys(range(50), False), [])


BAD = {
    "int of 60 bits": ("int", varint(2**60)),
    "long of 70 bits": ("long", b"\xff" * 9 + b"\x7f"),
    "overlong int": ("int", b"\x80" * 5 + b"\x00"),
    "negative enum index": ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, varint(-1)),
    "enum index beyond the symbols": ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, varint(2)),
    "negative union index": (["null", "int"], varint(-1)),
    "union index beyond the branches": (["null", "int"], varint(2) + b"\x02"),
    "boolean of 2": ("boolean", b"\x02"),
    "invalid UTF-8": ("string", b"\x04\xc3("),
    "surrogate in UTF-8": ("string", b"\x06\xed\xa0\x80"),
    "invalid UTF-8 in a nullable record": (
        ["null", {"type": "record", "name": "In", "fields": [{"name": "s", "type": "string"}]}],
        b"\x02\x04\xc3(",
    ),
    "invalid UTF-8 in a map's key": ({"type": "map", "values": "int"}, b"\x02\x04\xc3(\x02\x00"),
    "negative length": ("string", varint(-1)),
    "length beyond memory": ("string", varint(2**62)),
    "array of 2^60 items": ({"type": "array", "items": "string"}, varint(2**60)),
    "map of 2^40 items": ({"type": "map", "values": "int"}, varint(2**40)),
    "wrong block size": ({"type": "array", "items": "int"}, varint(-1) + varint(5) + b"\x02\x00"),
    "bytes that end": ("double", b"\x00" * 7),
    "no bytes at all": ("int", b""),
}


@pytest.mark.parametrize("name", list(BAD))
@pytest.mark.parametrize("rows", [1, VECTOR_ROWS_MIN, 200])
def test_one_bad_row_is_rejected_alone_in_a_batch_of_any_size(name: str, rows: int) -> None:
    kind, bad = BAD[name]
    schema = record_schema(("a", "string"), ("b", kind))
    good = {
        "int": b"\x02",
        "long": b"\x02",
        "boolean": b"\x01",
        "string": b"\x00",
        "double": b"\x00" * 8,
    }.get(kind if isinstance(kind, str) else "", b"\x00")
    values: list[bytes | None] = [prefix(1) + b"\x02x" + good] * rows
    values[rows // 2] = prefix(1) + b"\x02x" + bad
    ways, rejections = decoded(values, {1: schema})
    assert reasons(rejections) == {rows // 2: "malformed"}
    assert sorted(ways) == [row for row in range(rows) if row != rows // 2]


@pytest.mark.parametrize("rows", [1, VECTOR_ROWS_MIN])
def test_trailing_bytes_have_a_reason_of_their_own(rows: int) -> None:
    schema = event_schema()
    values: list[bytes | None] = [framed(schema, event(at)) for at in range(rows)]
    values[0] = framed(schema, event()) + b"!"
    assert reasons(decoded(values, {1: schema})[1]) == {0: "trailing_bytes"}


def test_a_group_in_which_nothing_is_valid_has_no_events() -> None:
    ways, rejections = decoded([prefix(1), prefix(1)], {1: event_schema()})
    assert (ways, reasons(rejections)) == ({}, {0: "malformed", 1: "malformed"})


def test_rows_of_a_schema_that_is_not_admitted_are_rejected_with_the_reason_given() -> None:
    schema = event_schema()
    values = [framed(schema, event()), prefix(8) + b"x", prefix(9) + b"x", framed(schema, event(1))]
    ways, rejections = decoded(values, {1: schema, 8: "unknown_schema", 9: "inadmissible_schema"})
    assert reasons(rejections) == {1: "unknown_schema", 2: "inadmissible_schema"}
    assert sorted(ways) == [0, 3]
    assert rejections[0].detail == "schema id 8"


def test_rejections_of_the_wire_format_are_passed_on() -> None:
    ways, rejections = decoded([b"garbage", None, framed(event_schema(), event())], {1: event_schema()})
    assert (list(ways), reasons(rejections)) == ([2], {0: "bad_frame"})


def test_a_field_that_is_null_in_the_schema_is_decoded_like_any_other() -> None:
    schema = record_schema(("a", "null"), ("b", "int"))
    ways, rejections = decoded([prefix(1) + b"\x02"] * VECTOR_ROWS_MIN, {1: schema})
    assert (set(ways.values()), rejections) == ({True}, [])


class PanicError(BaseException):
    """Like pyo3's PanicException, no Exception."""


@pytest.mark.parametrize("error", [PanicError, ValueError, MemoryError])
def test_whatever_the_accelerator_raises_sends_the_batch_by_record(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr("scorer.core.decode.pyruhvro.deserialize_array", fail)
    schema = event_schema()
    ways, rejections = decoded([framed(schema, event(at)) for at in range(20)], {1: schema})
    assert (set(ways.values()), rejections) == ({False}, [])


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_wish_to_end_the_process_is_not_taken_for_a_panic(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def stop(*_: Any) -> None:
        raise error

    monkeypatch.setattr("scorer.core.decode.pyruhvro.deserialize_array", stop)
    schema = event_schema()
    with pytest.raises(error):
        by_column([framed(schema, event())], schema)


def test_an_accelerator_that_gets_a_value_wrong_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    import pyruhvro

    schema = record_schema(("a", "int"))
    right = pyruhvro.deserialize_array

    def wrong(bodies: list[bytes], text: str) -> Any:
        return right([b"\x00"] * len(bodies), text)

    monkeypatch.setattr("scorer.core.decode.pyruhvro.deserialize_array", wrong)
    assert by_column([prefix(1) + b"\x02"], schema) is None


def test_details_quote_nothing_of_the_payload() -> None:
    schema = record_schema(("a", "string"), ("b", "int"))
    secret = b"geheim"
    values = [prefix(1) + varint(6) + secret + tail for tail in (b"", b"\x02" + secret, varint(2**40))]
    _, rejections = decoded([*values, secret], {1: schema})
    assert len(rejections) == 4
    assert not any("geheim" in rejection.detail for rejection in rejections)
