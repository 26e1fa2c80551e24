"""Every metric of the scorer, with unit and meaning. A closed list: docs/operations.md names each, and a test says so.

Observed per batch, never per record. Labels are few and closed; no ids, no keys.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Mapping

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from scorer.core.compose import Origin
from scorer.core.model import Model
from scorer.core.records import RecordBatch, Scored
from scorer.core.state import State

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
_ROWS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


class Metrics:
    """The metrics of one stream's process; implements worker.Observer."""

    def __init__(self, stream: str) -> None:
        self.registry = CollectorRegistry()
        self._stream = stream
        at = self.registry
        self._consumed = Counter(
            "scorer_records_consumed_total", "Records taken from the input topic.", ["stream"], registry=at
        )
        self._scored = Counter(
            "scorer_records_scored_total", "Predictions published.", ["stream", "model"], registry=at
        )
        self._rejected = Counter(
            "scorer_records_rejected_total", "Records dead-lettered.", ["stream", "stage", "reason"], registry=at
        )
        self._tombstones = Counter("scorer_tombstones_total", "Null values, skipped.", ["stream"], registry=at)
        self._batches = Counter(
            "scorer_batches_total", "Micro-batches by why they closed.", ["stream", "closed"], registry=at
        )
        self._rows = Histogram(
            "scorer_batch_records", "Records per micro-batch.", ["stream"], buckets=_ROWS, registry=at
        )
        self._took = Histogram(
            "scorer_batch_duration_seconds",
            "From a batch's arrival until it is handed to the producer.",
            ["stream"],
            buckets=_SECONDS,
            registry=at,
        )
        self._age = Histogram(
            "scorer_event_age_seconds",
            "Age of a batch's oldest record, by its Kafka timestamp, when it was handed to the producer.",
            ["stream"],
            buckets=_SECONDS,
            registry=at,
        )
        self._lag = Gauge(
            "scorer_consumer_lag_records",
            "Records between the next one and the end.",
            ["stream", "partition"],
            registry=at,
        )
        self._state = Gauge(
            "scorer_stream_state", "1 for the state that the stream is in.", ["stream", "state"], registry=at
        )
        self._build = Gauge("scorer_build_info", "Constant 1.", ["version", "runtime", "cpu_class"], registry=at)
        self._model = Gauge("scorer_model_info", "Constant 1.", ["stream", "model", "sha256"], registry=at)
        self._label = ""
        self._lagging: set[int] = set()

    def serving(self, model: Model, origin: Origin) -> None:
        """Names the model that is served and the build that serves it."""
        self._label = model.bundle.label
        self._model.labels(self._stream, model.bundle.label, model.bundle.sha256).set(1)
        self._build.labels(origin.scorer_version, origin.runtime, origin.cpu_class).set(1)

    def batch(self, batch: RecordBatch, scored: Scored, took_ms: float, now_ms: int) -> None:
        """See worker.Observer."""
        self._consumed.labels(self._stream).inc(len(batch))
        self._scored.labels(self._stream, self._label).inc(len(scored.outbound))
        self._batches.labels(self._stream, batch.closed.value).inc()
        self._rows.labels(self._stream).observe(len(batch))
        self._took.labels(self._stream).observe(took_ms / 1000)
        stamps = batch.timestamps[batch.timestamps >= 0]  # very old records have none
        if len(stamps):
            self._age.labels(self._stream).observe(max(0, now_ms - int(np.min(stamps))) / 1000)
        if scored.tombstones:
            self._tombstones.labels(self._stream).inc(scored.tombstones)
        for (stage, reason), count in Tally((each.stage, each.reason) for each in scored.rejections).items():
            self._rejected.labels(self._stream, stage.value, reason).inc(count)

    def commit(self, lag: Mapping[int, int]) -> None:
        """See worker.Observer."""
        for partition in self._lagging - lag.keys():  # another worker tells of it now
            self._lag.remove(self._stream, str(partition))
        self._lagging = set(lag)
        for partition, records in lag.items():
            self._lag.labels(self._stream, str(partition)).set(records)

    def state(self, entered: State) -> None:
        """Marks the state that the stream is in."""
        for each in State:
            self._state.labels(self._stream, each.value).set(1 if each is entered else 0)

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)
