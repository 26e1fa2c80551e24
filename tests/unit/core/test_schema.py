"""Which writer schemas are admitted, and their resolved trees."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import fastavro
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from scorer.core.errors import ContractError
from scorer.core.schema import DEPTH_MAX, NODES_MAX, SCHEMA_BYTES_MAX, Node, walk, writer_schema
from tests.unit.core.generated import cases, schemas
from tests.unit.core.oracle import Type, expand


def record(*fields: Any, **more: Any) -> dict[str, Any]:
    return {
        "type": "record",
        "name": "R",
        "fields": [{"name": f"f{at}", "type": t} for at, t in enumerate(fields)],
    } | more


def refusal(raw: Any) -> str:
    with pytest.raises(ContractError) as caught:
        writer_schema(7, raw if isinstance(raw, str) else json.dumps(raw))
    assert str(caught.value).startswith("schema 7 ")
    return str(caught.value)


def as_type(node: Node) -> Type:
    """The tree in the oracle's words."""
    names = tuple(name for name, _ in node.fields) if node.kind == "record" else node.symbols
    return Type(node.kind, tuple(map(as_type, node.branches)), names, node.size)


def without_logical(kind: Type) -> Type:
    return Type(kind.kind, tuple(map(without_logical, kind.parts)), kind.names, kind.size)


@given(schemas())
def test_names_and_references_resolve_as_the_specification_says(raw: dict[str, Any]) -> None:
    try:
        schema = writer_schema(1, json.dumps(raw))
    except ContractError as error:
        assume("no bytes" not in str(error) and "zero bytes" not in str(error))
        raise
    assert as_type(schema.root) == without_logical(expand(raw))


@given(cases())
def test_the_text_to_decode_with_has_the_same_layout_and_no_logical_type(case: Any) -> None:
    try:
        text = writer_schema(1, json.dumps(case.schema)).text
    except ContractError:
        assume(False)
    assert expand(json.loads(text)) == without_logical(expand(case.schema))
    assert "logicalType" not in text


@given(schemas(), st.data())
def test_any_text_gives_a_schema_or_a_contract_error_and_nothing_else(raw: dict[str, Any], data: st.DataObject) -> None:
    text = json.dumps(raw)
    at = data.draw(st.integers(0, len(text)))
    words = ("null", "-1", '"R"', "[]", "{}", '"A"', '"type"', "3", "", ",", '"fixed"', '"__fastavro_parsed"')
    cut = data.draw(st.integers(0, 9))
    with suppress(ContractError):
        writer_schema(1, text[:at] + data.draw(st.sampled_from(words)) + text[at + cut :])


def test_logical_types_are_notes_on_the_node() -> None:
    stamp = {"type": "long", "logicalType": "timestamp-millis"}
    schema = writer_schema(1, json.dumps(record(stamp, ["null", stamp], {"type": "array", "items": stamp})))
    assert [node.logical for _, node in walk(schema.root) if node.kind == "long"] == ["timestamp-millis"] * 3


def test_a_logical_type_beside_the_type_of_a_field_means_nothing_as_in_avro() -> None:
    raw = record("long")
    raw["fields"][0]["logicalType"] = "timestamp-micros"
    assert writer_schema(1, json.dumps(raw)).root.branches[0].logical == ""


def test_an_invalid_logical_type_is_ignored_as_the_specification_asks() -> None:
    wrong = {"type": "bytes", "logicalType": "decimal", "precision": "many"}
    assert writer_schema(1, json.dumps(record(wrong))).root.branches[0].kind == "bytes"


def test_defaults_are_kept_for_those_who_write() -> None:
    raw = record("int")
    raw["fields"][0] |= {"default": 3, "doc": "a note"}
    text = writer_schema(1, json.dumps(raw)).text
    assert '"default": 3' in text
    assert "note" not in text


def test_an_error_is_a_record_by_another_name() -> None:
    schema = writer_schema(
        1, json.dumps(record({"type": "error", "name": "E", "fields": [{"name": "a", "type": "int"}]}))
    )
    assert schema.root.branches[0].kind == "record"
    assert schema.by_record_only is None


@pytest.mark.parametrize("namespace", [None, ""])
def test_a_null_or_empty_namespace_is_none_at_all(namespace: str | None) -> None:
    enum = {"type": "enum", "name": "E", "symbols": ["A"], "namespace": namespace}
    inner = record(enum, name="In", namespace="deep")
    schema = writer_schema(1, json.dumps(record(inner, "E")))
    assert schema.root.branches[0].branches[0] == schema.root.branches[1]


def test_a_record_that_contains_itself_is_refused_however_deep() -> None:
    assert "recursive: R contains itself" in refusal(record(["null", "R"]))
    inner = {"type": "record", "name": "In", "namespace": "n", "fields": [{"name": "a", "type": ["null", "m.R"]}]}
    assert "recursive: m.R" in refusal(record({"type": "map", "values": inner}, namespace="m"))


EMPTY = {"type": "record", "name": "E", "fields": []}


@pytest.mark.parametrize(
    "item",
    [
        "null",
        EMPTY,
        {"type": "fixed", "name": "F", "size": 0},
        {"type": "record", "name": "N", "fields": [{"name": "a", "type": "null"}, {"name": "b", "type": EMPTY}]},
    ],
)
def test_an_array_of_items_that_take_no_bytes_is_refused_with_its_path(item: Any) -> None:
    assert "items of f0.f0 may take zero bytes" in refusal(record(record({"type": "array", "items": item}, name="In")))


@pytest.mark.parametrize(
    "item",
    [
        "boolean",
        "int",
        "string",
        "bytes",
        "float",
        ["null"],
        {"type": "array", "items": "int"},
        {"type": "enum", "name": "E", "symbols": ["A"]},
    ],
)
def test_an_array_of_items_that_take_a_byte_is_admitted(item: Any) -> None:
    assert writer_schema(1, json.dumps(record({"type": "array", "items": item}))).root.kind == "record"


def test_a_map_of_null_is_admitted_since_its_keys_take_bytes() -> None:
    assert writer_schema(1, json.dumps(record({"type": "map", "values": "null"}))).root.kind == "record"


def test_many_fields_that_take_no_bytes_are_refused_since_each_makes_a_value_out_of_nothing() -> None:
    assert writer_schema(1, json.dumps(record(*["null"] * 8))).root.kind == "record"
    assert "9 fields that take no bytes" in refusal(record(*["null"] * 9))
    assert "fields that take no bytes" in refusal(record({"type": "map", "values": record(*["null"] * 9, name="In")}))


@pytest.mark.parametrize("raw", ["string", ["null", record()], {"type": "enum", "name": "E", "symbols": ["A"]}])
def test_what_is_no_record_is_refused(raw: Any) -> None:
    assert "records" in refusal(json.dumps(raw))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "3",
        "null",
        '"R"',
        '{"type": "record"}',
        '{"type": "record", "name": "R", "fields": {}}',
        '{"type": "record", "name": "R", "fields": [{"name": 3, "type": "int"}]}',
        '{"type": "record", "name": "R", "fields": [{"name": "a", "type": "nope"}]}',
        '{"type": "record", "name": "R", "__fastavro_parsed": true, "__named_schemas": {}}',
        json.dumps(record({"type": "enum", "name": "E", "symbols": "AB"})),
        json.dumps(record({"type": "fixed", "name": "F", "size": "3"})),
        json.dumps(record({"type": "fixed", "name": "F", "size": 2.5})),
        json.dumps(record({"type": "fixed", "name": "F", "size": True})),
        "[" * 100_000,
        '{"type":"array","items":' * 900 + '"int"' + "}" * 900,
    ],
)
def test_a_broken_text_is_refused(text: str) -> None:
    refusal(text)


def test_a_fixed_of_negative_size_is_refused_since_it_would_walk_back() -> None:
    assert "size" in refusal(record({"type": "array", "items": {"type": "fixed", "name": "F", "size": -1}}))


def test_two_fields_of_one_name_are_refused() -> None:
    raw = record("int")
    raw["fields"].append({"name": "f0", "type": "string"})
    assert "two fields of one name" in refusal(raw)


def test_a_text_beyond_the_limit_is_refused_unread() -> None:
    assert "characters" in refusal("x" * (SCHEMA_BYTES_MAX + 1))


def nested(depth: int) -> Any:
    kind: Any = "int"
    for _ in range(depth):
        kind = {"type": "array", "items": kind}
    return record(kind)


def test_a_schema_is_admitted_down_to_the_deepest_level_and_no_deeper() -> None:
    deepest = DEPTH_MAX - 1
    assert writer_schema(1, json.dumps(nested(deepest))).root.kind == "record"
    assert "deeper" in refusal(nested(deepest + 1))
    assert "deeper" in refusal(nested(200))


def chain(links: int, width: int) -> dict[str, Any]:
    """Each record holds the one before it `width` times, so that the tree grows like width ** links."""
    made: list[Any] = [{"type": "record", "name": "R0", "fields": [{"name": "a", "type": "int"}]}]
    for at in range(1, links):
        fields = [{"name": f"a{number}", "type": f"R{at - 1}"} for number in range(width)]
        made.append({"type": "record", "name": f"R{at}", "fields": fields})
    return record(*made)


def test_references_count_in_full_for_size_so_that_a_short_text_is_no_huge_tree() -> None:
    assert f"more than {NODES_MAX}" in refusal(chain(30, 2))
    assert f"more than {NODES_MAX}" in refusal(chain(12, 3))


def test_references_count_in_full_for_depth() -> None:
    assert "deeper" in refusal(chain(DEPTH_MAX + 1, 1))
    assert "deeper" in refusal(chain(190, 1))
    assert writer_schema(1, json.dumps(chain(DEPTH_MAX - 1, 1))).root.kind == "record"


def test_paths_lead_through_unions_and_mark_items() -> None:
    inner = record("int", name="In")
    schema = writer_schema(1, json.dumps(record(["null", inner], {"type": "map", "values": "In"})))
    assert [path for path, node in walk(schema.root) if node.kind == "int"] == ["f0.f0", "f1[].f0"]


def test_nullable_is_what_null_is_a_value_of() -> None:
    fields = writer_schema(1, json.dumps(record("null", ["int", "null"], ["int"], "int"))).root.branches
    assert [node.nullable for node in fields] == [True, True, False, False]


def test_a_child_is_found_by_name_or_not_at_all() -> None:
    root = writer_schema(1, json.dumps(record("int"))).root
    assert root.child("f0") == Node("int")
    assert root.child("nope") is None


def test_fastavro_takes_the_text_as_it_is() -> None:
    schema = writer_schema(1, json.dumps(record("int")))
    assert schema.parsed == fastavro.parse_schema(json.loads(schema.text))


ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"], "default": "A"}


def test_a_records_own_enums_are_decoded_as_the_ints_that_they_are_on_the_wire() -> None:
    schema = writer_schema(1, json.dumps(record(ENUM, "E", ["null", "E"], ["E", "null"], "string")))
    text, symbols = schema.by_index
    types = [field["type"] for field in json.loads(text)["fields"]]
    assert types == ["int", "int", ["null", "int"], ["int", "null"], "string"]
    assert list(symbols) == ["f0", "f1", "f2", "f3"]
    assert all(words.to_pylist() == ["A", "B"] for words in symbols.values())


WITHIN = {"type": "record", "name": "Inner", "fields": [{"name": "x", "type": "E"}]}
BARE = {"type": "enum", "name": "Bare", "symbols": []}


@pytest.mark.parametrize("deeper", [{"type": "array", "items": "E"}, ["null", "int", "E"], WITHIN, BARE])
def test_an_enum_elsewhere_leaves_the_layout_as_it_is(deeper: Any) -> None:
    schema = writer_schema(1, json.dumps(record(ENUM, deeper)))
    assert schema.by_index == (schema.text, {})
