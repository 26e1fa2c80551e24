"""Events to tensors: every rule of the contract for single values, the same from records as from columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from scorer.core.assemble import assemble
from scorer.core.columns import listed
from scorer.core.decode import decode
from scorer.core.wire import prefix, split_frames
from tests.unit.core.batches import (
    Way,
    batch_of,
    event,
    event_schema,
    events_of,
    reasons,
    record_schema,
)
from tests.unit.core.features import ENUM, INF, NAN, assembled, both_ways, fed, one
from tests.unit.core.generated import LONG_EDGES
from tests.unit.core.graphs import Ends, interface_of, seen


@both_ways
def test_each_input_gets_its_own_tensor_of_its_own_type_and_shape(way: Way) -> None:
    toml = """
    [inputs.age]
    field = "age"
    [inputs.flat]
    field = "age"
    [inputs.job]
    field = "job"
    [inputs.member]
    field = "member"
    [inputs.when]
    field = "occurred_at"
    [inputs.small]
    field = "age"
    [inputs.exact]
    field = "rate"
    """
    ends: Ends = {
        "age": ("float", (None, 1)),
        "flat": ("float", (None,)),
        "job": ("string", (None, 1)),
        "member": ("bool", (None, 1)),
        "when": ("int64", (None, 1)),
        "small": ("int32", (None, 1)),
        "exact": ("double", (None, 1)),
    }
    schema = event_schema(("age", "int"), ("job", ENUM), ("member", "boolean"), ("rate", "double"))
    records = [event(at, age=30 + at, job="AB"[at], member=at == 1, rate=at / 10) for at in range(2)]
    events, batch = events_of(schema, records, way)
    features, rejections = assemble([events], batch, interface_of(toml, ends))
    assert rejections == []
    expected: dict[str, Any] = {
        "age": np.array([[30], [31]], dtype=np.float32),
        "flat": np.array([30, 31], dtype=np.float32),
        "job": np.array([["A"], ["B"]], dtype=object),
        "member": np.array([[False], [True]]),
        "when": np.array([[1000], [1001]], dtype=np.int64),
        "small": np.array([[30], [31]], dtype=np.int32),
        "exact": np.array([[0.0], [0.1]]),
    }
    assert features.tensors.keys() == expected.keys()
    for name, tensor in ((name, seen(tensor)) for name, tensor in features.tensors.items()):
        assert (tensor.dtype, tensor.shape) == (expected[name].dtype, expected[name].shape), name
        assert tensor.tolist() == expected[name].tolist(), name


@both_ways
def test_events_are_known_by_their_ids_times_rows_and_schema(way: Way) -> None:
    features, _ = assembled(way, one("float"), "int", [1, 2])
    assert listed(features.entity) == ["l0", "l1"]
    assert listed(features.event_id) == ["e0", "e1"]
    assert (features.occurred_at.tolist(), features.occurred_at.dtype) == ([1000, 1001], np.int64)
    assert (features.schema_ids.tolist(), features.schema_ids.dtype) == ([1, 1], np.int32)
    assert features.rows.tolist() == [0, 1]
    assert len(features) == 2


@both_ways
def test_columns_of_a_matrix_stand_in_the_order_of_the_contract(way: Way) -> None:
    interface = interface_of('[inputs.x]\nfields = ["b.c", "a"]\nmissing = 0.5\n', {"x": ("float", (None, 2))})
    inner = {"type": "record", "name": "In", "fields": [{"name": "c", "type": "int"}]}
    schema = event_schema(("a", "double"), ("b", ["null", inner]))
    events, batch = events_of(schema, [event(0, a=1.5, b={"c": 7}), event(1, a=2.5, b=None)], way)
    features, rejections = assemble([events], batch, interface)
    assert rejections == []
    assert features.tensors["x"].tolist() == [[7.0, 1.5], [0.5, 2.5]]
    assert features.tensors["x"].flags.c_contiguous


@both_ways
def test_a_matrix_of_one_field_has_one_column(way: Way) -> None:
    interface = interface_of('[inputs.x]\nfields = ["a"]\n', {"x": ("float", (None, 1))})
    assert assembled(way, interface, "int", [1, 2])[0].tensors["x"].tolist() == [[1.0], [2.0]]


@both_ways
def test_null_in_a_field_that_the_contract_demands_is_rejected(way: Way) -> None:
    assert fed(way, one("float"), ["null", "int"], [1, None, 3]) == ([1.0, 3.0], {1: "missing_field"})
    assert fed(way, one("string"), ["null", "string"], ["x", None]) == (["x"], {1: "missing_field"})


@both_ways
def test_a_field_that_the_contract_demands_and_the_schema_lacks_rejects_every_row(way: Way) -> None:
    interface = interface_of('[inputs.x]\nfield = "z"\n', {"x": ("float", (None, 1))})
    features, rejections = assembled(way, interface, "int", [1, 2])
    assert (len(features), reasons(rejections)) == (0, {0: "missing_field", 1: "missing_field"})
    assert rejections[0].detail == "z is absent or null"


@both_ways
@pytest.mark.parametrize(
    ("tensor", "kind", "default", "null", "other"),
    [
        ("float", "int", "0.5", 0.5, 2),
        ("float", "double", "-1", -1.0, 2.5),
        ("int64", "long", "7", 7, 2**60),
        ("int64", "double", "7", 7, 2.0),
        ("string", "string", '"unknown"', "unknown", "x"),
        ("string", ENUM, '""', "", "B"),
        ("bool", "boolean", "true", True, False),
    ],
)
def test_a_default_stands_for_null(*, way: Way, tensor: str, kind: Any, default: str, null: Any, other: Any) -> None:
    assert fed(way, one(tensor, f"missing = {default}"), ["null", kind], [None, other]) == ([null, other], {})


@both_ways
@pytest.mark.parametrize(
    ("tensor", "default", "expected"),
    [("float", "0.5", 0.5), ("string", '"x"', "x"), ("bool", "true", True), ("int32", "3", 3)],
)
def test_a_default_stands_for_a_field_that_the_schema_lacks(way: Way, tensor: str, default: str, expected: Any) -> None:
    interface = interface_of(f'[inputs.x]\nfield = "z.y"\nmissing = {default}\n', {"x": (tensor, (None, 1))})
    features, rejections = assembled(way, interface, "int", [1, 2])
    assert (seen(features.tensors["x"]).tolist(), rejections) == ([[expected], [expected]], [])


@both_ways
def test_neither_a_null_nor_its_default_is_held_against_the_range(way: Way) -> None:
    for tensor in ("float", "int64"):
        interface = one(tensor, "missing = -1\nrange = [10, 20]")
        assert fed(way, interface, ["null", "int"], [None, 15, 5]) == ([-1, 15], {2: "out_of_range"})
        assert fed(way, one(tensor, "range = [10, 20]"), ["null", "int"], [None, 15]) == ([15], {0: "missing_field"})
    assert fed(way, one("float", "missing = -1\nrange = [0, 130]"), ["null", "int"], [None, 5]) == ([-1.0, 5.0], {})


@both_ways
def test_a_default_of_nan_reaches_the_model_since_the_contract_says_so(way: Way) -> None:
    found, rejected = fed(way, one("float", "missing = nan"), ["null", "double"], [None, 5.0])
    assert (np.isnan(found[0]), found[1], rejected) == (True, 5.0, {})


@both_ways
def test_a_range_is_inclusive(way: Way) -> None:
    interface = one("float", "range = [0, 130]")
    assert fed(way, interface, "int", [0, 130, -1, 131]) == ([0.0, 130.0], {2: "out_of_range", 3: "out_of_range"})
    assert fed(way, interface, "double", [-1e-9, 0.0, 130.0000001]) == ([0.0], {0: "out_of_range", 2: "out_of_range"})
    assert fed(way, one("int64", "range = [0, 130]"), "int", [0, 130, -1, 131])[1] == {
        2: "out_of_range",
        3: "out_of_range",
    }


@both_ways
def test_the_range_is_told_and_the_value_is_not(way: Way) -> None:
    _, rejections = assembled(way, one("float", "range = [0, 130]"), "int", [424242])
    assert rejections[0].detail == "a is outside [0, 130]"


@both_ways
@pytest.mark.parametrize("tensor", ["float", "double", "int64", "int32"])
@pytest.mark.parametrize("rules", ["", "range = [0, 10]", "range = [-inf, inf]", "range = [0, inf]"])
def test_a_number_that_is_not_finite_is_rejected_whatever_the_range(way: Way, tensor: str, rules: str) -> None:
    found, rejected = fed(way, one(tensor, rules), "double", [NAN, INF, -INF, 3.0])
    assert (found, rejected) == ([3], dict.fromkeys(range(3), "non_finite"))


@both_ways
def test_a_signalling_nan_is_rejected_without_a_warning(way: Way) -> None:
    schema = record_schema(("event_id", "string"), ("lead_id", "string"), ("occurred_at", "long"), ("a", "double"))
    body = prefix(1) + b"\x02e\x02l\x02" + b"\x01\x00\x00\x00\x00\x00\xf4\xff"
    batch = batch_of([body] * (20 if way == "by column" else 1))
    events, _ = decode(batch, split_frames(batch.values, 100), {1: schema})
    for tensor in ("float", "double", "int64"):
        _, rejections = assemble(events, batch, one(tensor))
        assert set(reasons(rejections).values()) == {"non_finite"}


@both_ways
def test_whole_numbers_of_any_size_are_rounded_once_for_a_float_tensor(way: Way) -> None:
    values = [2**24 + 1, 2**53 + 1, 2**63 - 1, -(2**63)]
    found, rejected = fed(way, one("float"), "long", values)
    assert rejected == {}
    assert found == [float(np.float32(float(value))) for value in values]


@both_ways
def test_a_number_that_would_become_infinite_in_the_tensor_does_not_fit(way: Way) -> None:
    _, rejections = assembled(way, one("float"), "double", [3.4e38, 3.5e38, -1e300])
    assert reasons(rejections) == {1: "out_of_range", 2: "out_of_range"}
    assert rejections[0].detail == "a does not fit float32"
    assert fed(way, one("double"), "double", [-1e300]) == ([-1e300], {})


@both_ways
def test_a_number_too_small_for_the_tensor_becomes_zero(way: Way) -> None:
    assert fed(way, one("float"), "double", [1e-300]) == ([0.0], {})


@both_ways
def test_whole_numbers_beyond_an_int32_tensor_do_not_fit(way: Way) -> None:
    edges = [2**31 - 1, -(2**31), 2**31, -(2**31) - 1, 2**63 - 1]
    assert fed(way, one("int32"), "long", edges) == (edges[:2], dict.fromkeys((2, 3, 4), "out_of_range"))


@both_ways
def test_numbers_feed_an_integer_tensor_only_when_whole_and_within_64_bits(way: Way) -> None:
    values = [3.0, -0.0, -(2.0**63), 2.0**62, 0.5, 2.0**63, 1e300]
    found, rejected = fed(way, one("int64"), "double", values)
    assert (found, rejected) == ([3, 0, -(2**63), 2**62], dict.fromkeys((4, 5, 6), "out_of_range"))


@both_ways
def test_a_null_number_for_an_integer_tensor_takes_the_default_and_no_blame(way: Way) -> None:
    assert fed(way, one("int64", "missing = 9"), ["null", "double"], [None, 2.0]) == ([9, 2], {})


@both_ways
def test_whole_numbers_of_64_bits_reach_an_int64_tensor_unrounded(way: Way) -> None:
    assert fed(way, one("int64"), "long", list(LONG_EDGES)) == (list(LONG_EDGES), {})


@both_ways
def test_integers_at_the_ends_of_their_type_are_within_an_open_range(way: Way) -> None:
    edges = [2**63 - 1, -(2**63)]
    assert fed(way, one("int64", "range = [-inf, inf]"), "long", edges) == (edges, {})


@both_ways
@pytest.mark.parametrize("tensor", ["float", "double", "int64", "int32"])
def test_booleans_feed_number_tensors_as_0_and_1(way: Way, tensor: str) -> None:
    assert fed(way, one(tensor), "boolean", [True, False]) == ([1, 0], {})


@both_ways
def test_an_enum_is_its_symbol(way: Way) -> None:
    assert fed(way, one("string"), ENUM, ["B", "A"]) == (["B", "A"], {})


@both_ways
def test_numbers_of_several_types_in_one_field_are_read_as_doubles(way: Way) -> None:
    assert fed(way, one("float"), ["int", "double"], [7, 0.5]) == ([7.0, 0.5], {})
    assert fed(way, one("int64", "missing = 0"), ["null", "int", "double"], [7, 0.5, None])[1] == {1: "out_of_range"}
    assert fed(way, one("int64"), ["int", "long"], [7, 2**60]) == ([7, 2**60], {})


@both_ways
def test_a_field_behind_a_null_record_is_missing(way: Way) -> None:
    inner = {"type": "record", "name": "In", "fields": [{"name": "c", "type": ["null", "int"]}]}
    interface = interface_of('[inputs.x]\nfield = "a.c"\n', {"x": ("float", (None, 1))})
    assert fed(way, interface, ["null", inner], [{"c": 1}, None, {"c": None}]) == (
        [1.0],
        {1: "missing_field", 2: "missing_field"},
    )


@both_ways
@pytest.mark.parametrize("rules", ["", "missing = 3"])
def test_a_schema_that_does_not_fit_rejects_its_rows_and_says_why(way: Way, rules: str) -> None:
    features, rejections = assembled(way, one("float", rules), "string", ["x", "y"])
    assert (len(features), reasons(rejections)) == (0, {0: "wrong_type", 1: "wrong_type"})
    assert rejections[0].detail == "schema id 1: [inputs.x] a is a text, the model takes float32"
