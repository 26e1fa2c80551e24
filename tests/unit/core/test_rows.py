"""Predictions and dead letters as rows: what becomes none and why, and whose letters count."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from scorer.core.compose import PROVENANCE
from scorer.core.dead_letters import PREFIX, dead_letters
from scorer.core.decode import Events
from scorer.core.letters import Author
from scorer.core.load import Erasure, Load, Refused
from scorer.core.records import Headers, Rejection, Stage
from scorer.core.rows import KEY_BYTES_MAX, TIME_MS_MAX, TIME_MS_MIN, letter_load, prediction_load
from scorer.core.schema import writer_schema
from scorer.core.tables import RANK, layout
from tests.unit.core.batches import batch_of

OWN = Author("events", "scorer.lead")


def headers(group: str = OWN.group, own: Headers | None = None) -> Headers:
    """Of a letter about the record at 3:77, which came with headers of its own."""
    batch = batch_of([b"abc"], partitions=[3], offsets=[77], headers=[own])
    why = Rejection(0, Stage.ASSEMBLE, "missing_field", "age is absent or null")
    (made,) = dead_letters(batch, [why], topic="letters", stream=group, model="lead/1", now_ms=99)
    return made.headers


def loaded(*letters: Headers) -> Load:
    batch = batch_of([b"abc"] * len(letters), timestamps=[5_000] * len(letters), headers=list(letters))
    return letter_load(batch, OWN, {0: 0})


def test_letters_of_a_stream_are_its_own_alone_though_others_that_read_its_topic_write_there() -> None:
    found = loaded(headers(), headers("scorer.churn"), headers("other.lead"))
    assert found.refused == [Refused(3, 77, 5_000, "assemble", "missing_field")]
    assert found.counts == {"rejection": 1, "other_letter": 2}


@pytest.mark.parametrize("text", ["9" * 20, "9" * 5000, "٣", str(2**63 - 1), "-1", ""])
def test_a_letter_that_names_a_place_that_no_topic_has_is_passed_over(text: str) -> None:
    changed = [(name, text.encode() if name == f"{PREFIX}offset" else value) for name, value in headers()]
    assert loaded(changed).counts == {"rejection": 0, "other_letter": 1}


def test_notes_that_came_with_the_record_neither_make_nor_hide_a_rejection() -> None:
    forged: Headers = [(f"{PREFIX}offset", b"5"), (f"{PREFIX}connector.name", b"scorer.churn")]
    assert [each.offset for each in loaded(headers(own=forged)).refused] == [77]


@pytest.mark.parametrize(("stamp", "kept"), [(-1, 0), (5, 5), (2**62, TIME_MS_MAX)])
def test_a_letters_time_is_one_that_a_table_holds(stamp: int, kept: int) -> None:
    found = letter_load(batch_of([b"abc"], timestamps=[stamp], headers=[headers()]), OWN, {0: 0})
    assert [each.timestamp for each in found.refused] == [kept]


AT = {"type": "long", "logicalType": "timestamp-millis"}
ITEM = {"type": "record", "name": "Item", "fields": [{"name": "code", "type": "string"}]}
FIELDS: list[dict[str, Any]] = [
    {"name": name, "type": ["null", kinds[0]]} for name, kinds in (*PROVENANCE.items(), ("who", ("string",)))
]
FIELDS += [{"name": "at", "type": ["null", AT]}, {"name": "items", "type": {"type": "array", "items": ITEM}}]
SCHEMA = writer_schema(1, json.dumps({"type": "record", "name": "P", "fields": FIELDS}))
USUAL: dict[str, Any] = {
    **{name: "live" if kinds[0] == "string" else 1 for name, kinds in PROVENANCE.items()},
    "who": "w",
    "at": 1,
    "items": [],
}


def predicted(*changed: dict[str, Any]) -> Load:
    """Predictions that differ from the usual one in these fields; the rows of a batch that has a tombstone first."""
    values: list[bytes | None] = [None, *[b"value"] * len(changed)]
    batch = batch_of(values, offsets=range(len(values)))
    events = Events(np.arange(1, len(values)), SCHEMA, [{**USUAL, **each} for each in changed])
    return prediction_load(batch, [(events, layout(SCHEMA.root, "who"))], [], {0: 0}, "live")


@pytest.mark.parametrize("name", [*PROVENANCE, "who"])
def test_a_prediction_without_a_field_that_all_have_is_kept_apart_and_never_taken_for_another_lanes(name: str) -> None:
    found = predicted({}, {name: None}, {})
    assert [(each.offset, each.reason) for each in found.unreadable] == [(2, "missing_field")]
    assert found.rows is not None
    assert (len(found.rows), found.counts["other_lane"]) == (2, 0)


def test_what_no_table_holds_is_of_no_concern_in_another_lane() -> None:
    found = predicted({"lane": "spring", "who": "a\0b"}, {"lane": "spring", "event_id": None}, {"who": "a\0b"})
    assert [(each.offset, each.reason) for each in found.unreadable] == [(3, "nul_in_text")]
    assert (found.counts["other_lane"], found.counts["unreadable"]) == (2, 1)


def test_a_prediction_that_no_table_holds_for_two_reasons_is_kept_once() -> None:
    found = predicted({"who": "a\0b", "at": TIME_MS_MAX + 1})
    assert len(found.unreadable) == 1


def test_times_are_held_from_the_first_to_the_last_millisecond_of_the_years_1_to_9999() -> None:
    found = predicted(*({"at": at} for at in (TIME_MS_MIN - 1, TIME_MS_MIN, TIME_MS_MAX, TIME_MS_MAX + 1)))
    assert [(each.offset, each.reason) for each in found.unreadable] == [(at, "time_out_of_range") for at in (1, 4)]


@pytest.mark.parametrize("name", ["who", "prediction_id"])
def test_a_key_is_held_up_to_2500_bytes(name: str) -> None:
    found = predicted(*({name: key} for key in ("k" * KEY_BYTES_MAX, "ü" * 1251, "k")))
    assert [(each.offset, each.reason) for each in found.unreadable] == [(2, "key_too_long")]


def test_items_are_counted_from_one_in_each_prediction() -> None:
    codes = ("ab", "", "c")
    found = predicted(*({"items": [{"code": code} for code in each]} for each in codes))
    assert found.items["items"].column(RANK).to_pylist() == [1, 2, 1]


def test_a_tombstone_erases_whom_its_key_names_and_one_whose_key_no_table_holds_erases_nobody() -> None:
    batch = replace(batch_of([None] * 4), keys=[b"w", None, b"a\0b", b"\xff"])
    found = prediction_load(batch, [], [], {0: 0}, "live")
    assert found.erasures == [Erasure(0, 100, "w")]
    assert found.counts["tombstone"] == 4
