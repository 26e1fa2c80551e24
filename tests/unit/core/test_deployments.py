"""Spans, histories and the parting of batches, by definition and by a plain model of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scorer.core.deployments import (
    Activation,
    History,
    Identity,
    Intent,
    Spans,
    boundary,
    differences,
    encode_entry,
    entry_of,
    parted,
)
from scorer.core.records import Closed, RecordBatch
from scorer.core.strict import record_decoder
from scorer.core.wire import PREFIX_BYTES
from tests.unit.services.deployed import deployments_schema

A, B, C = (Identity("lead", version, version * 64) for version in "abc")
INTENT = Intent("scorer.lead", "lead", A, "models/lead/a", "ann@host", "first", 5, "events")
ACTIVATION = Activation("scorer.lead", "lead", A, 6, "events", "id", 2, 40, 0, "worker@host")

steps = st.lists(st.tuples(st.integers(0, 30), st.sampled_from([A, B, C])), max_size=12)


def spans(*put: tuple[int, Identity]) -> Spans:
    made = Spans()
    for first, bundle in put:
        made.put(first, bundle)
    return made


def batch(*records: tuple[int, int], timestamps: list[int] | None = None) -> RecordBatch:
    n = len(records)
    partitions = np.array([partition for partition, _ in records], np.int32)
    offsets = np.array([offset for _, offset in records], np.int64)
    stamps = np.array(timestamps or [0] * n, np.int64)
    return RecordBatch(
        "events", partitions, offsets, stamps, [b"%d" % at for at in range(n)], [None] * n, [None] * n, Closed.IDLE
    )


@given(st.one_of(st.none(), st.integers(0, 2**40)), st.integers(-1, 2**40), st.text(max_size=20))
def test_an_entry_comes_back_from_its_bytes_as_it_was(effective: int | None, number: int, why: str) -> None:
    decode = record_decoder(deployments_schema())
    for entry in (
        replace(INTENT, effective_ms=effective, why=why, number=9),
        replace(ACTIVATION, intent=number, number=9),
    ):
        value = encode_entry(entry, deployments_schema(), "1.0")
        assert entry_of(decode(value, PREFIX_BYTES), 9) == entry


@given(steps)
def test_a_later_word_on_the_same_offset_counts_and_each_span_reaches_to_the_next(
    put: list[tuple[int, Identity]],
) -> None:
    made, plain = spans(*put), dict(put)
    for offset in range(35):
        before = [start for start in plain if start <= offset]
        wanted = plain[max(before)] if before else (plain[min(plain)] if plain else None)
        assert made.at(offset) == wanted


@given(steps, steps, st.integers(0, 30), st.integers(0, 10))
def test_what_differs_once_put_in_differs_no_more(
    true: list[tuple[int, Identity]], told: list[tuple[int, Identity]], first: int, length: int
) -> None:
    truth, history = spans(*true), spans(*told)
    for start, bundle in differences(truth, history, first, first + length):
        assert first <= start < first + max(length, 1)
        history.put(start, bundle)
    if truth.starts:
        for offset in range(first, first + length):
            assert history.at(offset) == truth.at(offset)


def test_other_groups_and_topics_made_anew_are_passed_over() -> None:
    history = History("scorer.lead", "id")
    foreign: list[Any] = [replace(INTENT, group="scorer.login"), replace(ACTIVATION, group="scorer.login")]
    assert not history.apply([*foreign, replace(ACTIVATION, source_topic_id="older")])
    assert (history.wanted, history.spans) == (None, {})
    assert history.apply([replace(INTENT, number=3), ACTIVATION])
    assert history.wanted == replace(INTENT, number=3)
    assert history.of(2).last == (40, A)
    assert history.of(7).last is None


def test_the_newest_intent_is_wanted_and_the_newest_place_of_a_bundle_is_known() -> None:
    history = History("scorer.lead", "id")
    first, second, third = (replace(INTENT, bundle=each, number=at) for at, each in enumerate((A, B, A)))
    history.apply([first, second])
    assert history.wanted == second
    history.apply([replace(third, place="elsewhere")])
    found = history.intent_for(A.sha256)
    assert found is not None
    assert (found.number, found.place) == (2, "elsewhere")
    assert history.intent_for(C.sha256) is None


def test_an_intent_is_in_effect_from_its_time_on_or_at_once() -> None:
    records = batch((0, 5), (1, 9), (0, 6), (0, 7), timestamps=[10, 10, 20, 15])
    assert boundary(records, 0, INTENT) == 5
    assert boundary(records, 0, replace(INTENT, effective_ms=16)) == 6
    assert boundary(records, 1, replace(INTENT, effective_ms=16)) is None
    assert boundary(records, 1, replace(INTENT, effective_ms=10)) == 9


@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=20),
    st.dictionaries(st.integers(0, 2), steps.filter(bool), min_size=3, max_size=3),
)
def test_parts_hold_every_record_once_with_its_own_bundle_in_offset_order(
    partitions: list[int], put: dict[int, list[tuple[int, Identity]]]
) -> None:
    history = History("scorer.lead", "id", spans={partition: spans(*own) for partition, own in put.items()})
    ahead = dict.fromkeys(range(3), 3)
    records = []
    for partition in partitions:
        records.append((partition, ahead[partition]))
        ahead[partition] += 2
    whole = batch(*records)
    seen: list[tuple[int, int]] = []
    for part, bundle in parted(whole, history):
        for partition, offset, value in zip(part.partitions.tolist(), part.offsets.tolist(), part.values, strict=True):
            assert history.of(partition).at(offset) == bundle
            assert value == whole.values[records.index((partition, offset))]
            seen.append((partition, offset))
    assert sorted(seen) == sorted(records)
    for partition in range(3):
        own = [offset for each, offset in seen if each == partition]
        assert own == sorted(own)
