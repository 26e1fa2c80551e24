"""A prediction, its event, its re-scoring and what was live, made in a line or two for a test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from scorer.core.compose import Origin
from scorer.core.contract import parse_contract
from scorer.core.deployments import Activation, Identity
from scorer.core.lineage import Lineage, Standing, before_scoring, in_turn
from scorer.core.verdicts import Event, Published, Rescored, Verdict, judge

CONTRACT = parse_contract(
    """
name = "lead"
version = "1"
entity = "lead_id"
prediction = "predictions.lead-score"
[inputs.age]
field = "age"
[outputs.score]
from = "p"
[outputs.bucket]
of = "score"
bins = { A = 0.5, B = 0.0 }
[outputs.items]
each = { code = "c", points = "s" }
"""
)
HERE = Origin("live", "1.0", "onnxruntime 1", "avx2")
ONE, TWO = Identity("lead", "1", "a" * 64), Identity("lead", "2", "b" * 64)
OURS, THEIRS = "topic-now", "topic-before"


def fields(**changed: Any) -> dict[str, Any]:
    """A prediction's fields."""
    usual = {
        "prediction_id": "lead/1/events/2/7",
        "event_id": "e",
        "lead_id": "l",
        "score": 0.75,
        "bucket": "A",
        "items": [{"code": "x", "points": 1.5}],
        "model_name": "lead",
        "model_version": "1",
        "model_sha256": ONE.sha256,
        "source_topic": "events",
        "source_partition": 2,
        "source_offset": 7,
        "source_timestamp": 5000,
        "source_schema_id": 1,
        "event_digest": "d",
        "lane": "live",
        "scorer_version": HERE.scorer_version,
        "runtime": HERE.runtime,
        "cpu_class": HERE.cpu_class,
        "occurred_at": 4000,
        "scored_at": 6000,
    }
    return {**usual, **changed}


def published(schema_id: int = 3, key: bytes = b"l", **changed: Any) -> Published:
    """A prediction in its topic."""
    return Published((0, 1), key, schema_id, fields(**changed))


def rescored(own: Mapping[str, Any] | None = None, **changed: Any) -> Rescored:
    """What the core makes of the event."""
    return replace(Rescored(own or fields(scored_at=0), "", 3, ONE.sha256, CONTRACT, HERE), **changed)


def activation(bundle: Identity, first_offset: int, topic_id: str = OURS, partition: int = 2) -> Activation:
    """A bundle is live from an offset on."""
    return Activation("g.lead", "lead", bundle, 1, "events", topic_id, partition, first_offset, -1, "w")


def standing(*activations: Activation, recreated: bool = False) -> Standing:
    """What is known of partition 2, offset 7."""
    lineage = Lineage("g.lead", OURS)
    lineage.apply(activations)
    return Standing("events", recreated or lineage.recreated, lineage, lineage.at(2, 7))


SCENE = standing(activation(ONE, 0))
SAME = Event("d", 5000)


def verdict(
    prediction: Published,
    *,
    event: Event = SAME,
    at: Standing = SCENE,
    again: Rescored | None = None,
    alone: Mapping[str, Any] | None = None,
) -> Verdict:
    """All steps, as the services take them."""
    before = before_scoring(prediction, event, at)
    if before is not None:
        return before
    return in_turn(prediction, judge(prediction, again or rescored(), alone), at)


OTHER_TIME = Event("x", 5001)
