"""Metrics as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from scorer.core.compose import Origin
from scorer.core.records import Closed, Outbound, RecordBatch, Rejection, Scored, Stage
from scorer.core.state import State
from scorer.edges.metrics import Counted, GatewayMetrics, Metrics
from tests.unit.core.graphs import graph, model_of

MODEL = model_of(
    graph([("Identity", ("x",), ("y",), {})], {"x": ("float", (None,))}, {"y": ("float", (None,))}),
    '[inputs.x]\nfield = "x"\n[outputs.y]\nfrom = "y"\n',
)
NOW_MS = 1_700_000_000_000


def metrics() -> Metrics:
    made = Metrics("lead")
    made.serving(MODEL, Origin("live", "1.2.3", "onnxruntime 1", "x86_64"))
    return made


def read(of: Metrics) -> dict[tuple[str, ...], float]:
    """Name and labels besides the stream, as `label=value` in the order of the labels, to the value."""
    found = {}
    for family in text_string_to_metric_families(of.exposition().decode()):
        for sample in family.samples:
            labels = dict(sample.labels)
            assert labels.pop("stream", "lead") == "lead"
            found[sample.name, *(f"{label}={value}" for label, value in sorted(labels.items()))] = sample.value
    return found


def batch(rows: int, timestamps: Sequence[int] | None = None, closed: Closed = Closed.IDLE) -> RecordBatch:
    stamps = np.array([NOW_MS] * rows if timestamps is None else timestamps, np.int64)
    nothing = [None] * rows
    return RecordBatch("t", np.zeros(rows, np.int32), np.arange(rows), stamps, nothing, nothing, nothing, closed)


def scored(predictions: int, *rejections: tuple[Stage, str], tombstones: int = 0) -> Scored:
    values = [b""] * predictions
    outbound = Outbound("o", np.arange(predictions), values, values)
    return Scored(outbound, [Rejection(at, *why, "") for at, why in enumerate(rejections)], tombstones)


def test_a_batch_is_counted_as_consumed_scored_rejected_and_skipped() -> None:
    of = metrics()
    bad = [(Stage.DECODE, "malformed"), (Stage.DECODE, "malformed"), (Stage.ASSEMBLE, "missing_field")]
    of.batch(batch(10), scored(6, *bad, tombstones=1), 2.0, NOW_MS)
    of.batch(batch(4, closed=Closed.FULL), scored(4), 2.0, NOW_MS)
    found = read(of)
    assert found["scorer_records_consumed_total",] == 14
    assert found["scorer_records_scored_total", "model=lead/1"] == 10
    assert found["scorer_records_rejected_total", "reason=malformed", "stage=decode"] == 2
    assert found["scorer_records_rejected_total", "reason=missing_field", "stage=assemble"] == 1
    assert found["scorer_tombstones_total",] == 1
    assert found["scorer_batches_total", "closed=idle"] == 1
    assert found["scorer_batches_total", "closed=full"] == 1
    assert (found["scorer_batch_records_count",], found["scorer_batch_records_sum",]) == (2, 14)


def test_every_record_is_counted_once_as_scored_rejected_or_a_tombstone() -> None:
    of = metrics()
    for rows in (1, 5, 9):
        of.batch(batch(rows), scored(rows - 1, (Stage.INFER, "model_failed")), 1.0, NOW_MS)
    found = read(of)
    parts = ("scorer_records_scored_total", "scorer_records_rejected_total", "scorer_tombstones_total")
    assert sum(value for (name, *_), value in found.items() if name in parts) == 15


def test_what_is_seldom_counted_begins_at_0_so_that_its_first_step_is_an_increase() -> None:
    found = read(metrics())
    assert found["scorer_tombstones_total",] == found["scorer_transactions_aborted_total",] == 0


def test_durations_and_ages_are_seconds() -> None:
    of = metrics()
    of.batch(batch(2, [NOW_MS - 3000, NOW_MS - 500]), scored(2), 250.0, NOW_MS)
    found = read(of)
    assert found["scorer_batch_duration_seconds_sum",] == 0.25
    assert found["scorer_event_age_seconds_sum",] == 3.0


@pytest.mark.parametrize(
    ("timestamps", "ages", "total"),
    [([NOW_MS + 5000], 1, 0.0), ([-1, -1], 0, 0.0), ([-1, NOW_MS - 2000], 1, 2.0)],
    ids=["from the future", "without timestamps", "some without"],
)
def test_an_age_is_never_negative_and_needs_a_timestamp(timestamps: list[int], ages: int, total: float) -> None:
    of = metrics()
    of.batch(batch(len(timestamps), timestamps), scored(len(timestamps)), 1.0, NOW_MS)
    found = read(of)
    assert found.get(("scorer_event_age_seconds_count",), 0) == ages
    assert found.get(("scorer_event_age_seconds_sum",), 0) == total


def lags(of: Metrics) -> dict[str, float]:
    return {labels[0]: value for (name, *labels), value in read(of).items() if name == "scorer_consumer_lag_records"}


def test_lag_is_told_per_partition_and_no_longer_for_one_that_another_worker_has() -> None:
    of = metrics()
    of.lag({0: 5, 1: 70})
    assert lags(of) == {"partition=0": 5, "partition=1": 70}
    of.lag({1: 3, 2: 0})
    assert lags(of) == {"partition=1": 3, "partition=2": 0}
    of.lag({})
    assert lags(of) == {}


def test_a_stream_is_in_one_state() -> None:
    of = metrics()
    for state in (State.RUNNING, State.WAITING):
        of.state(state)
    found = {labels[0]: value for (name, *labels), value in read(of).items() if name == "scorer_stream_state"}
    assert found == {f"state={state}": float(state is State.WAITING) for state in State}


def test_what_is_served_and_by_which_build_is_told() -> None:
    found = read(metrics())
    assert found["scorer_model_info", "model=lead/1", f"sha256={MODEL.bundle.sha256}"] == 1
    assert found["scorer_build_info", "cpu_class=x86_64", "runtime=onnxruntime 1", "version=1.2.3"] == 1


def test_two_that_scrape_a_gateway_at_once_both_get_counts_that_only_grow() -> None:
    of, totals, reading, overtaken = GatewayMetrics(), iter([1, 2]), Event(), Event()

    def counted() -> Counted:
        total = next(totals)
        if total == 1:
            reading.set()
            overtaken.wait(0.2)  # it need not be
        return Counted(cut=total, hits=total)

    def second() -> bytes:
        assert reading.wait(5)
        try:
            return of.exposition(counted)
        finally:
            overtaken.set()

    with ThreadPoolExecutor(2) as pool:
        scrapes = [pool.submit(of.exposition, counted), pool.submit(second)]
    for total, scrape in enumerate(scrapes, 1):
        assert f"scorer_gateway_streams_cut_total {total}.0" in scrape.result().decode()
