"""The proof that a contract fits its graph and its events: each mistake with the text that a model's owner reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from scorer.core.proof import event_problems, prediction_problems, signature_problems
from scorer.core.signature import Interface
from tests.unit.core.contracts import EVENT, PREDICTION, interface, record


def _name(value: object) -> str:
    return value[0][:60] if isinstance(value, list) else "contract"


def test_a_contract_that_fits_has_no_problems() -> None:
    fits = interface()
    assert signature_problems(fits) == []
    assert event_problems(fits, [("version 1", record(EVENT, {}))]) == []
    assert prediction_problems(fits, record(PREDICTION, {})) == []


SIGNATURE_MISTAKES: list[tuple[Interface, list[str]]] = [
    (interface(inputs={"sex": ("string", (None, 1))}), ["ONNX input sex is fed by nothing; add [inputs.sex]"]),
    (
        interface(inputs={"age": None, "ages": ("float", (None, 1))}),
        [
            "ONNX input ages is fed by nothing; add [inputs.ages]",
            "[inputs.age] is no ONNX input; did you mean ages?",
        ],
    ),
    (
        interface(("[inputs.age]", "[inputs.zzzz]")),
        [
            "ONNX input age is fed by nothing; add [inputs.age]",
            "[inputs.zzzz] is no ONNX input; there are: age, codes, job, matrix",
        ],
    ),
    (
        interface(inputs={"age": ("float", (1, 1))}),
        ["[inputs.age] has a fixed batch axis [1, 1]; export the model with an open one"],
    ),
    (
        interface(inputs={"age": ("float", ())}),
        ["[inputs.age] has no shape in the ONNX file; export the model with one, [N, 1] or [N, k]"],
    ),
    (
        interface(inputs={"age": ("float", (None, 4))}),
        ["[inputs.age] gives 1 column, the ONNX input is [N, 4]"],
    ),
    (
        interface(inputs={"matrix": ("float", (None, 3))}),
        ["[inputs.matrix] gives 2 columns, the ONNX input is [N, 3]"],
    ),
    (
        interface(inputs={"codes": ("string", (None, 200))}),
        ["[inputs.codes] gives 3 columns, the ONNX input is [N, 200]"],
    ),
    (
        interface(inputs={"matrix": ("float", (None, 2, 1))}),
        ["[inputs.matrix] gives 2 columns, the ONNX input is [N, 2, 1]"],
    ),
    (
        interface(inputs={"codes": ("string", (None,))}),
        ["[inputs.codes] gives a matrix, the ONNX input has one axis"],
    ),
    (
        interface(('missing = "unknown"', "missing = 0")),
        ["[inputs.job] missing = 0 does not fit string"],
    ),
    (
        interface(("missing = 0.0", 'missing = "none"')),
        ["[inputs.matrix] missing = 'none' does not fit float32"],
    ),
    (interface(('pad = ""', "pad = 0")), ["[inputs.codes] pad = 0 does not fit string"]),
    (
        interface(inputs={"age": ("string", (None, 1))}),
        ["[inputs.age] range goes with numbers"],
    ),
    (
        interface(('from = "probabilities"', 'from = "probability"')),
        ["[outputs.score] probability is no ONNX output of a served type; did you mean probabilities?"],
    ),
    (
        interface(('items", score = "scores"', 'items", score = "zz"')),
        [
            "[outputs.items] zz is no ONNX output of a served type; there are: items, label, probabilities, scores",
        ],
    ),
    (interface(("column = 1", "")), ["[outputs.score] ONNX output probabilities is [N, 2]; say which column"]),
    (
        interface(("column = 1", "column = 2")),
        ["[outputs.score] column = 2 is not in ONNX output probabilities of shape [N, 2]"],
    ),
    (
        interface(outputs={"probabilities": ("float", (None,))}),
        ["[outputs.score] column = 1 is not in ONNX output probabilities of shape [N]"],
    ),
    (
        interface(outputs={"probabilities": ("float", (None, 2, 2))}),
        ["[outputs.score] ONNX output probabilities is [N, 2, 2]; served are [N] and [N, k]"],
    ),
    (
        interface(outputs={"probabilities": ("float", ())}),
        ["[outputs.score] ONNX output probabilities has no shape in the ONNX file; export the model with one"],
    ),
    (
        interface(outputs={"probabilities": ("string", (None, 2))}),
        ["[outputs.bucket] of = 'score' is no number, so it has no bins"],
    ),
    (
        interface(outputs={"scores": ("float", (None,))}),
        ["[outputs.items] each needs ONNX outputs of one shape [N, k]; scores is [N]"],
    ),
    (
        interface(outputs={"scores": ("float", (None, 4))}),
        ["[outputs.items] each needs ONNX outputs of one shape [N, k]; items is [N, 5], scores is [N, 4]"],
    ),
]


@pytest.mark.parametrize(("wrong", "said"), SIGNATURE_MISTAKES, ids=_name)
def test_what_does_not_fit_the_graph_is_named_with_what_to_do(wrong: Interface, said: list[str]) -> None:
    assert signature_problems(wrong) == said


@pytest.mark.parametrize(
    "fits",
    [
        interface(inputs={"age": ("float", (None,))}),
        interface(inputs={"codes": ("string", (None, None)), "matrix": ("float", (None, None))}),
        interface(("column = 1", ""), outputs={"probabilities": ("float", (None, 1))}),
        interface(("column = 1", ""), outputs={"probabilities": ("float", (None,))}),
        interface(outputs={"probabilities": ("float", (None, None)), "scores": ("float", (None, None))}),
        interface(outputs={"probabilities": ("int64", (None, 2))}),
    ],
    ids=_name,
)
def test_axes_that_the_graph_leaves_open_fit(fits: Interface) -> None:
    assert signature_problems(fits) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"age": "string"}, "[inputs.age] age is a text, the model takes float32"),
        ({"job": "int"}, "[inputs.job] job is a whole number, the model takes string"),
        ({"codes": "string"}, "[inputs.codes] codes is not an array; length says so"),
        ({"deep": "int"}, "[inputs.matrix] deep is an int, so deep.b is not a field in it"),
        ({"lead_id": None}, "lead_id must be a text or a whole number: it is absent"),
        ({"event_id": "double"}, "event_id must be a text or a whole number: it is a number"),
        ({"occurred_at": "string"}, "occurred_at must be a whole number: it is a text"),
        (
            {"age": None},
            'field age is absent and has no default (missing = "reject"), so every event of this version would be '
            "rejected",
        ),
        (
            {"codes": None},
            'field codes is absent and has no default (missing = "reject"), so every event of this version would be '
            "rejected",
        ),
        (
            {"occurred_at": {"type": "int", "logicalType": "date"}},
            "occurred_at is a date, must be a timestamp-millis, or another of Avro's timestamps",
        ),
    ],
)
def test_what_does_not_fit_a_version_of_the_event_is_named_with_version_and_field(
    changed: Mapping[str, Any], said: str
) -> None:
    versions = [("v1", record(EVENT, {})), ("v2", record(EVENT, changed, 2)), ("v3", record(EVENT, {}, 3))]
    assert event_problems(interface(), versions) == [f"event schema v2: {said}"]


@pytest.mark.parametrize(
    "changed",
    [
        {"job": None},
        {"a": None, "deep": None},
        {"lead_id": "long", "event_id": "long"},
        {"occurred_at": "long"},
        {"occurred_at": {"type": "long", "logicalType": "timestamp-micros"}},
        {"occurred_at": {"type": "long", "logicalType": "local-timestamp-micros"}},
        {"age": ["null", "int", "double"]},
        {"another": "bytes"},
    ],
    ids=str,
)
def test_a_version_with_defaults_for_what_it_lacks_fits(changed: Mapping[str, Any]) -> None:
    assert event_problems(interface(), [("v1", record(EVENT, changed))]) == []
