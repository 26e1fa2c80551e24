"""What a prediction's schema can hold: the rest is rejected, alone, in a batch of any size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from scorer.core.encode import encode
from tests.unit.core.batches import batch_of, reasons, record_schema
from tests.unit.core.predictions import (
    ENUM,
    FEW,
    ITEM,
    ITEMS,
    MANY,
    decoded,
    encoded,
    items,
    predictions_of,
    record_type,
)

UNFIT: dict[str, tuple[Any, Any]] = {
    "a fraction into an int": ("int", 1.5),
    "a whole double into an int": ("int", 3.0),
    "a whole double into a nullable long": (["null", "long"], 3.0),
    "a long into an int": ("int", 2**31),
    "a long into a nullable int": (["null", "int"], -(2**31) - 1),
    "a number into a string": ("string", 7),
    "a number into an enum": (ENUM, 7),
    "text into an int": ("int", "7"),
    "text into a double": ("double", "7"),
    "text into a boolean": ("boolean", "true"),
    "text into bytes": ("bytes", "y"),
    "text into a fixed": ({"type": "fixed", "name": "F", "size": 1}, "y"),
    "a boolean into an int": ("int", False),
    "a boolean into a float": ("float", False),
    "a boolean into a string": ("string", False),
    "a number into a boolean": ("boolean", 1),
    "a double beyond float": ("float", 1e39),
    "a double beyond a nullable float": (["null", "float"], -1e300),
    "NaN into a double": ("double", float("nan")),
    "infinity into a float": ("float", float("inf")),
    "infinity into a double": ("double", float("inf")),
    "minus infinity into a nullable double": (["null", "double"], float("-inf")),
    "a symbol that the enum lacks": (ENUM, "C"),
    "a number into a map": ({"type": "map", "values": "int"}, 2),
    "a number into a plain null": ("null", 2),
    "a number into an array": ({"type": "array", "items": "int"}, 2),
    "a number into a record": (ITEM, 2),
}


@pytest.mark.parametrize("name", list(UNFIT))
@pytest.mark.parametrize("n", [1, FEW, MANY, 50])
def test_what_a_schema_cannot_hold_is_rejected_in_a_batch_of_any_size(name: str, n: int) -> None:
    kind, bad = UNFIT[name]
    outbound, rejections = encoded(kind, np.array([bad] * n))
    assert (outbound.values, outbound.keys) == ([], [])
    assert reasons(rejections) == dict.fromkeys(range(10, 10 + n), "unencodable")


ALONE = {
    "a long into an int": 1,
    "a double beyond float": 0.5,
    "a symbol that the enum lacks": "A",
    "NaN into a double": 0.5,
}


@pytest.mark.parametrize("name", list(ALONE))
@pytest.mark.parametrize("n", [3, FEW, MANY, 50])
def test_a_prediction_that_does_not_fit_is_rejected_and_its_neighbours_pass(name: str, n: int) -> None:
    kind, bad = UNFIT[name]
    column = np.array([ALONE[name]] * n)
    column[1] = bad
    outbound, rejections = encoded(kind, column)
    assert reasons(rejections) == {11: "unencodable"}
    assert rejections[0].detail == f"a does not fit {kind if isinstance(kind, str) else kind['type']}"
    assert outbound.rows.tolist() == [10, *range(12, 10 + n)]
    assert outbound.keys == [b"k0", *(b"k%d" % at for at in range(2, n))]
    assert len(set(outbound.values)) == 1


@pytest.mark.parametrize("n", [1, MANY])
def test_a_float_takes_doubles_up_to_the_last_that_does_not_round_to_infinity(n: int) -> None:
    last = np.nextafter(2.0**128 - 2.0**103, 0.0)
    outbound, rejections = encoded("float", np.array([last, -last] * n))
    assert rejections == []
    greatest = float(np.finfo(np.float32).max)
    assert decoded(outbound, record_schema(("a", "float"))) == [{"a": greatest}, {"a": -greatest}] * n
    assert len(encoded("float", np.array([2.0**128 - 2.0**103] * n))[1]) == n


@pytest.mark.parametrize("n", [1, MANY])
def test_a_field_that_nothing_fills_is_null_or_else_a_rejection(n: int) -> None:
    fields = [("a", "int"), ("later", ["null", "string"])]
    batch = batch_of([b""] * 100)
    predictions = predictions_of({"a": np.zeros(n, np.int64), "ignored": np.zeros(n)})
    outbound, rejections = encode(predictions, record_schema(*fields), "out", batch)
    assert rejections == []
    assert decoded(outbound, record_schema(*fields)) == [{"a": 0, "later": None}] * n
    fields[1] = ("later", "string")
    outbound, rejections = encode(predictions, record_schema(*fields), "out", batch)
    assert (len(outbound), {rejection.detail for rejection in rejections}) == (0, {"later does not fit string"})


@pytest.mark.parametrize("n", [1, MANY])
def test_a_null_in_a_column_needs_a_nullable_field(n: int) -> None:
    texts = pa.array(["x"] * n + [None])
    assert reasons(encoded("string", texts)[1]) == {10 + n: "unencodable"}
    outbound, rejections = encoded(["null", "string"], texts)
    assert (len(outbound), rejections) == (n + 1, [])


@pytest.mark.parametrize("n", [1, MANY])
@pytest.mark.parametrize(
    ("kind", "constant", "fits"),
    [
        ("string", "x", True),
        (["null", "string"], "x", True),
        (ENUM, "A", True),
        (ENUM, "C", False),
        ("int", 7, True),
        ("long", 2**40, True),
        ("double", 7, True),
        ("int", 2**40, False),
        ("string", 7, False),
        ("int", "7", False),
        ("boolean", 1, False),
    ],
)
def test_constants_are_held_to_the_same_rules(n: int, kind: Any, constant: Any, fits: bool) -> None:
    writer = record_schema(("a", "int"), ("c", kind))
    predictions = predictions_of({"a": np.zeros(n, np.int64)}, c=constant)
    outbound, rejections = encode(predictions, writer, "out", batch_of([b""] * 100))
    assert (len(outbound), len(rejections)) == ((n, 0) if fits else (0, n))
    assert [record["c"] for record in decoded(outbound, writer)] == [constant] * len(outbound)


def test_a_text_that_is_no_unicode_is_rejected_alone() -> None:
    outbound, rejections = encoded("string", ["ok"] * MANY + ["\ud800"])
    assert (len(outbound), reasons(rejections)) == (MANY, {10 + MANY: "unencodable"})
    assert rejections[0].detail == "fastavro: UnicodeEncodeError"


@pytest.mark.parametrize("n", [1, MANY])
@pytest.mark.parametrize(
    ("item", "fits"),
    [
        ({"code": "string", "score": "float"}, True),
        ({"score": "float", "code": "string"}, True),
        ({"code": "string", "score": "double"}, True),
        ({"code": "string", "score": "float", "more": ["null", "int"]}, True),
        ({"code": "string", "score": "float", "more": "int"}, False),
        ({"code": "string"}, False),
        ({"code": "int", "score": "float"}, False),
        ({"code": "string", "score": "int"}, False),
    ],
)
def test_records_in_a_list_fill_their_schema_in_any_order(n: int, item: dict[str, Any], fits: bool) -> None:
    kind = {"type": "array", "items": record_type(**item)}
    outbound, rejections = encoded(kind, items(n))
    assert (len(outbound), len(rejections)) == ((n, 0) if fits else (0, n))
    more = {"more": None} if "more" in item else {}
    wanted = [{"a": [row | more for row in rows]} for rows in items(len(outbound)).to_pylist()]
    assert decoded(outbound, record_schema(("a", kind))) == wanted


@pytest.mark.parametrize("n", [1, MANY])
def test_what_is_inside_a_list_of_records_is_held_to_the_same_rules(n: int) -> None:
    for bad in (items(n, scores=pa.array([1e39] * 2 * n)), items(n, codes=pa.array([None] * 2 * n, pa.string()))):
        assert reasons(encoded(ITEMS, bad)[1]) == dict.fromkeys(range(10, 10 + n), "unencodable")
