"""Arrays to padded tensors: cut, padded, and held to the rules of single values."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.core.batches import (
    Way,
    reasons,
)
from tests.unit.core.features import ENUM, INF, NAN, array, assembled, both_ways, fed, one
from tests.unit.core.graphs import interface_of, seen


@both_ways
@pytest.mark.parametrize(
    ("tensor", "kind", "items", "pad", "expected"),
    [
        ("string", "string", ["a", "b", "c", "d"], '""', ["a", "b", "c"]),
        ("string", "string", ["a"], '"-"', ["a", "-", "-"]),
        ("string", ENUM, [], '"-"', ["-", "-", "-"]),
        ("float", "int", [1, 2], "-1", [1.0, 2.0, -1.0]),
        ("float", "double", [0.5, 1, 2, 3], "0", [0.5, 1.0, 2.0]),
        ("int64", "long", [2**60], "0", [2**60, 0, 0]),
        ("int64", "double", [2.0], "9", [2, 9, 9]),
        ("int32", "boolean", [True, False], "7", [1, 0, 7]),
        ("bool", "boolean", [True], "true", [True, True, True]),
        ("float", ["int", "double"], [1, 0.5], "0", [1.0, 0.5, 0.0]),
        ("float", ["null", "int"], [1, 2], "0", [1.0, 2.0, 0.0]),
    ],
)
def test_arrays_are_cut_or_padded_to_their_length(
    *, way: Way, tensor: str, kind: Any, items: list[Any], pad: str, expected: list[Any]
) -> None:
    interface = one(tensor, f"length = 3\npad = {pad}", (None, 3))
    features, rejections = assembled(way, interface, array(kind), [items, [], items])
    assert rejections == []
    found = seen(features.tensors["x"])
    assert found.shape == (3, 3)
    assert found[0].tolist() == found[2].tolist() == expected
    assert len(set(found[1].tolist())) == 1


@both_ways
def test_a_null_array_is_missing_and_its_neighbours_keep_their_items(way: Way) -> None:
    interface = one("string", "length = 2", (None, 2))
    found, rejected = fed(way, interface, ["null", array("string")], [["a"], None, ["b", "c", "d"]])
    assert (found, rejected) == (["a", "", "b", "c"], {1: "missing_field"})


@both_ways
@pytest.mark.parametrize(
    ("tensor", "kind", "good", "empty"),
    [
        ("string", "string", "x", ""),
        ("float", "double", 0.5, 0.0),
        ("int64", "double", 2.0, 0),
        ("bool", "boolean", True, False),
    ],
)
def test_a_null_item_rejects_its_own_row_alone(way: Way, tensor: str, kind: str, good: Any, empty: Any) -> None:
    interface = one(tensor, "length = 2", (None, 2))
    found, rejected = fed(way, interface, array(["null", kind]), [[good], [good, None], []])
    assert (found, rejected) == ([good, empty, empty, empty], {1: "missing_field"})


@both_ways
def test_what_is_cut_off_is_not_looked_at(way: Way) -> None:
    interface = one("float", "length = 1\nrange = [0, 9]", (None, 1))
    assert fed(way, interface, array(["null", "double"]), [[1.0, None], [2.0, 99.0], [3.0, NAN]]) == (
        [1.0, 2.0, 3.0],
        {},
    )


@both_ways
@pytest.mark.parametrize(
    ("tensor", "bad", "reason"),
    [
        ("float", 10.0, "out_of_range"),
        ("float", NAN, "non_finite"),
        ("float", INF, "non_finite"),
        ("int64", 0.5, "out_of_range"),
        ("int64", NAN, "non_finite"),
    ],
)
def test_numbers_in_arrays_are_held_to_the_rules_of_numbers(way: Way, tensor: str, bad: float, reason: str) -> None:
    interface = one(tensor, "length = 2\nrange = [0, 9]\npad = -1", (None, 2))
    assert fed(way, interface, array("double"), [[1.0], [2.0, bad], []]) == ([1, -1, -1, -1], {1: reason})


@both_ways
def test_numbers_in_arrays_that_do_not_fit_the_tensor_are_rejected(way: Way) -> None:
    assert fed(way, one("int32", "length = 1", (None, 1)), array("long"), [[2**31], [5]]) == ([5], {0: "out_of_range"})
    assert fed(way, one("float", "length = 1", (None, 1)), array("double"), [[1e39], [5.0]]) == (
        [5],
        {0: "out_of_range"},
    )


@both_ways
def test_an_array_that_the_schema_lacks_is_missing_in_every_row(way: Way) -> None:
    interface = interface_of('[inputs.x]\nfield = "z"\nlength = 2\n', {"x": ("string", (None, 2))})
    features, rejections = assembled(way, interface, "int", [1])
    assert (len(features), reasons(rejections)) == (0, {0: "missing_field"})
