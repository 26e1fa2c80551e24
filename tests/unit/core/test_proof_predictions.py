"""The proof that a contract fits the prediction's schema, which may be the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from scorer.core.compose import PROVENANCE
from scorer.core.contract import parse_contract
from scorer.core.proof import prediction_problems, signature_problems
from scorer.core.signature import Interface
from tests.unit.core.contracts import ITEM, PREDICTION, TOML, interface, record
from tests.unit.core.graphs import HEAD

PREDICTION_MISTAKES: list[tuple[Mapping[str, Any], str]] = [
    *(
        ({name: None}, f"prediction schema lacks the provenance field {name} ({' or '.join(kinds)})")
        for name, kinds in {**PROVENANCE, "lead_id": ("string",)}.items()
    ),
    ({"source_offset": "int"}, "prediction field source_offset is of type int, must be long"),
    ({"source_partition": "string"}, "prediction field source_partition is of type string, must be int or long"),
    ({"lead_id": "long"}, "prediction field lead_id is of type long, must be string"),
    ({"lane": ["null", "string", "int"]}, "prediction field lane is of type union, must be string"),
    *(
        (
            {name: {"type": "long", "logicalType": "timestamp-micros"}},
            f"prediction field {name} is a timestamp-micros, must be a timestamp-millis",
        )
        for name in ("occurred_at", "scored_at", "source_timestamp")
    ),
    (
        {"score": None, "scores": ["null", "float"]},
        "[outputs.score] is no field of the prediction schema; did you mean scores?",
    ),
    ({"score": "string"}, "prediction field score is of type string; the ONNX output gives float or double"),
    ({"score": "int"}, "prediction field score is of type int; the ONNX output gives float or double"),
    (
        {"bucket": {"type": "enum", "name": "Bucket", "symbols": ["A"]}},
        "prediction field bucket lacks the symbol B",
    ),
    ({"bucket": "int"}, "prediction field bucket is of type int; bins give string or enum"),
    ({"items": "string"}, "prediction field items is of type string; each gives an array of records"),
    (
        {"items": {"type": "array", "items": "string"}},
        "prediction field items is of type array; each gives an array of records",
    ),
    (
        {"items": {"type": "array", "items": {**ITEM, "fields": ITEM["fields"][:1]}}},
        "prediction field items has no sub-field score",
    ),
    (
        {"items": {"type": "array", "items": {**ITEM, "fields": [*ITEM["fields"], {"name": "rank", "type": "int"}]}}},
        "prediction field items.rank is filled by nothing and is not nullable",
    ),
    (
        {"items": {"type": "array", "items": {**ITEM, "fields": [{"name": "code", "type": "int"}, ITEM["fields"][1]]}}},
        "prediction field items.code is of type int; the ONNX output gives string or enum",
    ),
    (
        {"note": "string"},
        "prediction field note is filled by nothing and is not nullable; add [outputs.note]",
    ),
]


@pytest.mark.parametrize(("changed", "said"), PREDICTION_MISTAKES, ids=str)
def test_what_does_not_fit_the_prediction_is_named_with_what_to_do(changed: Mapping[str, Any], said: str) -> None:
    assert prediction_problems(interface(), record(PREDICTION, changed)) == [said]


@pytest.mark.parametrize(
    "changed",
    [
        {"note": ["null", "string"]},
        {"score": "double", "bucket": "string"},
        {"score": ["null", "float"], "lane": ["string", "null"]},
        {"items": ["null", {"type": "array", "items": ["null", ITEM]}]},
        {"source_partition": "long", "source_schema_id": "long"},
        {"scored_at": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
    ids=str,
)
def test_a_prediction_may_be_the_users_own_record(changed: Mapping[str, Any]) -> None:
    assert prediction_problems(interface(), record(PREDICTION, changed)) == []


def test_an_output_must_not_overwrite_where_a_prediction_comes_from() -> None:
    wrong = interface(("[outputs.score]", '[outputs.lane]\nfrom = "items"\ncolumn = 0\n[outputs.score]'))
    assert prediction_problems(wrong, record(PREDICTION, {})) == [
        "[outputs.lane] would overwrite the provenance field of that name"
    ]


def test_a_double_is_not_rounded_to_a_float_behind_the_users_back() -> None:
    wrong = interface(outputs={"probabilities": ("double", (None, 2))})
    assert prediction_problems(wrong, record(PREDICTION, {})) == [
        "prediction field score is of type float; the ONNX output is double and would be rounded; make it double"
    ]
    assert prediction_problems(wrong, record(PREDICTION, {"score": "double"})) == []


def test_the_entity_of_a_nested_event_field_is_the_predictions_field_of_its_last_name() -> None:
    nested = Interface(
        parse_contract(HEAD.replace('entity = "lead_id"', 'entity = "deep.customer"') + TOML),
        interface().inputs,
        interface().outputs,
    )
    said = ["prediction schema lacks the provenance field customer (string)"]
    without = record(PREDICTION, {"lead_id": None})
    assert prediction_problems(nested, without) == said
    assert prediction_problems(nested, record(PREDICTION, {"lead_id": None, "customer": "string"})) == []


def test_every_problem_is_listed_at_once() -> None:
    wrong = interface(("column = 1", ""), ('missing = "unknown"', "missing = 0"), inputs={"sex": ("float", (None, 1))})
    assert len(signature_problems(wrong)) == 3
    assert len(prediction_problems(interface(), record(PREDICTION, {"lane": None, "score": None, "x": "int"}))) == 3
