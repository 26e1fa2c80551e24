"""What `scorer explain` prints."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf, nan

from scorer.cli.explain_view import explanation_document, explanation_lines
from scorer.cli.explain_wiring import Explanation, Id
from scorer.core.explanation import Default, Inside
from scorer.core.verdicts import Published

FOUND = Explanation(
    id=Id("lead/1/events/0/7", "lead", "1", "events", (0, 7)),
    stream="lead",
    lane="live",
    output="predictions",
    event=None,
    absent="it is gone",
    schema_id=None,
    dissection=None,
    undecoded="",
    live=None,
    intent=None,
    bundle=None,
    recipe="nothing names its bundle",
    defaults=[Default("x", "age", "absent", nan)],
    inside=Inside({"x": [nan, 1.5], "y": [[inf]]}, {"x": "float", "y": "double"}, {"score": [0.5, -inf]}, ""),
    again=None,
    published=None,
    looked=0,
    whole=True,
    verdict=None,
)


def test_an_explanation_is_json_though_the_model_saw_no_number_and_gave_none() -> None:
    document = explanation_document(FOUND, payload=True)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["tensors"] == {
        "x": {"type": "float", "values": ["nan", 1.5]},
        "y": {"type": "double", "values": [["inf"]]},
    }
    assert (document["outputs"], document["defaults"][0]["value"]) == ({"score": [0.5, "-inf"]}, "nan")
    assert 'default      x: age is absent, the model sees "nan"' in list(explanation_lines(document))


def test_a_prediction_that_was_not_found_in_a_part_of_the_topic_is_not_said_to_be_nowhere() -> None:
    last = list(explanation_lines(explanation_document(FOUND, payload=True)))[-1]
    assert last == "published    no prediction of that id was found"
    part = replace(FOUND, whole=False)
    last = list(explanation_lines(explanation_document(part, payload=True)))[-1]
    assert "which is not all there is" in last


def test_no_prediction_drives_the_terminal_of_whoever_has_it_explained() -> None:
    own = {"scored_at": 5, "scorer_version": "\x1b[2J", "runtime": "\x1b[3J", "cpu_class": "avx", "source_offset": 7}
    found = replace(FOUND, published=Published((0, 1), None, 3, own))
    assert not any("\x1b" in line for line in explanation_lines(explanation_document(found, payload=True)))
