"""Whole batches to tensors: identity, times, several writer schemas, and both ways of decoding at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.core.assemble import FUTURE_MS_MAX, assemble
from scorer.core.columns import listed
from scorer.core.decode import decode
from scorer.core.features import nothing
from scorer.core.wire import split_frames
from tests.unit.core.batches import (
    WAYS,
    Way,
    batch_of,
    event,
    event_schema,
    events_of,
    framed,
    reasons,
    record_schema,
)
from tests.unit.core.features import NAN, array, assembled, both_ways, one
from tests.unit.core.generated import DOUBLE_EDGES, LONG_EDGES
from tests.unit.core.graphs import interface_of, seen


@both_ways
@pytest.mark.parametrize(
    ("logical", "number", "milliseconds"),
    [
        ("timestamp-millis", 1234, 1234),
        ("timestamp-micros", 1234999, 1234),
        ("timestamp-micros", -1, -1),
        ("timestamp-nanos", 1234999999, 1234),
        ("local-timestamp-micros", 1234999, 1234),
        ("", 1234, 1234),
    ],
)
def test_occurred_at_is_in_milliseconds_whatever_the_writer_counts_in(
    way: Way, logical: str, number: int, milliseconds: int
) -> None:
    stamp = {"type": "long", "logicalType": logical} if logical else "long"
    schema = record_schema(("event_id", "string"), ("lead_id", "string"), ("occurred_at", stamp), ("a", "int"))
    events, batch = events_of(schema, [event(0, a=1) | {"occurred_at": number}], way)
    features, rejections = assemble([events], batch, one("float"))
    assert (features.occurred_at.tolist(), rejections) == ([milliseconds], [])


@both_ways
def test_an_event_more_than_a_day_ahead_of_its_record_is_rejected(way: Way) -> None:
    schema = event_schema(("a", "int"))
    stamps = [5000 + FUTURE_MS_MAX, 5001 + FUTURE_MS_MAX + 1, -(2**40)]
    events, batch = events_of(schema, [event(0, a=1) | {"occurred_at": stamp} for stamp in stamps], way)
    features, rejections = assemble([events], batch, one("float"))
    assert (features.rows.tolist(), reasons(rejections)) == ([0, 2], {1: "in_future"})


@both_ways
def test_an_event_is_held_against_the_timestamp_of_its_own_record(way: Way) -> None:
    schema = event_schema(("a", "int"))
    events, _ = events_of(schema, [event(0, a=1) | {"occurred_at": 5001 + FUTURE_MS_MAX}], way)
    batch = batch_of([None, b""], timestamps=[5000, 5001])
    features, rejections = assemble([replace(events, rows=np.array([1]))], batch, one("float"))
    assert (features.rows.tolist(), rejections) == ([1], [])


@both_ways
def test_an_event_is_not_ahead_of_a_record_that_has_no_timestamp(way: Way) -> None:
    schema = event_schema(("a", "int"))
    events, batch = events_of(schema, [event(at, a=1) | {"occurred_at": FUTURE_MS_MAX + 1} for at in range(2)], way)
    features, rejections = assemble([events], replace(batch, timestamps=np.array([-1, 0])), one("float"))
    assert (features.rows.tolist(), reasons(rejections)) == ([0], {1: "in_future"})


@both_ways
@pytest.mark.parametrize("name", ["event_id", "lead_id", "occurred_at"])
def test_an_event_without_its_identity_is_rejected(way: Way, name: str) -> None:
    fields = {"event_id": "string", "lead_id": "string", "occurred_at": "long"}
    schema = record_schema(
        *((key, ["null", kind] if key == name else kind) for key, kind in fields.items()), ("a", "int")
    )
    events, batch = events_of(schema, [event(0, a=1), event(1, a=2) | {name: None}], way)
    features, rejections = assemble([events], batch, one("float"))
    assert (features.rows.tolist(), reasons(rejections)) == ([0], {1: "missing_field"})
    assert rejections[0].detail == f"{name} is null"


@both_ways
def test_ids_that_are_numbers_are_written_in_decimal(way: Way) -> None:
    schema = record_schema(("event_id", "long"), ("lead_id", ["null", "int"]), ("occurred_at", "long"), ("a", "int"))
    record = {"event_id": -(2**63), "lead_id": 7, "occurred_at": 1, "a": 1}
    events, batch = events_of(schema, [record], way)
    features, _ = assemble([events], batch, one("float"))
    assert (listed(features.event_id), listed(features.entity)) == ([str(-(2**63))], ["7"])


@both_ways
def test_a_row_with_several_problems_is_rejected_once(way: Way) -> None:
    toml = '[inputs.x]\nfield = "a"\nrange = [0, 1]\n[inputs.z]\nfield = "nowhere"\n'
    interface = interface_of(toml, {"x": ("float", (None, 1)), "z": ("string", (None, 1))})
    features, rejections = assembled(way, interface, "double", [NAN, 7.0])
    assert len(features) == 0
    assert [rejection.row for rejection in rejections] == [0, 1]


def mixed_batch() -> tuple[Any, Any, Any]:
    """Two writer schemas, tombstones and garbage in turns, 96 rows of two partitions."""
    old = event_schema(("a", "int"), schema_id=1)
    new = event_schema(("a", ["null", "double"]), ("b", "string"), schema_id=2)
    values: list[bytes | None] = []
    for at in range(96):
        good = framed(old, event(at, a=at)) if at % 2 else framed(new, event(at, a=at + 0.5, b="x"))
        values.append({5: None, 6: b"\xff", 7: good[:-1], 8: framed(new, event(at, a=None, b=""))}.get(at % 12, good))
    batch = batch_of(values, partitions=[at % 3 % 2 for at in range(96)])
    return batch, split_frames(batch.values, 1000), {1: old, 2: new}


def test_a_mixed_batch_keeps_the_order_of_rows_and_loses_none() -> None:
    batch, frames, schemas = mixed_batch()
    events, undecodable = decode(batch, frames, schemas)
    features, incomplete = assemble(events, batch, one("float"))
    assert features.rows.tolist() == [at for at in range(96) if at % 12 not in (5, 6, 7, 8)]
    assert listed(features.entity) == [f"l{at}" for at in features.rows]
    assert listed(features.event_id) == [f"e{at}" for at in features.rows]
    assert features.occurred_at.tolist() == [1000 + at for at in features.rows]
    assert features.schema_ids.tolist() == [1 if at % 2 else 2 for at in features.rows]
    assert features.tensors["x"].reshape(-1).tolist() == [at if at % 2 else at + 0.5 for at in features.rows]
    rejected = {rejection.row for rejection in undecodable + incomplete}
    assert len(rejected) == len(undecodable + incomplete) == 96 - len(features) - frames.tombstones


def test_a_part_in_which_no_row_is_good_leaves_the_others_alone() -> None:
    good, bad = event_schema(("a", "int"), schema_id=1), event_schema(("a", "string"), schema_id=2)
    batch = batch_of([framed(bad, event(0, a="x")), framed(good, event(1, a=5)), framed(bad, event(2, a="y"))])
    events, _ = decode(batch, split_frames(batch.values, 1000), {1: good, 2: bad})
    features, rejections = assemble(events, batch, one("float"))
    assert (features.rows.tolist(), reasons(rejections)) == ([1], {0: "wrong_type", 2: "wrong_type"})


def test_two_parts_without_a_good_row_make_nothing() -> None:
    schemas = {at: event_schema(("a", "string"), schema_id=at) for at in (1, 2)}
    batch = batch_of([framed(schemas[1], event(0, a="x")), framed(schemas[2], event(1, a="x"))])
    events, _ = decode(batch, split_frames(batch.values, 1000), dict(schemas))
    features, rejections = assemble(events, batch, one("float"))
    assert (len(features), len(rejections)) == (0, 2)


def test_no_events_make_no_features() -> None:
    features, rejections = assemble([], batch_of([None]), one("float"))
    assert (len(features), rejections) == (0, [])
    assert features is nothing()


NUMBER_FIELDS = st.fixed_dictionaries(
    {
        "whole": st.sampled_from(LONG_EDGES) | st.integers(-(2**63), 2**63 - 1),
        "real": st.sampled_from(DOUBLE_EDGES) | st.floats(),
        "maybe": st.none() | st.floats(width=32),
        "either": st.none() | st.integers(-(2**31), 2**31 - 1) | st.floats(),
        "flag": st.booleans(),
        "text": st.none() | st.text(max_size=3),
        "items": st.lists(st.none() | st.floats(), max_size=4),
    }
)


@given(
    st.lists(NUMBER_FIELDS, min_size=1, max_size=6),
    st.sampled_from(["float", "double", "int64", "int32"]),
    st.sampled_from(["", "range = [-10, 1e6]\n", "range = [0, inf]\n"]),
    st.sampled_from(["", "missing = 3\n"]),
)
def test_records_and_columns_give_the_same_tensors_and_the_same_rejections(
    rows: list[dict[str, Any]], tensor: str, bounds: str, missing: str
) -> None:
    fields = ("whole", "real", "maybe", "either", "flag", "nowhere")
    toml = "".join(f'[inputs.{name}]\nfield = "{name}"\n{bounds}{missing}' for name in fields)
    toml += f'[inputs.items]\nfield = "items"\nlength = 3\n{bounds}[inputs.text]\nfield = "text"\nmissing = ""\n'
    ends: dict[str, Any] = dict.fromkeys(fields, (tensor, (None, 1)))
    ends |= {"items": (tensor, (None, 3)), "text": ("string", (None, 1))}
    schema = event_schema(
        ("whole", "long"),
        ("real", "double"),
        ("maybe", ["null", "float"]),
        ("either", ["null", "int", "double"]),
        ("flag", "boolean"),
        ("text", ["string", "null"]),
        ("items", array(["null", "double"])),
    )
    interface = interface_of(toml, ends)
    records = [event(at, **row) for at, row in enumerate(rows)]
    (one_way, bad_one), (other, bad_other) = (
        assemble([events], batch, interface) for events, batch in (events_of(schema, records, way) for way in WAYS)
    )
    assert bad_one == bad_other
    assert one_way.rows.tolist() == other.rows.tolist()
    assert one_way.tensors.keys() == other.tensors.keys()
    for name in one_way.tensors:
        found, twin = seen(one_way.tensors[name]), seen(other.tensors[name])
        assert (found.dtype, found.shape) == (twin.dtype, twin.shape)
        assert found.tolist() == twin.tolist() if found.dtype == object else found.tobytes() == twin.tobytes()
        assert found.dtype.kind != "f" or np.isfinite(found).all()
