"""Which schemas are decoded by column."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from scorer.core.decode import by_column
from scorer.core.schema import writer_schema
from scorer.core.wire import PREFIX_BYTES
from tests.unit.core.generated import schemas
from tests.unit.core.test_schema import record

PREFIX = b"\0" * PREFIX_BYTES


def test_the_first_field_that_keeps_a_schema_from_being_decoded_by_column_is_named() -> None:
    assert writer_schema(1, json.dumps(record("int", "bytes"))).by_record_only == "f1 (bytes)"
    inner = record({"type": "fixed", "name": "F", "size": 2}, name="In")
    assert (
        writer_schema(1, json.dumps(record(["null", {"type": "array", "items": inner}]))).by_record_only
        == "f0[].f0 (fixed)"
    )
    assert writer_schema(1, json.dumps(record(record(name="E")))).by_record_only == "f0 (record)"


def wide(name: str, count: int, kind: str = "long") -> dict[str, Any]:
    return record(*[["null", kind]] * count, name=name)


def choice(count: int) -> list[dict[str, Any]]:
    return [record("int", name=f"C{at}") for at in range(count)]


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ({"type": "array", "items": choice(100)}, "f1 (array of wide unions)"),
        ({"type": "array", "items": ["null", wide("W", 100)]}, "f1 (array of wide unions)"),
        (["null", {"type": "map", "values": [*choice(100), "null"]}], "f1 (map of wide unions)"),
        (
            {"type": "array", "items": {"type": "array", "items": record(choice(100), name="W")}},
            "f1[] (array of wide unions)",
        ),
    ],
)
def test_no_schema_goes_by_column_of_which_few_bytes_come_to_many_values_there(kind: Any, path: str) -> None:
    assert writer_schema(1, json.dumps(record("int", kind))).by_record_only == path


@pytest.mark.parametrize(
    "raw",
    [
        wide("R", 500),
        record({"type": "array", "items": wide("W", 500)}),
        record(*["int"] * 6, ["null", wide("Before", 100)], ["null", "Before"]),  # as of change data capture
        record({"type": "array", "items": ["null", wide("W", 20)]}),
        record(["null", {"type": "array", "items": wide("W", 100)}]),
    ],
)
def test_fields_that_may_be_null_go_by_column_as_far_as_bytes_are_spent_on_them(raw: dict[str, Any]) -> None:
    assert writer_schema(1, json.dumps(raw)).by_record_only is None


@pytest.mark.parametrize(("fields", "bytes_min"), [(32, 0), (64, 2), (3_000, 94)])
def test_a_batch_of_records_that_may_be_wide_goes_by_column_if_its_bytes_are_enough(
    fields: int, bytes_min: int
) -> None:
    schema = writer_schema(1, json.dumps(record(["null", record(*["long"] * fields, name="W")])))
    assert schema.by_record_only is None
    assert schema.column_bytes_min == bytes_min
    for filled, by_columns in ((True, True), (False, bytes_min <= 1)):
        body = b"\2" + b"\0" * fields if filled else b"\0"
        assert (by_column([PREFIX + body] * 50, schema) is not None) == by_columns
    some = [PREFIX + b"\2" + b"\0" * fields] + [PREFIX + b"\0"] * 20
    assert (by_column(some, schema) is None) == (fields + 21 < bytes_min * 21)


@given(schemas(columnar=True))
def test_schemas_without_those_types_are_decoded_by_column(raw: dict[str, Any]) -> None:
    assert writer_schema(1, json.dumps(raw)).by_record_only is None
