"""Predictions as rows of tables: the same from Arrow columns as from records."""

from __future__ import annotations

import json
from dataclasses import replace
from io import BytesIO
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given

from scorer.core.compose import PROVENANCE
from scorer.core.decode import Events, by_column
from scorer.core.load import Load
from scorer.core.records import RecordBatch
from scorer.core.rows import prediction_load
from scorer.core.schema import WriterSchema, writer_schema
from scorer.core.strict import record_decoder
from scorer.core.tables import layout
from scorer.core.wire import PREFIX_BYTES, prefix
from tests.unit.core.batches import batch_of, framed
from tests.unit.core.generated import Case, cases
from tests.unit.core.oracle import same

KNOWN = [{"name": name, "type": kinds[0]} for name, kinds in (*PROVENANCE.items(), ("who", ("string",)))]
"""Fields that every prediction has."""
SOME = {each["name"]: {"string": "live", "int": 1, "long": 1}[each["type"]] for each in KNOWN}
"""Values of them."""

UNION = {"type": "record", "name": "Note", "fields": [{"name": "v", "type": ["int", "string"]}]}
DEEP = {"type": "record", "name": "Deep", "fields": [{"name": "note", "type": UNION}]}


def schema_of(own: dict[str, Any]) -> WriterSchema:
    """The schema of predictions that end in the fields of this record."""
    return writer_schema(1, json.dumps(own | {"fields": [*KNOWN, *own["fields"]]}))


def loads_of(schema: WriterSchema, values: list[bytes]) -> tuple[Load, Load] | None:
    """What values come to by column and by record, or None where they do not go by column."""
    table = by_column(values, schema)
    if table is None:
        return None
    decode = record_decoder(schema)
    records = [decode(value, PREFIX_BYTES) for value in values]
    batch, rows = batch_of(values), np.arange(len(values))
    return load_of(Events(rows, schema, table), batch), load_of(Events(rows, schema, records), batch)


def load_of(events: Events, batch: RecordBatch) -> Load:
    return prediction_load(batch, [(events, layout(events.schema.root, "who"))], [], {0: 100}, "live")


def tables_of(load: Load) -> dict[str, Any]:
    """Its tables, the predictions' own under no name."""
    return {**load.items} if load.rows is None else {"": load.rows, **load.items}


def assert_same(one: Load, other: Load) -> None:
    ours, theirs = tables_of(one), tables_of(other)
    assert {name: table.schema for name, table in ours.items()} == {n: table.schema for n, table in theirs.items()}
    assert all(same(table.to_pylist(), theirs[name].to_pylist()) for name, table in ours.items())
    assert replace(one, rows=None, items={}) == replace(other, rows=None, items={})


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (["null", UNION], [None, {"v": 1}, {"v": "x"}]),
        (["null", DEEP], [None, {"note": {"v": 1}}, {"note": {"v": "x"}}]),
        ({"type": "array", "items": ["null", UNION]}, [[None, {"v": 1}], [], [{"v": "x"}]]),
        (["null", {"type": "array", "items": ["null", DEEP]}], [None, [None, {"note": {"v": 1}}], []]),
        (["long"], [1, 2]),
        ([UNION], [{"v": 1}, {"v": "x"}]),
    ],
)
def test_what_arrow_holds_as_a_union_is_read_by_column_as_by_record(kind: Any, values: list[Any]) -> None:
    schema = schema_of({"type": "record", "name": "P", "fields": [{"name": "own", "type": kind}]})
    loads = loads_of(schema, [framed(schema, {**SOME, "own": value}) for value in values])
    assert loads is not None
    assert_same(*loads)


@given(cases(columnar=True))
def test_any_prediction_comes_to_the_same_rows_by_column_as_by_record(case: Case) -> None:
    known = BytesIO()
    fastavro.schemaless_writer(known, {"type": "record", "name": "P", "fields": KNOWN}, SOME)
    loads = loads_of(schema_of(case.schema), [prefix(1) + known.getvalue() + body for body in case.bodies])
    if loads is not None:
        assert_same(*loads)


def test_what_is_no_number_in_json_is_a_text_there() -> None:
    fields = [{"name": "m", "type": {"type": "map", "values": "double"}}, {"name": "u", "type": ["double", "string"]}]
    schema = schema_of({"type": "record", "name": "P", "fields": fields})
    given = {**SOME, "m": {"a": float("nan"), "b": 0.5}, "u": float("-inf")}
    found = load_of(Events(np.arange(1), schema, [given]), batch_of([b"value"]))
    assert found.rows is not None
    assert found.rows.column("m").to_pylist() == ['{"a": "nan", "b": 0.5}']
    assert found.rows.column("u").to_pylist() == ['"-inf"']
