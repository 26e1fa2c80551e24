"""The by-record reference: exactly the valid encodings of one record are taken."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from scorer.core.errors import ContractError
from scorer.core.schema import WriterSchema, writer_schema
from scorer.core.strict import MalformedError, record_decoder
from tests.unit.core.batches import framed, record_schema
from tests.unit.core.generated import Case, cases, mutated
from tests.unit.core.oracle import BadError, decode, plain, same, varint

ARRAY = {"type": "array", "items": "int"}
ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}
MAP = {"type": "map", "values": "int"}


def admitted(case: Case) -> WriterSchema:
    try:
        return writer_schema(1, json.dumps(case.schema))
    except ContractError as error:
        assume("no bytes" not in str(error) and "zero bytes" not in str(error))
        raise


def value_of(kind: Any, body: bytes) -> Any:
    return record_decoder(record_schema(("a", kind)))(body, 0)["a"]


def refusal(kind: Any, body: bytes) -> MalformedError:
    with pytest.raises(MalformedError) as caught:
        value_of(kind, body)
    return caught.value


@given(cases())
def test_every_canonical_encoding_gives_its_value_back(case: Case) -> None:
    decoder = record_decoder(admitted(case))
    for value, body in zip(case.values, case.bodies, strict=True):
        assert same(decoder(body, 0), plain(value))


@given(cases(), st.integers(0, 1 << 30))
def test_blocks_block_sizes_and_long_varints_are_as_good_as_the_canonical_form(case: Case, seed: int) -> None:
    decoder = record_decoder(admitted(case))
    for value, body in zip(case.values, case.loose_bodies(seed), strict=True):
        assert same(decoder(body, 0), plain(value))


@given(cases())
def test_what_fastavro_writes_is_taken(case: Case) -> None:
    schema = admitted(case)
    decoder = record_decoder(schema)
    for body in case.bodies:
        value = decoder(body, 0)
        again = decoder(framed(schema, value), 5)
        assert same(again, value) or '["' in json.dumps(case.schema)  # of several types fastavro may choose another


@given(cases(rows_max=1))
def test_every_strict_prefix_of_a_valid_encoding_is_rejected(case: Case) -> None:
    decoder, body = record_decoder(admitted(case)), case.bodies[0]
    for cut in range(len(body)):
        with pytest.raises(MalformedError) as caught:
            decoder(body[:cut], 0)
        assert caught.value.reason == "malformed"


@given(cases(rows_max=1), st.binary(min_size=1, max_size=9))
def test_a_record_with_trailing_bytes_is_rejected(case: Case, more: bytes) -> None:
    with pytest.raises(MalformedError) as caught:
        record_decoder(admitted(case))(case.bodies[0] + more, 0)
    assert caught.value.reason == "trailing_bytes"
    assert caught.value.detail == f"{len(more)} bytes follow the record"


@given(cases(), st.data())
def test_mutated_bytes_have_the_verdict_and_the_value_of_the_specification(case: Case, data: st.DataObject) -> None:
    decoder = record_decoder(admitted(case))
    for body in case.bodies:
        changed = data.draw(mutated(body))
        try:
            wanted = decode(case.type, changed)
        except BadError:
            with pytest.raises(MalformedError):
                decoder(changed, 0)
        else:
            assert same(decoder(changed, 0), wanted)


def test_a_body_may_start_anywhere_in_a_value() -> None:
    assert record_decoder(record_schema(("a", "int")))(b"\x00\x00\x00\x00\x01\x06", 5) == {"a": 3}


@pytest.mark.parametrize("number", [0, 1, -1, 2**31 - 1, -(2**31)])
def test_an_int_holds_32_bits(number: int) -> None:
    assert value_of("int", varint(number)) == number


@pytest.mark.parametrize("number", [2**31, -(2**31) - 1, 2**34 - 1, 2**60])
def test_an_int_beyond_32_bits_is_rejected(number: int) -> None:
    assert refusal("int", varint(number)).reason == "malformed"


@pytest.mark.parametrize("number", [2**31, 2**63 - 1, -(2**63)])
def test_a_long_holds_64_bits(number: int) -> None:
    assert value_of("long", varint(number)) == number


@pytest.mark.parametrize("body", [b"\xff" * 9 + b"\x02", b"\xff" * 9 + b"\x7f", b"\xff" * 19 + b"\x01"])
def test_a_long_beyond_64_bits_is_rejected(body: bytes) -> None:
    assert refusal("long", body).reason == "malformed"


@pytest.mark.parametrize(("kind", "bytes_max"), [("int", 5), ("long", 10), (ENUM, 5), (["null", "int"], 10)])
def test_a_varint_may_be_longer_than_it_need_be_but_not_longer_than_its_type_allows(kind: Any, bytes_max: int) -> None:
    longest = b"\x80" * (bytes_max - 1) + b"\x00"
    assert value_of(kind, longest) in (0, "A", None)
    assert "varint is longer" in refusal(kind, b"\x80" + longest).detail


@pytest.mark.parametrize("index", [-1, 2, 63, -(2**31), 2**33])
def test_an_enum_index_outside_its_symbols_is_rejected(index: int) -> None:
    assert "enum index" in refusal(ENUM, varint(index)).detail


@pytest.mark.parametrize("index", [-1, 2, 63, -(2**63)])
def test_a_union_index_outside_its_branches_is_rejected(index: int) -> None:
    assert "union index" in refusal(["null", "int"], varint(index) + b"\x00").detail


@pytest.mark.parametrize("byte", [2, 3, 0x80, 0xFF])
def test_a_boolean_other_than_0_and_1_is_rejected(byte: int) -> None:
    assert "boolean" in refusal("boolean", bytes([byte])).detail


@pytest.mark.parametrize("text", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"a\xe2\x82", b"\xf5\x80\x80\x80"])
@pytest.mark.parametrize(("kind", "tail"), [("string", b""), ({"type": "map", "values": "null"}, b"\x00")])
def test_text_that_is_not_utf_8_is_rejected_in_values_and_in_keys(kind: Any, tail: bytes, text: bytes) -> None:
    head = b"\x02" if tail else b""
    assert "UTF-8" in refusal(kind, head + varint(len(text)) + text + tail).detail


@pytest.mark.parametrize("kind", ["string", "bytes"])
@pytest.mark.parametrize("length", [-1, -5, -(2**40), -(2**63)])
def test_a_negative_length_is_rejected(kind: str, length: int) -> None:
    assert "negative" in refusal(kind, varint(length) + b"abcde").detail


@pytest.mark.parametrize("kind", ["string", "bytes", ARRAY, MAP])
@pytest.mark.parametrize("length", [1, 100, 2**31, 2**40, 2**63 - 1])
def test_a_length_or_count_beyond_the_bytes_is_rejected_at_once(kind: Any, length: int) -> None:
    assert refusal(kind, varint(length)).reason == "malformed"


def test_arrays_come_in_blocks_with_or_without_their_size() -> None:
    blocks = varint(2) + b"\x02\x04" + varint(-1) + varint(1) + b"\x06" + b"\x00"
    assert value_of(ARRAY, blocks) == [1, 2, 3]
    assert value_of(MAP, varint(-1) + varint(3) + b"\x02a\x06" + b"\x00") == {"a": 3}


@pytest.mark.parametrize("size", [0, 1, 3, -2, 2**40])
def test_a_block_whose_size_does_not_match_its_items_is_rejected(size: int) -> None:
    assert "block's size" in refusal(ARRAY, varint(-2) + varint(size) + b"\x02\x04\x00").detail


def test_a_block_of_the_lowest_count_ends_with_the_bytes() -> None:
    assert refusal(ARRAY, varint(-(2**63)) + varint(2) + b"\x02").reason == "malformed"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("float", b"\0" * 3),
        ("double", b"\0" * 7),
        ({"type": "fixed", "name": "F", "size": 4}, b"abc"),
        ("int", b""),
        ("boolean", b""),
    ],
)
def test_a_field_that_the_bytes_end_in_is_rejected(kind: Any, body: bytes) -> None:
    assert "end inside a field" in refusal(kind, body).detail


def test_logical_types_come_as_the_numbers_and_bytes_that_they_are_made_of() -> None:
    assert value_of({"type": "long", "logicalType": "timestamp-millis"}, varint(2**60)) == 2**60
    assert (
        value_of({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}, b"\x04\x7f\xff")
        == b"\x7f\xff"
    )


def test_what_fastavro_alone_cannot_decode_is_malformed_and_its_words_are_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any) -> None:
        raise OverflowError("secret payload")

    decoder = record_decoder(record_schema(("a", "int")))
    monkeypatch.setattr("scorer.core.strict.fastavro.schemaless_reader", fail)
    with pytest.raises(MalformedError) as caught:
        decoder(b"\x02", 0)
    assert (caught.value.reason, caught.value.detail) == ("malformed", "fastavro: OverflowError")
