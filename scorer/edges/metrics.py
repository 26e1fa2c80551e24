"""Every metric of the scorer, with unit and meaning. A closed list: docs/operations.md names each, and a test says so.

Observed per batch, never per record. Labels are few and closed; no ids, no keys.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from scorer.core.answers import Reading
from scorer.core.compose import Origin
from scorer.core.model import Model
from scorer.core.records import Closed, RecordBatch, Scored
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
        self._aborted = Counter(
            "scorer_transactions_aborted_total", "Transactions that came to nothing.", ["stream"], registry=at
        )
        self._state = Gauge(
            "scorer_stream_state", "1 for the state that the stream is in.", ["stream", "state"], registry=at
        )
        self._build = Gauge("scorer_build_info", "Constant 1.", ["version", "runtime", "cpu_class"], registry=at)
        self._model = Gauge("scorer_model_info", "Constant 1.", ["stream", "model", "sha256"], registry=at)
        self._label = ""
        self._lagging: set[int] = set()
        # Looked up once: by name, a batch of one record would cost 7 us more, of 16. So they begin at 0 too: the first
        # step of a counter that begins with its first value is no increase to Prometheus.
        self._of_batches = (self._consumed.labels(stream), self._rows.labels(stream), self._took.labels(stream))
        self._oldest = self._age.labels(stream)
        self._skipped, self._undone = self._tombstones.labels(stream), self._aborted.labels(stream)
        self._closings = {closed: self._batches.labels(stream, closed.value) for closed in Closed}

    def serving(self, model: Model, origin: Origin) -> None:
        """Names the model that is served and the build that serves it."""
        self._label = model.bundle.label
        self._model.clear()
        self._model.labels(self._stream, model.bundle.label, model.bundle.sha256).set(1)
        self._build.labels(origin.scorer_version, origin.runtime, origin.cpu_class).set(1)

    def batch(self, batch: RecordBatch, scored: Scored, took_ms: float, now_ms: int) -> None:
        """See worker.Observer."""
        consumed, rows, took = self._of_batches
        consumed.inc(len(batch))
        self._scored.labels(self._stream, self._label).inc(len(scored.outbound))
        self._closings[batch.closed].inc()
        rows.observe(len(batch))
        took.observe(took_ms / 1000)
        stamps = batch.timestamps[batch.timestamps >= 0]  # very old records have none
        if len(stamps):
            self._oldest.observe(max(0, now_ms - int(stamps.min())) / 1000)
        if scored.tombstones:
            self._skipped.inc(scored.tombstones)
        for (stage, reason), count in Tally((each.stage, each.reason) for each in scored.rejections).items():
            self._rejected.labels(self._stream, stage.value, reason).inc(count)

    def lag(self, lag: Mapping[int, int]) -> None:
        """See worker.Observer."""
        for partition in self._lagging - lag.keys():  # another worker tells of it now
            self._lag.remove(self._stream, str(partition))
        self._lagging = set(lag)
        for partition, records in lag.items():
            self._lag.labels(self._stream, str(partition)).set(records)

    def aborted(self) -> None:
        """See worker.Observer."""
        self._undone.inc()

    def state(self, entered: State) -> None:
        """Marks the state that the stream is in."""
        for each in State:
            self._state.labels(self._stream, each.value).set(1 if each is entered else 0)

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)


@dataclass(frozen=True, slots=True)
class Counted:
    """What a gateway's event loop counts: open streams; since the start streams that were cut, gaps, cache look-ups."""

    streams: int = 0
    cut: int = 0
    gaps: int = 0
    hits: int = 0
    misses: int = 0


class GatewayMetrics:
    """The metrics of a gateway's process. Its event loop and its threads write them; each sample has one writer."""

    def __init__(self) -> None:
        self.registry = at = CollectorRegistry()
        self._requests = Counter(
            "scorer_gateway_requests_total", "Requests answered.", ["route", "status"], registry=at
        )
        self._took = Histogram(
            "scorer_gateway_request_duration_seconds",
            "Until an answer was sent; of a stream, until it ended.",
            ["route"],
            buckets=_SECONDS,
            registry=at,
        )
        self._streams = Gauge("scorer_gateway_streams", "Open streams.", (), registry=at)
        self._cut = Counter("scorer_gateway_streams_cut_total", "Streams cut off as too slow.", (), registry=at)
        self._gaps = Counter("scorer_gateway_gaps_total", "Streams told that events are lost to them.", (), registry=at)
        self._read = Counter("scorer_gateway_records_read_total", "Predictions taken up.", ["kind"], registry=at)
        self._skipped = Counter(
            "scorer_gateway_records_skipped_total", "Records left out.", ["kind", "reason"], registry=at
        )
        self._behind = Gauge("scorer_gateway_behind_records", "Records still to read since the start.", (), registry=at)
        self._written = Counter("scorer_gateway_records_written_total", "Predictions kept on disk.", (), registry=at)
        self._write = Histogram(
            "scorer_gateway_write_duration_seconds", "One write to disk.", (), buckets=_SECONDS, registry=at
        )
        self._cache = Counter(
            "scorer_gateway_cache_total", "Look-ups by whether memory had it.", ["found"], registry=at
        )
        self._state = Gauge("scorer_gateway_state", "1 for the state that it is in.", ["state"], registry=at)
        self._told = Counted()
        self._scraping = Lock()

    def request(self, route: str, status: int, took_s: float) -> None:
        """See web.guard.RequestObserver."""
        self._requests.labels(route, str(status)).inc()
        self._took.labels(route).observe(took_s)

    def read(self, reading: Reading, behind: int) -> None:
        """See gateway_writing.FollowObserver."""
        self._read.labels(reading.kind).inc(len(reading.answers))
        for reason, count in reading.skipped.items():
            self._skipped.labels(reading.kind, reason).inc(count)
        self._behind.set(behind)

    def wrote(self, rows: int, took_s: float) -> None:
        """See gateway_writing.FollowObserver."""
        self._written.inc(rows)
        self._write.observe(took_s)

    def state(self, entered: State) -> None:
        """Marks the state that it is in."""
        for each in State:
            self._state.labels(each.value).set(1 if each is entered else 0)

    def exposition(self, counted: Callable[[], Counted]) -> bytes:
        """Everything in Prometheus' text format; `counted` says what the event loop has counted so far."""
        with self._scraping:  # several may ask at once, and a count that was read earlier must not be told later
            self._tell(counted())
            return generate_latest(self.registry)

    def _tell(self, now: Counted) -> None:
        self._streams.set(now.streams)
        self._cut.inc(now.cut - self._told.cut)
        self._gaps.inc(now.gaps - self._told.gaps)
        self._cache.labels("yes").inc(now.hits - self._told.hits)
        self._cache.labels("no").inc(now.misses - self._told.misses)
        self._told = now


class SinkMetrics:
    """The metrics of a sink's process; implements feeds.Observer."""

    def __init__(self, stream: str) -> None:
        self.registry = at = CollectorRegistry()
        self._stream = stream
        self._records = Counter(
            "scorer_sink_records_total", "Records written or passed over.", ["stream", "kind"], registry=at
        )
        self._loads = Counter("scorer_sink_loads_total", "Transactions.", ["stream"], registry=at)
        self._took = Histogram(
            "scorer_sink_load_duration_seconds",
            "From the first attempt to write a load until it is written.",
            ["stream"],
            buckets=_SECONDS,
            registry=at,
        )
        self._waits = Counter("scorer_sink_waits_total", "Failed attempts that are repeated.", ["stream"], registry=at)
        self._lag = Gauge(
            "scorer_sink_lag_records",
            "Records between the next one and the end.",
            ["stream", "topic", "partition"],
            registry=at,
        )
        self._state = Gauge("scorer_sink_state", "1 for the state that it is in.", ["stream", "state"], registry=at)
        self._lagging: set[tuple[str, int]] = set()

    def written(self, _: str, counts: Mapping[str, int], took_ms: float) -> None:
        """See feeds.Observer."""
        self._loads.labels(self._stream).inc()
        self._took.labels(self._stream).observe(took_ms / 1000)
        for kind, count in counts.items():
            self._records.labels(self._stream, kind).inc(count)

    def waited(self) -> None:
        """See feeds.Observer."""
        self._waits.labels(self._stream).inc()

    def lag(self, topic: str, lag: Mapping[int, int]) -> None:
        """See feeds.Observer."""
        now = {(topic, partition) for partition in lag}
        for _, partition in {each for each in self._lagging if each[0] == topic} - now:
            self._lag.remove(self._stream, topic, str(partition))
        self._lagging = {each for each in self._lagging if each[0] != topic} | now
        for partition, records in lag.items():
            self._lag.labels(self._stream, topic, str(partition)).set(records)

    def state(self, entered: State) -> None:
        """Marks the state that it is in."""
        for each in State:
            self._state.labels(self._stream, each.value).set(1 if each is entered else 0)

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)
