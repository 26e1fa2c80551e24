"""What the contract filled in, and what the model saw: the tensors that the hot path makes, not others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from scorer.core.explanation import Default, defaults, inside
from scorer.core.model import Model
from scorer.core.wire import split_frames
from tests.unit.core.batches import batch_of, event, event_schema, framed
from tests.unit.core.contracts import interface
from tests.unit.core.graphs import graph, lookup, model_of

CONTRACT = interface().contract
WHOLE = {"age": 40, "job": "cook", "a": 1.0, "deep": {"b": 2.0}, "codes": ["x", "y", "z"]}


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({}, []),
        ({"job": None}, [Default("job", "job", "null", "unknown")]),
        ({"deep": None}, [Default("matrix", "deep.b", "null", 0.0)]),
        ({"deep": {}}, [Default("matrix", "deep.b", "absent", 0.0)]),
        ({"codes": ["x"]}, [Default("codes", "codes", "padded", 1)]),
        ({"codes": ["x"] * 5}, [Default("codes", "codes", "cut", 5)]),
        ({"age": None}, []),
    ],
    ids=str,
)
def test_defaults_name_what_the_contract_put_in_the_place_of_what(changed: dict[str, Any], wanted: list[Any]) -> None:
    assert defaults(CONTRACT, {**WHOLE, **changed}) == wanted


def test_an_absent_field_is_told_from_a_null() -> None:
    found = defaults(CONTRACT, {name: value for name, value in WHOLE.items() if name != "job"})
    assert found == [Default("job", "job", "absent", "unknown")]


def test_tensors_and_outputs_are_those_of_the_hot_path() -> None:
    model = lookup([0.5, 0.25])
    schema = event_schema(("item", "long"))
    batch = batch_of([framed(schema, event(item=1))])
    frames = split_frames(batch.values, 1000)
    found = inside(batch, frames, {1: schema}, model)
    assert (found.tensors, found.dtypes, found.outputs, found.rejected) == (
        {"item": 1},
        {"item": "int64"},
        {"price": 0.25},
        "",
    )
    assert np.float32(found.outputs["price"]) == np.float32(0.25)


def priced() -> Model:
    """A model of a text and a list of texts."""
    onnx = graph(
        [("ml.LabelEncoder", ["job"], ["y"], {"keys_strings": ["cook"], "values_floats": [1.0]})],
        {"job": ("string", (None, 1)), "codes": ("string", (None, 3))},
        {"y": ("float", (None, 1))},
    )
    rules = '[inputs.job]\nfield = "job"\nmissing = "none given"\n[inputs.codes]\nfield = "codes"\nlength = 3\n'
    return model_of(onnx, rules + '[outputs.score]\nfrom = "y"\n')


@pytest.mark.parametrize("has_job", [True, False])
def test_texts_are_shown_as_texts_however_they_were_handed_over(has_job: bool) -> None:
    codes = ("codes", {"type": "array", "items": "string"})
    schema = event_schema(codes, ("job", "string")) if has_job else event_schema(codes)
    batch = batch_of([framed(schema, event(codes=["ä"], job="cook"))])
    found = inside(batch, split_frames(batch.values, 1000), {1: schema}, priced())
    assert found.tensors == {"job": ["cook" if has_job else "none given"], "codes": ["ä", "", ""]}
    assert found.dtypes == {"job": "string", "codes": "string"}
    assert found.rejected == ""


@pytest.mark.parametrize(
    ("value", "why"),
    [(None, "it is a tombstone"), (b"x", "decode, bad_frame"), ("far", "infer, model_failed")],
    ids=["tombstone", "frame", "model"],
)
def test_what_is_not_scored_says_why(value: Any, why: str) -> None:
    model = lookup([0.5])
    schema = event_schema(("item", "long"))
    batch = batch_of([framed(schema, event(item=7)) if value == "far" else value])
    found = inside(batch, split_frames(batch.values, 1000), {1: schema}, model)
    assert found.rejected.startswith(why)
    assert found.outputs == {}
