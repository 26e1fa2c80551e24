"""Bundles at hand score again what they scored, whatever upstream and later bundles have brought since."""

from __future__ import annotations

import json
from typing import Any

import pytest

from scorer.cli.at_hand import AtHand
from scorer.core.deployments import Identity
from scorer.core.lineage import Lineage
from scorer.core.scoring import Recipe
from tests.unit.cli.conftest import LEAD, Load
from tests.unit.services.samples import EVENT_TEXT, ROOT, recipe
from tests.unit.services.verify_world import GROUP, PREDICTION_TEXT, TOPIC_ID, identity


def grown(text: str, **field: Any) -> str:
    """A schema with one more field."""
    schema = json.loads(text)
    return json.dumps({**schema, "fields": [*schema["fields"], field]})


def without(text: str, name: str) -> str:
    """A schema without one of its fields."""
    schema = json.loads(text)
    return json.dumps({**schema, "fields": [each for each in schema["fields"] if each["name"] != name]})


NULLABLE = grown(PREDICTION_TEXT, name="later", type=["null", "string"], default=None)
FILLED = grown(PREDICTION_TEXT, name="later", type="string", default="")
"""Later versions of the prediction's schema: one that every bundle fits, and one with an output of a later bundle."""


class Registry:
    """Implements ports.SubjectRegistry: versions of schemas, of which the events' last is not the model's."""

    def __init__(self, *predictions: str) -> None:
        self.found = {
            "predictions.lead-score-value": list(enumerate(predictions, 10)),
            "events.new-lead-value": [(1, EVENT_TEXT), (2, without(EVENT_TEXT, "age"))],
        }

    def versions(self, subject: str) -> list[tuple[int, str]]:
        return self.found[subject]


def at_hand(load: Load, *predictions: str) -> AtHand:
    settings = load(LEAD, sets=(f"streams.lead.bundle={ROOT / 'models/lead/1'}",)).settings
    return AtHand(settings, settings.streams[0], Registry(*predictions), Lineage(GROUP, TOPIC_ID), None)


@pytest.mark.parametrize(
    ("predictions", "schema_id"), [([PREDICTION_TEXT], 10), ([PREDICTION_TEXT, NULLABLE], 11), ([NULLABLE, FILLED], 10)]
)
def test_a_bundle_writes_with_the_newest_schema_that_it_fits(
    load: Load, predictions: list[str], schema_id: int
) -> None:
    found = at_hand(load, *predictions).recipe(identity(recipe()))
    assert isinstance(found, Recipe), found
    assert found.writer.id == schema_id


def test_a_bundle_that_fits_no_schema_of_its_predictions_says_why(load: Load) -> None:
    found = at_hand(load, FILLED).recipe(identity(recipe()))
    assert isinstance(found, str)
    assert "prediction field later is filled by nothing" in found


def test_a_prediction_with_another_name_for_the_same_bytes_keeps_no_bundle_from_being_found(load: Load) -> None:
    true, it = identity(recipe()), at_hand(load, PREDICTION_TEXT)
    it.stream, it.folder = it.stream.model_copy(update={"bundle": ROOT / "nowhere"}), ROOT / "models"
    assert isinstance(it.recipe(Identity("forged", "9", true.sha256)), str)
    assert isinstance(it.recipe(true), Recipe)
