"""The core's steps without Kafka: microseconds per event in batches of one, of 32 and of 1,000."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np

from bench.load import Load
from bench.stage import BUNDLES
from scorer.core.assemble import assemble
from scorer.core.compose import Origin, compose
from scorer.core.decode import decode
from scorer.core.encode import encode
from scorer.core.model import RUNTIME, Model, load_model, predict
from scorer.core.records import Closed, RecordBatch
from scorer.core.schema import WriterSchema, writer_schema
from scorer.core.wire import split_frames
from scorer.edges.bundles import read_bundle
from scorer.edges.machine import cpu_class, scorer_version
from scorer.edges.schema_folder import SchemaFolder
from scorer.local.events import OUTPUTS, TOPICS
from scorer.local.places import shipped

SIZES = (1, 32, 1000)
STEPS = ("decode", "assemble", "infer", "compose", "encode")
VALUE_BYTES_MAX = 1 << 20
ROUNDS_MIN = 5


@dataclass(frozen=True, slots=True)
class StepCosts:
    """Medians over many batches of one size.

    Attributes:
        kind: lead or login.
        rows: the size of the batches.
        us: microseconds per event by step; splitting off the schema ids counts as decoding.
    """

    kind: str
    rows: int
    us: dict[str, float]

    @property
    def total_us(self) -> float:
        """All steps together."""
        return sum(self.us.values())


def step_costs(load: Load, rows: int, for_s: float, bundle: Path | None = None) -> StepCosts:
    """Measures one size for some seconds, on batches that differ; with the shipped model if no other is given."""
    run = stepper(load, rows, bundle)
    taken: list[list[float]] = []
    until_s = time.monotonic() + for_s
    while time.monotonic() < until_s or len(taken) < ROUNDS_MIN:
        taken.append(run(len(taken)))
    warm = taken[len(taken) // 5 :]
    return StepCosts(load.kind, rows, {step: median(t[at] for t in warm) / rows for at, step in enumerate(STEPS)})


def stepper(load: Load, rows: int, bundle: Path | None = None) -> Callable[[int], list[float]]:
    """What scores the batch of a number and says how long each step took, microseconds."""
    events, writer = _schema(TOPICS[load.kind]), _schema(OUTPUTS[load.kind])
    model = load_model(read_bundle(bundle or shipped("models") / BUNDLES[load.kind]))
    origin = Origin("live", scorer_version(), RUNTIME, cpu_class())
    return lambda number: _one(_batch(load, number * rows, rows), events, writer, model, origin)


def _one(batch: RecordBatch, schema: WriterSchema, writer: WriterSchema, model: Model, origin: Origin) -> list[float]:
    """The steps of scoring.score_batch with a clock between them; microseconds each."""
    marks = [time.perf_counter_ns()]
    decoded, _ = decode(batch, split_frames(batch.values, VALUE_BYTES_MAX), {schema.id: schema})
    marks.append(time.perf_counter_ns())
    features, _ = assemble(decoded, batch, model.interface)
    marks.append(time.perf_counter_ns())
    outputs, _, _ = predict(model, features.tensors, features.rows)
    marks.append(time.perf_counter_ns())
    predictions = compose(features, outputs, batch, model, origin=origin, now_ms=int(batch.timestamps[0]))
    marks.append(time.perf_counter_ns())
    outbound, rejected = encode(predictions, writer, "predictions", batch)
    marks.append(time.perf_counter_ns())
    assert len(outbound) == len(batch), rejected[:1]
    return [(after - before) / 1000 for before, after in pairwise(marks)]


def _batch(load: Load, start: int, rows: int) -> RecordBatch:
    start %= max(1, len(load.messages) - rows)
    values: list[bytes | None] = [value for _, value in load.messages[start : start + rows]]
    partitions = np.arange(rows, dtype=np.int32) % 4
    stamps = np.full(rows, 1_900_000_000_000, dtype=np.int64)
    nothing: list[None] = [None] * rows
    offsets = np.arange(start, start + rows, dtype=np.int64)
    return RecordBatch(TOPICS[load.kind], partitions, offsets, stamps, values, nothing, nothing, Closed.FULL)


def _schema(topic: str) -> WriterSchema:
    schema_id, text = SchemaFolder(shipped("schemas")).versions(f"{topic}-value")[-1]
    return writer_schema(schema_id, text)
