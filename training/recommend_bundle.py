"""The recommender's files beside the graph: model.toml (the contract) and golden.jsonl.

Golden rows are drawn from the profile of logins, then bent to the edges: they are nobody's data. Scores are written
with repr, so that a float32 comes back with the same bits.
"""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray
from onnxruntime import InferenceSession
from recommend_graph import PAD, recommended

from scorer.local.logins import PRODUCTS_MAX, Event, Profile, sample_logins

GOLDEN_SAMPLES = 14
GOLDEN_START_MS = 1_767_225_600_000
SPARE_SAMPLES = 200

CONTRACT = f"""name = "recommend"
version = "1"
entity = "customer_id"
prediction = "predictions.recommendation"

[inputs.codes]
field = "recent_products"
length = {PRODUCTS_MAX}
pad = "{PAD}"
missing = "reject"

[inputs.country]
field = "country"
missing = ""

[outputs.items]
each = {{ product_code = "items", score = "scores" }}
"""


def golden_text(session: InferenceSession, profile: Profile, seed: int) -> str:
    """golden.jsonl: sampled logins, then logins at the edges."""
    sampled = list(
        sample_logins(profile, GOLDEN_SAMPLES + SPARE_SAMPLES, seed, lambda number: GOLDEN_START_MS + number * 1000)
    )
    events = sampled[:GOLDEN_SAMPLES] + _edges(profile, sampled[GOLDEN_SAMPLES:])
    items, scores = recommended(session, events)
    rows = zip(events, items.tolist(), scores, strict=True)
    return "".join(_line(event, codes, values) for event, codes, values in rows)


def _line(event: Event, codes: list[str], scores: NDArray[np.float32]) -> str:
    pairs = zip(codes, scores.tolist(), strict=True)
    items = [{"product_code": code, "score": score} for code, score in pairs]
    return json.dumps({"event": event, "expect": {"items": items}}) + "\n"


def _edges(profile: Profile, spare: list[Event]) -> list[Event]:
    """Logins that hold what is rare or wrong: nothing bought, unknown codes and countries, too many, many repeats."""
    codes = list(profile.codes)
    full = max(spare, key=lambda event: len(event["recent_products"]))["recent_products"]
    some = next(event["recent_products"] for event in spare if 10 <= len(event["recent_products"]) <= 40)
    changes: list[dict[str, object]] = [
        {"recent_products": [], "country": "United Kingdom"},
        {"recent_products": [], "country": "France"},
        {"recent_products": [], "country": "Atlantis"},
        {"recent_products": [], "country": ""},
        {"recent_products": some, "country": "united kingdom"},
        {"recent_products": ["no such code"], "country": "United Kingdom"},
        {"recent_products": ["no such code", *some, "", "85123a", "\u00e9t\u00e9-\u96ea", "POST"]},
        {"recent_products": ["no such code"] * PRODUCTS_MAX, "country": "Germany"},
        {"recent_products": [codes[-1]]},
        {"recent_products": [codes[5]] * PRODUCTS_MAX},
        {"recent_products": [codes[5]] * (PRODUCTS_MAX - 1) + [codes[50]] * 40},
        {"recent_products": codes[:PRODUCTS_MAX]},
        {"recent_products": codes[-PRODUCTS_MAX:] + codes[:50]},
        {"recent_products": [code for code in codes[:25] for _ in range(8)]},
        {"recent_products": (full * 2)[: PRODUCTS_MAX + 30], "country": "Netherlands"},
    ]
    named = [
        {"event_id": f"login-edge-{number}", "customer_id": f"edge-{number}"} for number in range(1, len(changes) + 1)
    ]
    return [event | name | change for event, name, change in zip(spare, named, changes, strict=False)]
