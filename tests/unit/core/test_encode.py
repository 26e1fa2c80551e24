"""Predictions to bytes: both encodings give the same ones, with the right keys, rows and headers."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.core import encode as encoding
from scorer.core.encode import encode
from scorer.core.schema import writer_schema
from tests.unit.core.batches import batch_of, record_schema
from tests.unit.core.predictions import (
    ENUM,
    FEW,
    ITEMS,
    MANY,
    decoded,
    encoded,
    items,
    listed,
    predictions_of,
    record_type,
)


def both(kind: Any, column: Any) -> tuple[list[bytes] | None, list[bytes | None]]:
    """The same predictions by column and by record, whatever their number."""
    predictions, writer = predictions_of({"a": column}), record_schema(("a", kind))
    return encoding._by_column(predictions, writer), encoding._by_record(predictions, writer)[0]


COLUMNS: dict[str, tuple[Any, Any]] = {
    "float32 as float": ("float", np.array([0.1, -0.0, 3e38], np.float32)),
    "float32 as double": ("double", np.array([0.1, 1e-40], np.float32)),
    "float64 as float": ("float", np.array([0.1, 1e-300, 3.4e38])),
    "float64 as double": ("double", np.array([0.1, 1e300])),
    "float64 as nullable double": (["null", "double"], np.array([0.1, 1e300])),
    "int64 as long": ("long", np.array([2**63 - 1, -(2**63)])),
    "int64 as int": ("int", np.array([2**31 - 1, -(2**31)])),
    "int32 as long": ("long", np.array([7, -7], np.int32)),
    "int64 as double": ("double", np.array([7, 2**53])),
    "int64 as float": ("float", np.array([7, -(2**24)])),
    "int64 as nullable int": (["int", "null"], np.array([7, -7])),
    "bool as boolean": ("boolean", np.array([True, False])),
    "bool as nullable boolean": (["null", "boolean"], np.array([True, False])),
    "text as string": ("string", ["", "ä𝄞", "x" * 300]),
    "objects as string": ("string", np.array(["a", "b"], dtype=object)),
    "arrow text as nullable string": (["null", "string"], pa.array(["a", "b"])),
    "text as enum": (ENUM, ["B", "A"]),
    "text as nullable enum": (["null", ENUM], pa.array(["B", "A"])),
    "records as array": (ITEMS, items(2)),
    "records as nullable array": (["null", ITEMS], items(3)),
    "timestamps": ({"type": "long", "logicalType": "timestamp-millis"}, np.array([0, 2**40])),
}


@pytest.mark.parametrize("name", list(COLUMNS))
def test_both_encodings_give_the_same_bytes(name: str) -> None:
    by_column, by_record = both(*COLUMNS[name])
    assert by_column is not None
    assert by_column == by_record


@pytest.mark.parametrize("name", list(COLUMNS))
@pytest.mark.parametrize("n", [FEW, MANY])
def test_what_is_written_is_what_was_predicted_on_either_side_of_the_threshold(name: str, n: int) -> None:
    kind, column = COLUMNS[name]
    array = column if isinstance(column, pa.Array) else pa.array(column)
    outbound, rejections = encoded(kind, array.take(pa.array([0] * n)))
    first = listed(column)[0]
    wanted = float(np.float32(first)) if kind == "float" else first
    assert rejections == []
    assert decoded(outbound, record_schema(("a", kind))) == [{"a": wanted}] * n


LAST = 3.4028235677973362e38
"""The last double that rounds to a finite float."""

SOME = st.sampled_from(
    [0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, 0.5, 3.0, -0.0, 1e-46, LAST, -LAST, np.nextafter(LAST, 1e39), float("nan")]
)


@given(
    st.lists(SOME, min_size=1, max_size=4),
    st.sampled_from([np.float32, np.float64, np.int64, np.int32, np.bool_]),
    st.sampled_from(["int", "long", "float", "double", "boolean", "string", ["null", "float"], ["long", "null"]]),
)
def test_a_batch_goes_by_column_only_with_the_bytes_by_record(numbers: list[Any], dtype: Any, kind: Any) -> None:
    with np.errstate(all="ignore"):
        column = np.array(numbers, dtype=np.float64).astype(dtype)
    by_column, by_record = both(kind, column)
    assert by_column is None or by_column == by_record


@pytest.mark.parametrize("kind", [["null", "bytes"], ["null", "int", "string"], ["null", "float", "double"]])
def test_schemas_that_do_not_go_by_column_go_by_record(kind: Any) -> None:
    writer = record_schema(("a", "int"), ("b", kind))
    outbound, rejections = encode(predictions_of({"a": np.arange(MANY)}), writer, "out", batch_of([b""] * 100))
    assert rejections == []
    assert decoded(outbound, writer) == [{"a": at, "b": None} for at in range(MANY)]


def test_a_union_of_several_types_takes_the_one_that_fits() -> None:
    kind = ["null", "string", "long"]
    outbound, rejections = encoded(kind, np.arange(MANY))
    assert rejections == []
    assert decoded(outbound, record_schema(("a", kind))) == [{"a": at} for at in range(MANY)]


def test_a_matrix_fills_an_array_of_numbers() -> None:
    matrix = np.arange(2 * MANY, dtype=np.float32).reshape(MANY, 2)
    kind = {"type": "array", "items": "float"}
    outbound, rejections = encoded(kind, matrix)
    assert rejections == []
    assert [record["a"] for record in decoded(outbound, record_schema(("a", kind)))] == matrix.tolist()


def test_keys_are_utf_8_and_values_begin_with_the_registrys_prefix() -> None:
    predictions = predictions_of({"a": np.arange(2)})
    predictions = type(predictions)(predictions.rows, predictions.columns, {}, pa.array(["ä", ""]))
    outbound, _ = encode(predictions, record_schema(("a", "int"), schema_id=0x01020304), "out", batch_of([b""] * 12))
    assert outbound.keys == ["ä".encode(), b""]
    assert [value[:5] for value in outbound.values] == [b"\x00\x01\x02\x03\x04"] * 2
    assert (outbound.topic, outbound.rows.tolist(), len(outbound)) == ("out", [10, 11], 2)


@pytest.mark.parametrize("n", [1, MANY])
def test_no_headers_are_written_unless_trace_headers_are_asked_for(n: int) -> None:
    own = [("traceparent", b"00-1"), ("secret", b"x"), ("tracestate", None)]
    batch = batch_of([b""] * (10 + n), headers=[None] * 10 + [own] + [None] * (n - 1))
    predictions, writer = predictions_of({"a": np.arange(n)}), record_schema(("a", "int"))
    assert encode(predictions, writer, "out", batch)[0].headers is None
    carried = encode(predictions, writer, "out", batch, trace=True)[0].headers
    assert carried == [[("traceparent", b"00-1"), ("tracestate", None)]] + [[]] * (n - 1)


def test_headers_stay_with_their_row_when_a_neighbour_is_rejected() -> None:
    batch = batch_of([b""] * 12, headers=[None] * 10 + [[("traceparent", b"0")], [("traceparent", b"1")]])
    writer = record_schema(("a", "int"))
    outbound, _ = encode(predictions_of({"a": np.array([2**40, 1])}), writer, "out", batch, trace=True)
    assert outbound.headers == [[("traceparent", b"1")]]


def test_no_predictions_are_no_bytes() -> None:
    outbound, rejections = encoded("int", np.empty(0, np.int64))
    assert (len(outbound), outbound.keys, rejections) == (0, [], [])


@pytest.mark.parametrize("error", [type("PanicError", (BaseException,), {}), ValueError])
def test_whatever_the_accelerator_raises_sends_the_batch_by_record(monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr("scorer.core.encode.pyruhvro.serialize_record_batch", fail)
    outbound, rejections = encoded("int", np.arange(MANY))
    assert (len(outbound), rejections) == (MANY, [])


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_wish_to_end_the_process_is_not_taken_for_a_panic(monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    def stop(*_: Any) -> None:
        raise error

    monkeypatch.setattr("scorer.core.encode.pyruhvro.serialize_record_batch", stop)
    with pytest.raises(error):
        encoded("int", np.arange(MANY))


def test_a_reader_with_the_schema_as_it_is_registered_sees_logical_types() -> None:
    raw = record_type(a={"type": "long", "logicalType": "timestamp-millis"})
    outbound, _ = encode(
        predictions_of({"a": np.array([1000])}), writer_schema(3, json.dumps(raw)), "out", batch_of([b""] * 11)
    )
    assert fastavro.schemaless_reader(BytesIO(outbound.values[0][5:]), raw)["a"].timestamp() == 1.0
