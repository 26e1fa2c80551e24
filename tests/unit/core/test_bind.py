"""Binding a contract's inputs to a writer schema: what fits, and what is said where it does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from scorer.core.bind import Binding, bind
from scorer.core.columns import Field, Kind
from tests.unit.core.batches import event_schema, record_schema
from tests.unit.core.graphs import interface_of

ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}
ITEMS = {"type": "array", "items": "string"}


def bound(kind: Any, tensor: str, rules: str = "", shape: tuple[int | None, ...] = (None, 1)) -> Binding | str:
    """The binding of input x to field a."""
    interface = interface_of(f'[inputs.x]\nfield = "a"\n{rules}', {"x": (tensor, shape)})
    return bind(interface, event_schema(("a", kind)))


@pytest.mark.parametrize("tensor", ["float", "double", "int64", "int32"])
@pytest.mark.parametrize("kind", ["int", "long", "float", "double", "boolean", ["null", "int"], ["int", "double"]])
def test_numbers_and_booleans_feed_number_tensors(kind: Any, tensor: str) -> None:
    assert isinstance(bound(kind, tensor), Binding)


@pytest.mark.parametrize("kind", ["string", ENUM, ["null", "string"], ["string", ENUM]])
def test_strings_and_enums_feed_string_tensors(kind: Any) -> None:
    assert isinstance(bound(kind, "string"), Binding)


@pytest.mark.parametrize(
    ("kind", "tensor", "problem"),
    [
        ("string", "float", "[inputs.x] a is a text, the model takes float32"),
        ("string", "int64", "[inputs.x] a is a text, the model takes int64"),
        ("int", "string", "[inputs.x] a is a whole number, the model takes string"),
        ("double", "bool", "[inputs.x] a is a number, the model takes bool"),
        ("bytes", "float", "[inputs.x] a is a bytes, which cannot feed a model"),
        (ITEMS, "string", "[inputs.x] a is an array; length says so"),
    ],
)
def test_what_does_not_fit_is_named_with_input_and_field(kind: Any, tensor: str, problem: str) -> None:
    assert bound(kind, tensor) == problem


def test_a_length_on_a_field_that_is_no_array_is_a_problem() -> None:
    assert bound("string", "string", "length = 3") == "[inputs.x] a is not an array; length says so"


@pytest.mark.parametrize(
    ("tensor", "rules"),
    [
        ("float", 'missing = "x"'),
        ("float", "missing = 1e39"),
        ("float", f"missing = 1{'0' * 400}"),
        ("int64", "missing = 0.5"),
        ("int64", "missing = nan"),
        ("int64", "missing = inf"),
        ("int64", "missing = 9223372036854775808"),
        ("int32", "missing = 2147483648"),
        ("bool", "missing = 1"),
        ("string", "missing = 1"),
    ],
)
def test_a_default_that_the_tensor_cannot_hold_is_a_problem(tensor: str, rules: str) -> None:
    found = bound("string" if tensor == "string" else "boolean", tensor, rules)
    assert isinstance(found, str)
    assert found.startswith("[inputs.x] missing = ")
    assert "does not fit a tensor of" in found


@pytest.mark.parametrize(
    ("tensor", "rules"),
    [
        ("float", "missing = -1"),
        ("float", "missing = nan"),
        ("float", "missing = inf"),
        ("float", "missing = 3e38"),
        ("double", "missing = 1e300"),
        ("int64", "missing = -9223372036854775808"),
        ("int64", "missing = 2.0"),
        ("int32", "missing = true"),
        ("bool", "missing = false"),
        ("string", 'missing = ""'),
    ],
)
def test_a_default_that_the_tensor_holds_binds(tensor: str, rules: str) -> None:
    assert isinstance(bound("string" if tensor == "string" else "boolean", tensor, rules), Binding)


@pytest.mark.parametrize(
    ("tensor", "kind", "pad"), [("string", "string", "1"), ("float", "double", '"x"'), ("int64", "int", "0.5")]
)
def test_a_pad_that_the_tensor_cannot_hold_is_a_problem(tensor: str, kind: str, pad: str) -> None:
    found = bound({"type": "array", "items": kind}, tensor, f"length = 2\npad = {pad}", (None, 2))
    assert isinstance(found, str)
    assert "[inputs.x] pad = " in found


@pytest.mark.parametrize(
    ("tensor", "kind", "pad"),
    [("string", "string", ""), ("float", "double", 0.0), ("int64", "int", 0), ("bool", "boolean", False)],
)
def test_a_pad_that_is_not_given_is_the_empty_value_of_the_tensor(tensor: str, kind: str, pad: Any) -> None:
    found = bound({"type": "array", "items": kind}, tensor, "length = 2", (None, 2))
    assert isinstance(found, Binding)
    assert (found.padded[0].pad, found.padded[0].length) == (pad, 2)


@pytest.mark.parametrize(("tensor", "kind"), [("string", "string"), ("bool", "boolean")])
def test_a_range_on_what_is_no_number_is_a_problem(tensor: str, kind: str) -> None:
    found = bound(kind, tensor, "range = [0, 1]")
    assert isinstance(found, str)
    assert "[inputs.x] range is for numbers" in found


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ((("event_id", "string"), ("occurred_at", "long")), "lead_id must be a text or a whole number: it is absent"),
        (
            (("event_id", "string"), ("lead_id", "double"), ("occurred_at", "long")),
            "lead_id must be a text or a whole number: it is a number",
        ),
        (
            (("event_id", ITEMS), ("lead_id", "string"), ("occurred_at", "long")),
            "event_id must be a text or a whole number",
        ),
        ((("event_id", "bytes"), ("lead_id", "string"), ("occurred_at", "long")), "event_id is a bytes"),
        (
            (("event_id", "string"), ("lead_id", "long"), ("occurred_at", "string")),
            "occurred_at must be a whole number: it is a text",
        ),
        ((("event_id", "string"), ("lead_id", "string")), "occurred_at must be a whole number: it is absent"),
    ],
)
def test_the_fields_that_identify_an_event_must_be_there_and_of_their_kind(fields: Any, problem: str) -> None:
    interface = interface_of('[inputs.x]\nfield = "a"\n', {"x": ("float", (None, 1))})
    found = bind(interface, record_schema(*fields, ("a", "int")))
    assert isinstance(found, str)
    assert problem in found


def test_all_problems_are_told_at_once() -> None:
    interface = interface_of(
        '[inputs.x]\nfield = "a"\n[inputs.z]\nfield = "b"\n', {"x": ("float", (None,)), "z": ("string", (None,))}
    )
    found = bind(
        interface, record_schema(("a", "string"), ("b", "int"), ("event_id", "string"), ("occurred_at", "long"))
    )
    assert isinstance(found, str)
    assert len(found.split("; ")) == 3


def test_an_absent_field_binds_and_its_default_decides() -> None:
    interface = interface_of('[inputs.x]\nfield = "later.on"\nmissing = 3\n', {"x": ("float", (None, 1))})
    found = bind(interface, event_schema())
    assert isinstance(found, Binding)
    assert found.blocks[0].slots[0].field == Field(("later", "on"), None)


def test_inputs_of_one_tensor_type_share_a_block_in_their_order() -> None:
    toml = '[inputs.x]\nfield = "a"\n[inputs.t]\nfield = "c"\n[inputs.m]\nfields = ["a", "b"]\nrange = [0, 9]\n'
    ends = {"x": ("float", (None, 1)), "t": ("string", (None, 1)), "m": ("float", (None, 2))}
    found = bind(interface_of(toml, ends), event_schema(("a", "int"), ("b", "int"), ("c", "string")))
    assert isinstance(found, Binding)
    numbers, texts = found.blocks
    assert numbers.inputs == (("x", 0, 1, (1,)), ("m", 1, 3, (1,)))
    assert [slot.label for slot in numbers.slots] == ["a", "a", "b"]
    assert numbers.highest[:, 0].tolist() == [np.finfo(np.float64).max, 9, 9]
    assert (texts.inputs, texts.bounded, texts.filler) == ((("t", 0, 1, (1,)),), False, "")


def test_a_range_open_to_infinity_still_ends_at_the_last_finite_number() -> None:
    found = bound("double", "float", "range = [0, inf]")
    assert isinstance(found, Binding)
    assert np.isfinite(found.blocks[0].highest).all()


def test_a_binding_is_made_once_for_each_model_and_schema() -> None:
    interface = interface_of('[inputs.x]\nfield = "a"\n', {"x": ("float", (None, 1))})
    schema = event_schema(("a", "int"))
    assert bind(interface, schema) is bind(interface, schema)


def test_the_entity_may_be_a_whole_number() -> None:
    interface = interface_of('[inputs.x]\nfield = "a"\n', {"x": ("float", (None, 1))})
    found = bind(
        interface, record_schema(("event_id", "string"), ("lead_id", "int"), ("occurred_at", "long"), ("a", "int"))
    )
    assert isinstance(found, Binding)
    assert found.entity.kind is Kind.WHOLE
