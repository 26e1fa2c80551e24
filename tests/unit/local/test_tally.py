"""The demo's account of what came out: every event once, as a prediction or a dead letter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scorer.core.dead_letters import dead_letters
from scorer.core.records import Closed, RecordBatch, Rejection, Stage
from scorer.core.schema import WriterSchema, writer_schema
from scorer.local.tally import EXAMPLES_MAX, Tally
from tests.unit.core.batches import batch_of, framed

ROOT = Path(__file__).parents[3]
OUT = "predictions.lead-score"
SCHEMA: WriterSchema = writer_schema(3, (ROOT / f"schemas/{OUT}.avsc").read_text())
SENT_MS = 1_700_000_000_000


def prediction(offset: int, partition: int = 0, sent_ms: int = SENT_MS) -> dict[str, Any]:
    values: dict[str, Any] = {name: "" for name, _ in SCHEMA.root.fields}
    numbers = {"score": 0.5, "bucket": "A", "source_partition": partition, "source_offset": offset}
    times = {"source_timestamp": sent_ms, "occurred_at": sent_ms, "scored_at": sent_ms, "source_schema_id": 1}
    return {**values, "source_topic": "events.new-lead", **numbers, **times}


def records(values: Sequence[bytes | None], topic: str = OUT) -> RecordBatch:
    n, nothing = len(values), [None] * len(values)
    places = np.zeros(n, np.int32), np.arange(n, dtype=np.int64), np.zeros(n, np.int64)
    return RecordBatch(topic, *places, list(values), nothing, nothing, Closed.IDLE)


def predictions(*offsets: int, **fields: int) -> RecordBatch:
    return records([framed(SCHEMA, prediction(offset, **fields)) for offset in offsets])


def letters(*offsets: int) -> RecordBatch:
    """Dead letters as the worker writes them, of records at these offsets."""
    bad = batch_of([b"bad"] * len(offsets), offsets=offsets)
    rejections = [Rejection(row, Stage.DECODE, "bad_frame", "") for row in range(len(offsets))]
    made = dead_letters(bad, rejections, topic="letters", stream="s", model="m/1", now_ms=1)
    batch = records([letter.value for letter in made], "letters")
    return replace(batch, headers=[m.headers for m in made])


@pytest.fixture
def tally() -> Tally:
    return Tally({OUT: SCHEMA})


def test_an_event_with_a_prediction_is_accounted_for_once_however_often_it_comes(tally: Tally) -> None:
    tally.add(predictions(0, 1, 2), SENT_MS)
    tally.add(predictions(1, 2, 3), SENT_MS)
    assert (tally.accounted, tally.repeats) == (4, 2)
    assert ("events.new-lead", 0, 3) in tally.predicted


def test_events_of_other_partitions_are_others(tally: Tally) -> None:
    tally.add(predictions(0, partition=0), SENT_MS)
    tally.add(predictions(0, partition=1), SENT_MS)
    assert (tally.accounted, tally.repeats) == (2, 0)


def test_dead_letters_are_accounted_for_by_reason(tally: Tally) -> None:
    tally.add(letters(5, 6), SENT_MS)
    tally.add(letters(6), SENT_MS)
    tally.add(predictions(7), SENT_MS)
    assert tally.accounted == 3
    assert tally.reasons() == {"decode: bad_frame": 2}
    assert ("events", 0, 5) in tally.rejected


def test_delays_are_from_the_events_timestamp_to_its_receipt_here(tally: Tally) -> None:
    for delay_ms in range(1, 101):
        tally.add(predictions(delay_ms), SENT_MS + delay_ms)
    p50, p99, count = tally.percentiles(SENT_MS)
    assert (p50, count) == (50.5, 100)
    assert p99 == pytest.approx(99.01)


def test_percentiles_leave_out_what_was_sent_before(tally: Tally) -> None:
    tally.add(predictions(0, sent_ms=SENT_MS - 1), SENT_MS + 5000)
    tally.add(predictions(1, sent_ms=SENT_MS), SENT_MS + 7)
    assert tally.percentiles(SENT_MS) == (7.0, 7.0, 1)


def test_without_events_there_are_no_percentiles(tally: Tally) -> None:
    p50, p99, count = tally.percentiles(0)
    assert np.isnan([p50, p99]).all()
    assert count == 0


def test_a_few_predictions_are_kept_to_show(tally: Tally) -> None:
    for offset in range(10):
        tally.add(predictions(offset), SENT_MS)
    assert [shown["source_offset"] for shown in tally.examples[OUT]] == list(range(EXAMPLES_MAX))
    assert tally.examples[OUT][0]["bucket"] == "A"


def test_the_first_and_the_last_receipt_are_kept(tally: Tally) -> None:
    tally.add(predictions(0), SENT_MS)
    first = tally.first_s
    tally.add(predictions(1), SENT_MS)
    assert 0 < first == tally.first_s <= tally.last_s


def test_tombstones_are_no_predictions(tally: Tally) -> None:
    tally.add(records([None, framed(SCHEMA, prediction(0)), None]), SENT_MS)
    tally.add(records([None]), SENT_MS)
    assert (tally.accounted, tally.repeats) == (1, 0)


def test_bytes_that_are_no_prediction_are_not_passed_over(tally: Tally) -> None:
    with pytest.raises(AssertionError, match=OUT):
        tally.add(records([framed(SCHEMA, prediction(0))[:-1]]), SENT_MS)
