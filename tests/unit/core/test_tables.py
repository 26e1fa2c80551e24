from __future__ import annotations

import json
from typing import Any

import pytest

from scorer.core.compose import PROVENANCE
from scorer.core.errors import ContractError
from scorer.core.schema import writer_schema
from scorer.core.tables import BASE_LENGTH_MAX, Layout, Type, grown, layout, table_name
from tests.harness.topics import shipped_schema


def own(*fields: dict[str, Any]) -> Layout:
    """The layout of a schema with all that every prediction has, and these fields."""
    text = {"type": "string"}
    given = [{"name": name, "type": kinds[0] if kinds[0] != "string" else text} for name, kinds in PROVENANCE.items()]
    schema = {"type": "record", "name": "P", "fields": [{"name": "who", "type": "string"}, *given, *fields]}
    return layout(writer_schema(1, json.dumps(schema)).root, "who")


def outputs(found: Layout) -> dict[str, Type]:
    return {each.name: each.type for each in found.columns if each.name not in PROVENANCE and each.name != "who"}


def test_a_topic_gives_its_table_a_name_that_every_database_takes() -> None:
    assert table_name("predictions.lead-score") == "lead_score"
    assert table_name("predictions.lead-score", "March.2") == "lane_march_2_lead_score"
    assert table_name("Other.Topic") == "other_topic"
    assert table_name("predictions.7days") == "t_7days"
    long = {table_name(f"predictions.{'x' * 60}{end}") for end in "ab"}
    assert len(long) == 2
    assert all(len(each) == BASE_LENGTH_MAX for each in long)


def test_every_avro_type_has_its_column() -> None:
    enum = {"type": "enum", "name": "E", "symbols": ["A"]}
    found = own(
        {"name": "i", "type": "int"},
        {"name": "f", "type": ["null", "float"]},
        {"name": "d", "type": ["double", "null"]},
        {"name": "b", "type": "boolean"},
        {"name": "e", "type": enum},
        {"name": "y", "type": "bytes"},
        {"name": "t", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "m", "type": {"type": "map", "values": "int"}},
        {"name": "u", "type": ["int", "string"]},
        {"name": "n", "type": "null"},
        {"name": "r", "type": {"type": "record", "name": "R", "fields": [{"name": "x", "type": "string"}]}},
    )
    assert outputs(found) == {
        "i": Type.WHOLE,
        "f": Type.REAL,
        "d": Type.DOUBLE,
        "b": Type.BOOLEAN,
        "e": Type.TEXT,
        "y": Type.BYTES,
        "t": Type.TIME_MICROS,
        "m": Type.TEXT,
        "u": Type.TEXT,
        "r_x": Type.TEXT,
    }
    assert (found.labels, found.numbers) == (["e", "r_x"], ["i", "f", "d"])


def test_an_array_is_a_child_table_of_its_items() -> None:
    nested = {"type": "array", "items": "int"}
    item = {"type": "record", "name": "I", "fields": [{"name": "c", "type": "string"}, {"name": "n", "type": nested}]}
    found = own(
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "of", "type": {"type": "array", "items": item}},
    )
    assert [(each.name, [(c.name, c.type) for c in each.columns]) for each in found.items] == [
        ("tags", [("value", Type.TEXT)]),
        ("of", [("c", Type.TEXT), ("n", Type.TEXT)]),
    ]


def test_the_shipped_schemas_have_their_outputs() -> None:
    lead = layout(writer_schema(1, json.dumps(shipped_schema("predictions.lead-score"))).root, "lead_id")
    login = layout(writer_schema(1, json.dumps(shipped_schema("predictions.recommendation"))).root, "customer_id")
    assert (lead.labels, lead.numbers, lead.items) == (["bucket"], ["score"], ())
    assert (login.labels, [each.name for each in login.items]) == ([], ["items"])


def test_two_fields_that_come_to_one_column_are_refused() -> None:
    record = {"type": "record", "name": "R", "fields": [{"name": "b", "type": "int"}]}
    with pytest.raises(ContractError, match="one column: a_b"):
        own({"name": "a", "type": record}, {"name": "A_b", "type": "int"})
    item = {"type": "record", "name": "I", "fields": [{"name": "item_rank", "type": "int"}]}
    with pytest.raises(ContractError, match=r"one column: of\[\] item_rank"):
        own({"name": "of", "type": {"type": "array", "items": item}})


@pytest.mark.parametrize("name", ["a_b", "A_b"])
def test_two_arrays_that_come_to_one_child_table_are_refused(name: str) -> None:
    array = {"type": "array", "items": "string"}
    record = {"type": "record", "name": "R", "fields": [{"name": "b", "type": array}]}
    with pytest.raises(ContractError, match="two arrays of the prediction's schema come to one table: a_b"):
        own({"name": name, "type": {"type": "array", "items": "int"}}, {"name": "a", "type": record})


def test_a_schema_without_provenance_is_refused() -> None:
    text = json.dumps({"type": "record", "name": "P", "fields": [{"name": "who", "type": "string"}]})
    with pytest.raises(ContractError, match="lacks prediction_id, event_id"):
        layout(writer_schema(1, text).root, "who")


def test_a_layout_grows_by_what_is_new_and_keeps_what_is_gone() -> None:
    before = own({"name": "a", "type": "int"}, {"name": "of", "type": {"type": "array", "items": "int"}})
    after = own({"name": "b", "type": "string"}, {"name": "a", "type": "long"})
    both = grown(before, after)
    assert outputs(both) == {"a": Type.WHOLE, "b": Type.TEXT}
    assert [each.name for each in both.items] == ["of"]
    assert grown(both, after) == both
