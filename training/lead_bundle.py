"""The lead bundle's files beside the graph: model.toml (the contract) and golden.jsonl.

Both come from INPUTS and BINS below, so that the golden rows cannot disagree with the contract. The bins' bounds are
binary fractions: a score compares with them alike as float32 and as double.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from lead_graph import MISSING_DAYS, STRINGS
from numpy.typing import NDArray

from scorer.local.leads import Event, Profile, sample_leads

BINS = {"A": 0.5, "B": 0.25, "C": 0.0625, "D": 0.0}
OUTPUT = "probabilities"

GOLDEN_SEED = 7
GOLDEN_CANDIDATES = 5000
GOLDEN_PER_BUCKET = 6
GOLDEN_START_MS = 1_767_225_600_000


@dataclass(frozen=True, slots=True)
class Input:
    """One ONNX input, named as the event field that feeds it; no `missing` means that the event is rejected."""

    name: str
    missing: str | int | None = None
    range: tuple[int, int] | None = None


# Wider than anything seen in the data: a range is there to catch broken events, not rare leads.
INPUTS = (
    Input("age", range=(0, 130)),
    Input("job", missing="unknown"),
    Input("marital", missing="unknown"),
    Input("education", missing="unknown"),
    Input("credit_default", missing="unknown"),
    Input("housing", missing="unknown"),
    Input("loan", missing="unknown"),
    Input("contact", missing="unknown"),
    Input("month"),
    Input("day_of_week"),
    Input("campaign", range=(0, 10_000)),
    Input("days_since_contact", missing=MISSING_DAYS, range=(0, 100_000)),
    Input("previous_contacts", range=(0, 10_000)),
    Input("previous_outcome", missing="nonexistent"),
    Input("employment_variation_rate", range=(-100, 100)),
    Input("consumer_price_index", range=(0, 100_000)),
    Input("consumer_confidence_index", range=(-1000, 1000)),
    Input("euribor_3m", range=(-100, 1000)),
    Input("employees", range=(0, 10_000_000)),
)

UNKNOWN = dict.fromkeys(("job", "marital", "education", "credit_default", "housing", "loan", "contact"), "unknown")

# Each is put into a sampled lead; all stay valid events of schemas/events.new-lead.avsc.
EDGES: tuple[Event, ...] = (
    {"days_since_contact": None},
    UNKNOWN,
    UNKNOWN | {"days_since_contact": None, "previous_contacts": 0, "previous_outcome": "nonexistent"},
    {"month": "jan", "day_of_week": "sun"},
    {"month": "feb", "day_of_week": "sat", "credit_default": "yes", "education": "illiterate"},
    {"age": 0, "campaign": 0, "days_since_contact": 0, "previous_contacts": 0, "employees": 0.0},
    {"age": 130, "campaign": 10_000, "days_since_contact": 100_000, "previous_contacts": 10_000},
    {"employment_variation_rate": -100.0, "consumer_confidence_index": -1000.0, "euribor_3m": -0.5},
)


def contract_text() -> str:
    """model.toml."""
    lines = [
        'name = "lead"',
        'version = "1"',
        'entity = "lead_id"',
        'prediction = "predictions.lead-score"',
    ]
    for spec in INPUTS:
        missing = "reject" if spec.missing is None else spec.missing
        lines += ["", f"[inputs.{spec.name}]", f'field = "{spec.name}"', f"missing = {json.dumps(missing)}"]
        if spec.range:
            lines.append(f"range = [{spec.range[0]}, {spec.range[1]}]")
    bins = ", ".join(f"{name} = {bound}" for name, bound in BINS.items())
    lines += ["", "[outputs.score]", f'from = "{OUTPUT}"', "column = 1"]
    lines += ["", "[outputs.bucket]", 'of = "score"', f"bins = {{ {bins} }}"]
    return "\n".join(lines) + "\n"


def session_of(model: bytes) -> onnxruntime.InferenceSession:
    """A session as the worker runs it: one thread, no spinning."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def score(session: onnxruntime.InferenceSession, columns: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """Scores [N] of columns [N] by input name."""
    feeds = {name: column.reshape(-1, 1) for name, column in columns.items()}
    scores: NDArray[np.float32] = session.run([OUTPUT], feeds)[0][:, 1]
    return scores


def bucket(value: float) -> str:
    return next(name for name, bound in BINS.items() if value >= bound)


def golden_text(session: onnxruntime.InferenceSession, profile: Profile) -> str:
    """golden.jsonl: sampled leads of every bucket, then leads at the contract's edges."""
    sampled = list(
        sample_leads(profile, GOLDEN_CANDIDATES, GOLDEN_SEED, lambda number: GOLDEN_START_MS + number * 1000)
    )
    chosen: list[Event] = []
    for name in BINS:
        chosen += [event for event in sampled if bucket(_score_one(session, event)) == name][:GOLDEN_PER_BUCKET]
    edges = [
        event | {"event_id": f"edge-{number}", "lead_id": f"edge-{number}"} | edge
        for number, (event, edge) in enumerate(zip(sampled, EDGES, strict=False), start=1)
    ]
    return "".join(_golden_line(session, event) for event in chosen + edges)


def _golden_line(session: onnxruntime.InferenceSession, event: Event) -> str:
    value = _score_one(session, event)
    return json.dumps({"event": event, "expect": {"score": value, "bucket": bucket(value)}}) + "\n"


def _score_one(session: onnxruntime.InferenceSession, event: Event) -> float:
    columns = {}
    for spec in INPUTS:
        value = event.get(spec.name)
        if value is None:
            value = spec.missing
        kind: Callable[[Any], NDArray[Any]] = _strings if spec.name in STRINGS else _numbers
        columns[spec.name] = kind(value)
    return float(score(session, columns)[0])


def _strings(value: str) -> NDArray[Any]:
    return np.array([value], dtype=object)


def _numbers(value: float) -> NDArray[Any]:
    return np.array([value], dtype=np.float32)
