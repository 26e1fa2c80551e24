"""Fields as numpy columns: the same bits from Arrow as from records."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.core.columns import Column, Field, Kind, as_bytes, bind_field, listed, read, text_column
from scorer.core.decode import Events, by_column
from scorer.core.schema import Node, WriterSchema, writer_schema
from scorer.core.strict import record_decoder
from scorer.core.wire import prefix
from tests.unit.core.batches import WAYS, Way, events_of, record_schema
from tests.unit.core.generated import Case, cases, mutated
from tests.unit.core.graphs import seen
from tests.unit.core.oracle import same

ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}
INNER = {
    "type": "record",
    "name": "In",
    "fields": [{"name": "x", "type": "int"}, {"name": "u", "type": ["int", "double"]}],
}


def paths(node: Node, start: str = "") -> Iterator[str]:
    """Every field path, through records and nullable records."""
    for name, child in node.fields:
        yield start + name
        inner = [child] if child.kind != "union" else [b for b in child.branches if b.kind != "null"]
        if len(inner) == 1 and inner[0].kind == "record":
            yield from paths(inner[0], f"{start}{name}.")


def bits(values: Any) -> Any:
    values = seen(values)
    return list(values) if values.dtype == object else (values.dtype, values.tobytes())


def listed_values(column: Column) -> list[Any]:
    return list(column.values if column.null_items else seen(column.values))


def assert_same(one: Column, other: Column) -> None:
    nulls_or_texts = one.values.dtype.kind in "OS"
    assert same(listed_values(one), listed_values(other)) if nulls_or_texts else bits(one.values) == bits(other.values)
    assert (one.null is None) == (other.null is None)
    assert one.null is None or other.null is None or bits(one.null) == bits(other.null)
    assert (one.lengths is None) == (other.lengths is None)
    assert one.lengths is None or other.lengths is None or bits(one.lengths) == bits(other.lengths)


def assert_ways_agree(schema: WriterSchema, bodies: list[bytes]) -> None:
    table = by_column([prefix(1) + body for body in bodies], schema)
    if table is None:
        return
    decode = record_decoder(schema)
    rows = np.arange(len(bodies))
    columns, records = Events(rows, schema, table), Events(rows, schema, [decode(body, 0) for body in bodies])
    for path in paths(schema.root):
        field = bind_field(schema.root, path)
        if isinstance(field, str):
            continue
        assert_same(read(columns, field), read(records, field))
        if field.kind is Kind.TEXT and not field.array:
            (one, null), (other, other_null) = text_column(columns, field), text_column(records, field)
            assert listed(one) == listed(other)
            assert as_bytes(one) == as_bytes(other) == [text.encode() for text in listed(one)]
            assert (null is None and other_null is None) or (null is not None and null.tolist() == list(other_null))


@given(cases(columnar=True))
def test_every_field_that_binds_reads_the_same_bits_from_arrow_and_from_records(case: Case) -> None:
    assert_ways_agree(writer_schema(1, json.dumps(case.schema)), case.bodies)


@given(cases(columnar=True), st.data())
def test_mutated_bytes_that_still_decode_read_the_same_bits(case: Case, data: st.DataObject) -> None:
    assert_ways_agree(writer_schema(1, json.dumps(case.schema)), [data.draw(mutated(body)) for body in case.bodies])


def test_a_signalling_nan_has_the_same_bits_either_way() -> None:
    schema = record_schema(("a", "float"), ("b", "double"), ("c", ["null", "float"]))
    body = b"\x01\x00\xa0\x7f" + b"\x01\x00\x00\x00\x00\x00\xf4\xff" + b"\x02\x05\x00\x80\xff"
    assert_ways_agree(schema, [body] * 2)


def column(way: Way, kind: Any, values: list[Any], path: str = "a") -> Column:
    schema = record_schema(("a", kind))
    field = bind_field(schema.root, path)
    assert isinstance(field, Field)
    return read(events_of(schema, [{"a": value} for value in values], way)[0], field)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("kind", "values", "dtype"),
    [
        ("int", [1, -(2**31)], np.int64),
        ("long", [2**63 - 1, -(2**63)], np.int64),
        ("float", [0.5, -0.0], np.float64),
        ("double", [0.1, 1e300], np.float64),
        ("boolean", [True, False], np.bool_),
        ("string", ["", "ä𝄞"], object),
        (ENUM, ["B", "A"], object),
        ({"type": "long", "logicalType": "timestamp-millis"}, [2**60, 0], np.int64),
        (["int", "double"], [7, 0.5], np.float64),
        (["null", "int", "long"], [7, 2**40], np.int64),
        (["string", ENUM], ["A", "z"], object),
        (["int"], [7, 8], np.int64),
    ],
)
def test_a_column_has_one_type_for_each_kind_of_field(way: Way, kind: Any, values: list[Any], dtype: Any) -> None:
    found = column(way, kind, values)
    assert seen(found.values).dtype == dtype
    assert seen(found.values).tolist() == values
    assert found.null is None
    assert found.lengths is None


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("kind", "value", "filler"),
    [("int", 3, 0), ("double", 0.5, 0.0), ("boolean", True, False), ("string", "x", ""), (ENUM, "B", "")],
)
def test_nulls_are_marked_and_filled(way: Way, kind: Any, value: Any, filler: Any) -> None:
    found = column(way, ["null", kind], [None, value, None])
    assert found.null is not None
    assert found.null.tolist() == [True, False, True]
    assert seen(found.values).tolist() == [filler, value, filler]


@pytest.mark.parametrize("way", WAYS)
def test_a_path_leads_through_a_record_that_may_be_null(way: Way) -> None:
    found = column(way, ["null", INNER], [{"x": 5, "u": 1}, None, {"x": 6, "u": 2}], "a.x")
    assert found.values.tolist() == [5, 0, 6]
    assert found.null is not None
    assert found.null.tolist() == [False, True, False]


@pytest.mark.parametrize("way", WAYS)
def test_a_union_inside_a_record_that_may_be_null_is_read_like_any_other_field(way: Way) -> None:
    found = column(way, ["null", INNER], [{"x": 5, "u": 1}, None, {"x": 6, "u": 0.5}], "a.u")
    assert found.values.tolist() == [1.0, 0.0, 0.5]
    assert found.null is not None
    assert found.null.tolist() == [False, True, False]


@pytest.mark.parametrize("way", WAYS)
def test_arrays_are_flat_items_and_lengths(way: Way) -> None:
    found = column(way, {"type": "array", "items": "string"}, [["a", "b"], [], ["c"]])
    assert seen(found.values).tolist() == ["a", "b", "c"]
    assert found.lengths is not None
    assert found.lengths.tolist() == [2, 0, 1]


@pytest.mark.parametrize("way", WAYS)
def test_arrays_that_are_null_have_no_items(way: Way) -> None:
    found = column(way, ["null", {"type": "array", "items": "int"}], [None, [1], []])
    assert (found.values.tolist(), found.values.dtype) == ([1], np.int64)
    assert found.lengths is not None
    assert found.lengths.tolist() == [0, 1, 0]
    assert found.null is not None
    assert found.null.tolist() == [True, False, False]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("items", [["null", "int"], ["null", "int", "long"]])
def test_null_items_stay_none_for_the_caller_to_find(way: Way, items: list[str]) -> None:
    found = column(way, {"type": "array", "items": items}, [[1, None], [2]])
    assert (found.values.tolist(), found.values.dtype) == ([1, None, 2], object)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["string", ENUM, ["null", "string"], ["string", ENUM]])
def test_a_text_column_is_carried_as_it_came(way: Way, kind: Any) -> None:
    schema = record_schema(("a", kind))
    field = bind_field(schema.root, "a")
    assert isinstance(field, Field)
    texts, null = text_column(events_of(schema, [{"a": "A"}, {"a": "B"}], way)[0], field)
    assert (listed(texts), as_bytes(texts), null) == (["A", "B"], [b"A", b"B"], None)


@pytest.mark.parametrize("way", WAYS)
def test_a_text_column_through_a_null_record_is_filled_and_marked(way: Way) -> None:
    inner = {"type": "record", "name": "In", "fields": [{"name": "s", "type": "string"}]}
    schema = record_schema(("a", ["null", inner]))
    field = bind_field(schema.root, "a.s")
    assert isinstance(field, Field)
    texts, null = text_column(events_of(schema, [{"a": None}, {"a": {"s": "x"}}], way)[0], field)
    assert listed(texts) == ["", "x"]
    assert null is not None
    assert null.tolist() == [True, False]


def bound(kind: Any, path: str = "a") -> Field | str:
    return bind_field(record_schema(("a", kind)).root, path)


@pytest.mark.parametrize("path", ["b", "a.b", "a.x.b"])
def test_an_absent_field_binds_to_nothing_so_that_the_default_decides(path: str) -> None:
    deep = {"type": "record", "name": "D", "fields": [{"name": "x", "type": ["null", INNER]}]}
    assert bound(deep, path) == Field(tuple(path.split(".")), None)


def test_a_path_into_what_is_no_record_is_a_problem_that_names_both_ends() -> None:
    assert bound("int", "a.b") == "a is an int, so a.b is not a field in it"
    assert bound({"type": "map", "values": "int"}, "a.b") == "a is a map, so a.b is not a field in it"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("bytes", "a bytes"),
        ("null", "a null"),
        (INNER, "a record"),
        ({"type": "map", "values": "int"}, "a map"),
        ({"type": "fixed", "name": "F", "size": 2}, "a fixed"),
        (["int", "string"], "a union"),
        (["boolean", "int"], "a union"),
        (["null", "string", "bytes"], "a union"),
        ({"type": "array", "items": "bytes"}, "an array of bytes"),
        ({"type": "array", "items": {"type": "array", "items": "int"}}, "an array of array"),
        ({"type": "array", "items": ["int", "string"]}, "an array of union"),
    ],
)
def test_a_type_that_can_feed_no_tensor_is_a_problem_that_names_it(kind: Any, words: str) -> None:
    assert bound(kind) == f"a is {words}, which cannot feed a model"


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("int", Field(("a",), Kind.WHOLE)),
        (
            ["null", {"type": "long", "logicalType": "timestamp-micros"}],
            Field(("a",), Kind.WHOLE, logical="timestamp-micros"),
        ),
        (["null", "int", "long"], Field(("a",), Kind.WHOLE, union=True)),
        (["long", "float"], Field(("a",), Kind.NUMBER, union=True)),
        (["float", "double", "null"], Field(("a",), Kind.NUMBER, union=True)),
        ({"type": "array", "items": ["null", "boolean"]}, Field(("a",), Kind.BOOLEAN, array=True)),
        (["null", {"type": "array", "items": ["int", "double"]}], Field(("a",), Kind.NUMBER, array=True, union=True)),
    ],
)
def test_a_bound_field_says_what_it_holds(kind: Any, field: Field) -> None:
    assert bound(kind) == field
