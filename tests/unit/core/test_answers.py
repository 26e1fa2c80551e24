"""Predictions as answers: what a body holds, which one is the newest, and positions as text."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.core.answers import Answer, Kind, Mark, as_json, kinds_of, newest, parse_mark, read_answers
from scorer.core.decode import Events
from scorer.core.errors import ConfigError
from scorer.core.records import Closed, RecordBatch
from scorer.core.schema import writer_schema
from tests.harness.gateways import lead_score
from tests.harness.topics import shipped_schema

KIND = Kind("lead-scores", "predictions.lead-score", "lead_id")
SCHEMA = writer_schema(1, json.dumps(shipped_schema("predictions.lead-score")))


def batch(keys: list[bytes | None], values: list[bytes | None]) -> RecordBatch:
    n = len(values)
    partitions, offsets = np.arange(n, dtype=np.int32) % 2, np.arange(n, dtype=np.int64) * 10
    return RecordBatch(KIND.topic, partitions, offsets, offsets, values, keys, [None] * n, Closed.IDLE)


def read(*records: dict[str, Any], **rejected: int) -> Any:
    events = Events(np.arange(len(records)), SCHEMA, list(records))
    return read_answers(KIND, batch([b""] * len(records), [b""] * len(records)), [events], rejected)


def test_a_body_is_the_prediction_with_its_provenance_beside_it() -> None:
    (answer,) = read(lead_score("a", 7)).answers
    body = json.loads(b"{" + answer.body)
    assert (body["lead_id"], body["event_id"], body["bucket"]) == ("a", "lead-7", "D")
    assert body["provenance"]["source_offset"] == 7
    assert body["provenance"].keys() | body.keys() == {*lead_score("a", 7), "provenance"}
    assert "lead_id" not in body["provenance"]


def test_an_answers_order_is_when_it_occurred_and_where_its_event_is() -> None:
    times = {"occurred_at": 5, "source_timestamp": 6, "source_partition": 7, "source_offset": 8, "scored_at": 9}
    (answer,) = read(lead_score("a", 1, **times)).answers
    assert (answer.order, answer.scored_at) == ((5, 6, 7, 8), 9)


def test_other_lanes_and_records_without_what_is_needed_are_skipped_and_counted() -> None:
    broken = lead_score("b", 2)
    del broken["source_offset"]
    reading = read(
        lead_score("a", 1, lane="replay"), broken, lead_score("c", 3), lead_score("d", 4, lead_id=None), malformed=2
    )
    assert [answer.entity for answer in reading.answers] == ["c"]
    assert reading.skipped == {"lane": 1, "missing_field": 2, "malformed": 2}
    assert reading.next_offsets == {0: 21, 1: 31}


@pytest.mark.parametrize("number", [float("inf"), float("nan"), 1e300, "9" * 30, -(2**63) - 1, 2**63])
@pytest.mark.parametrize("field", ["occurred_at", "source_offset", "scored_at"])
def test_a_number_that_no_store_takes_is_skipped_and_counted(field: str, number: object) -> None:
    reading = read(lead_score("a", 1, **{field: number}), lead_score("b", 2, **{field: 2**63 - 1}))
    assert [answer.entity for answer in reading.answers] == ["b"]
    assert reading.skipped == {"missing_field": 1}


def test_a_null_value_erases_whom_its_key_names_in_the_order_of_the_topic() -> None:
    events = Events(np.array([1]), SCHEMA, [lead_score("a", 1)])
    reading = read_answers(KIND, batch([b"a", b"a", b"a", None, b"\xff"], [None, b"", None, None, None]), [events], {})
    assert [(answer.entity, answer.body is None) for answer in reading.answers] == [
        ("a", True),
        ("a", False),
        ("a", True),
    ]
    assert reading.skipped == {"missing_field": 2}


def answer(*order: int) -> Answer:
    return Answer("k", "e", 0, 0, "", order, 0, "", b"}")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ((1, 9, 9, 9), (2, 0, 0, 0)),
        ((2, 1, 9, 9), (2, 2, 0, 0)),
        ((2, 2, 1, 9), (2, 2, 2, 0)),
        ((2, 2, 2, 1), (2, 2, 2, 2)),
    ],
)
def test_the_newest_is_told_by_when_it_occurred_then_by_where_its_event_is(older: Any, newer: Any) -> None:
    a, b = answer(*older), answer(*newer)
    assert newest(a, b) is newest(b, a) is b


def test_of_two_that_are_equally_new_the_first_stays_and_nothing_is_older_than_something() -> None:
    a, b = answer(1, 1, 1, 1), answer(1, 1, 1, 1)
    assert newest(a, b) is a
    assert newest(None, a) is newest(a, None) is a
    assert newest(None, None) is None


def test_what_json_cannot_say_becomes_null_or_text() -> None:
    value = {"a": float("nan"), "b": [float("inf"), 1.5], "c": b"\xe9", "d": "é"}
    assert json.loads(as_json(value)) == {"a": None, "b": [None, 1.5], "c": "é", "d": "é"}
    with pytest.raises(TypeError):
        as_json({"a": object()})


def test_kinds_are_named_by_the_last_part_of_their_topic() -> None:
    kinds = kinds_of(
        [
            ("predictions.lead-score", "lead_id"),
            ("x.recommendation", "customer_id"),
            ("x.recommendation", "customer_id"),
        ]
    )
    assert [kind.name for kind in kinds] == ["lead-scores", "recommendations"]


@pytest.mark.parametrize("second", [("b.lead-score", "lead_id"), ("a.lead-score", "customer_id")])
def test_kinds_that_would_be_mixed_up_are_refused(second: tuple[str, str]) -> None:
    with pytest.raises(ConfigError):
        kinds_of([("a.lead-score", "lead_id"), second])


@given(st.dictionaries(st.integers(0, 10_000), st.integers(0, 2**63 - 1)))
def test_a_mark_comes_back_from_its_text(positions: dict[int, int]) -> None:
    mark = Mark("ab12", positions)
    assert parse_mark(str(mark)) == mark


@pytest.mark.parametrize(
    "text", ["", "a.b", "a.1", "a.1-", "a.-1", "a.1-2.1-3", "a.1-x", ".1-2", "a.1-²", "a." + "9" * 20 + "-1"]
)
def test_other_texts_are_no_mark(text: str) -> None:
    assert parse_mark(text) is None
