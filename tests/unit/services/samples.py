"""What the worker of these tests scores: leads, with the shipped model and its shipped prediction."""

from __future__ import annotations

import json
from functools import cache
from io import BytesIO
from pathlib import Path

import fastavro

from scorer.core.compose import Origin
from scorer.core.model import load_model
from scorer.core.schema import writer_schema
from scorer.core.scoring import Recipe
from scorer.core.wire import prefix
from scorer.edges.bundles import read_bundle
from scorer.local.leads import load_profile, sample_leads

ROOT = Path(__file__).parents[3]
EVENT_TEXT = (ROOT / "schemas/events.new-lead.avsc").read_text()
EVENT_ID, PREDICTION_ID, LATE_ID = 1, 3, 99
BASE_MS = 1_700_000_000_000
BAD = b"not in the wire format"


@cache
def recipe() -> Recipe:
    """The shipped lead model with its shipped prediction."""
    text = (ROOT / "schemas/predictions.lead-score.avsc").read_text()
    model = load_model(read_bundle(ROOT / "models/lead/1"))
    return Recipe(
        model, writer_schema(PREDICTION_ID, text), "predictions.lead-score", Origin("live", "0", "runtime", "cpu")
    )


@cache
def values(schema_id: int = EVENT_ID, per_ms: int = 1) -> tuple[bytes, ...]:
    """Fifty leads in the wire format, their times so fine."""
    parsed = fastavro.parse_schema(json.loads(EVENT_TEXT))
    made = []
    for event in sample_leads(load_profile(), 50, 1, lambda number: (BASE_MS + number) * per_ms):
        out = BytesIO()
        out.write(prefix(schema_id))
        fastavro.schemaless_writer(out, parsed, event)
        made.append(out.getvalue())
    return tuple(made)


def lead(number: int = 0, schema_id: int = EVENT_ID, per_ms: int = 1) -> bytes:
    """One of them."""
    return values(schema_id, per_ms)[number % 50]
