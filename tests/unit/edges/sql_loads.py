"""Loads made by hand for tests of the SQL sink."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from scorer.core.decode import decode
from scorer.core.load import Load
from scorer.core.rows import prediction_load
from scorer.core.schema import writer_schema
from scorer.core.tables import layout
from scorer.core.wire import split_frames
from tests.harness.events import encoder
from tests.harness.sinks import ENTITIES, Prediction, encoded, prediction, record_batch, schema_of
from tests.harness.topics import shipped_schema

TOPIC = "predictions.x"
_LEAD = shipped_schema("predictions.lead-score")
_FIELDS = [*_LEAD["fields"], {"name": "churn", "type": ["null", "double"], "default": None}]
_GROWN: dict[str, Any] = {**_LEAD, "fields": _FIELDS}
SOURCES = {"lead": "events.new-lead", "login": "events.login"}


def load(kind: str, what: Sequence[Prediction | tuple[bytes, bytes | None]], first: int = 0, **more: Any) -> Load:
    """Predictions, tombstones (key, None) and junk as one load of partition 0."""
    schema = more.pop("schema", None) or schema_of(kind)
    records = [each if isinstance(each, tuple) else encoded(kind, [each])[0] for each in what]  # type: ignore[list-item]
    batch = record_batch(records, topic=TOPIC, first=first, partition=more.pop("partition", 0))
    frames = split_frames(batch.values, 1 << 20)
    events, rejections = decode(batch, frames, {1: schema})
    own = layout(schema.root, ENTITIES[kind])
    starts = {int(batch.partitions[0]): more.pop("start", first)}
    return prediction_load(batch, [(each, own) for each in events], rejections, starts, more.pop("lane", "live"))


def grown_load(number: int, **more: Any) -> Load:
    """One lead's prediction by a later schema, which has a field `churn`."""
    value = encoder(1, _GROWN)(prediction("lead", number, churn=0.125))
    key = f"entity-{number}".encode()
    return load("lead", [(key, value)], schema=writer_schema(1, json.dumps(_GROWN)), **more)
