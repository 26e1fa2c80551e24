"""What `scorer watch` shows of predictions and dead letters, and that it ends."""

from __future__ import annotations

from typing import Any

import pytest

from scorer.cli.watch import _letters, _line, _predictions, _told
from scorer.core.dead_letters import dead_letters
from scorer.core.errors import ContractError, TransientError
from scorer.core.records import Rejection, Stage
from scorer.local.places import shipped
from tests.unit.core.batches import batch_of, framed, record_schema

RECORD = record_schema(("prediction_id", "string"), ("score", "double"), schema_id=3)
BYTES = record_schema(("raw", "bytes"), schema_id=4)
SHIPPED = ("--set", f"streams.lead.bundle={shipped('models') / 'lead' / '1'}")
LEAD = record_schema(("lead_id", "string"), ("age", "int"), schema_id=1)


class Registry:
    """Schemas by id; `asked` notes each question."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def text(self, schema_id: int) -> str | None:
        self.asked.append(schema_id)
        if schema_id == 66:
            raise ContractError("schema 66 refers to other schemas")
        if schema_id == 77:
            raise TransientError("the registry does not answer")
        known = {3: RECORD.text, 4: BYTES.text, 5: '"string"'}
        return known.get(schema_id)


def shown(*values: bytes | None, registry: Registry | None = None) -> list[dict[str, Any]]:
    return list(_predictions(batch_of(list(values)), {}, registry or Registry()))


def good(number: int) -> bytes:
    return framed(RECORD, {"prediction_id": f"p{number}", "score": 0.5})


def test_predictions_are_shown_in_order_with_each_schema_asked_for_once() -> None:
    registry = Registry()
    found = shown(good(1), framed(BYTES, {"raw": b"\xff"}), good(2), registry=registry)
    assert found == [{"prediction_id": "p1", "score": 0.5}, {"raw": b"\xff"}, {"prediction_id": "p2", "score": 0.5}]
    assert sorted(registry.asked) == [3, 4]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"\0\0\0\0\x63", "schema id 99 is unknown to the registry"),
        (b"\0\0\0\0\x42", "schema 66 refers to other schemas"),
        (b"\0\0\0\0\x05", "schema 5 is of type string; events and predictions are records"),
        (good(1)[:-1], "malformed: the bytes end inside a field"),
        (good(1) + b"x", "trailing_bytes: 1 bytes follow the record"),
        (b"text", "4 bytes, the wire format needs 5"),
    ],
)
def test_a_value_that_does_not_decode_is_shown_as_what_it_is_and_hides_no_other(value: bytes, why: str) -> None:
    assert shown(good(1), value, good(2)) == [
        {"prediction_id": "p1", "score": 0.5},
        {"undecodable": why},
        {"prediction_id": "p2", "score": 0.5},
    ]


def test_tombstones_are_not_shown() -> None:
    assert shown(None, good(1)) == [{"prediction_id": "p1", "score": 0.5}]


def test_a_registry_that_does_not_answer_is_an_outage() -> None:
    with pytest.raises(TransientError):
        shown(b"\0\0\0\0\x4d")


def test_a_dead_letter_is_shown_by_where_it_came_from_and_why_never_by_its_bytes() -> None:
    bad = batch_of(
        [b"secret"], partitions=[2], offsets=[7], headers=[[("own", b"\xff"), ("__connect.errors.stage", b"x")]]
    )
    rejection = Rejection(0, Stage.DECODE, "bad_frame", "the first byte is 115, not 0")
    (letter,) = dead_letters(bad, [rejection], topic="l", stream="scorer.lead", model="lead/1", now_ms=5)
    batch = batch_of([letter.value], headers=[letter.headers])
    assert list(_letters(batch)) == [
        {
            "topic": "events",
            "partition": "2",
            "offset": "7",
            "connector.name": "scorer.lead",
            "stage": "DECODE",
            "class.name": "scorer",
            "exception.class.name": "bad_frame",
            "exception.message": "the first byte is 115, not 0",
            "scorer.model": "lead/1",
            "scorer.rejected_at_ms": "5",
            "value_bytes": 6,
        }
    ]


def test_a_dead_letter_without_headers_or_value_is_shown_too() -> None:
    assert list(_letters(batch_of([None]))) == [{"value_bytes": 0}]


def prediction(**own: Any) -> dict[str, Any]:
    rest = {"prediction_id": "p", "model_name": "lead", "model_version": "1", "lane": "live", "model_sha256": "ab"}
    return {"lead_id": "l1", **own, **rest, "scored_at": 1_700_000_000_250, "source_timestamp": 1_700_000_000_000}


def test_a_person_reads_when_who_what_and_by_which_model() -> None:
    assert _line(prediction(score=0.123456, bucket="A")) == (
        "22:13:20  lead_id=l1  score=0.1235  bucket=A  by lead/1 after 250 ms"
    )


def test_a_list_of_records_is_shown_by_the_first_field_of_its_first_five() -> None:
    items = [{"product_code": f"p{number}", "score": 0.5} for number in range(7)]
    assert "items=[p0 p1 p2 p3 p4 ...]" in _line(prediction(items=items))
    assert "items=[p0]" in _line(prediction(items=items[:1]))
    assert "items=[]" in _line(prediction(items=[]))


@pytest.mark.parametrize("own", [{"scored_at": None}, {"source_timestamp": "x"}, {"model_name": None}])
def test_another_writer_s_record_with_a_prediction_s_name_is_shown_field_by_field(own: dict[str, Any]) -> None:
    assert _line({**prediction(), **own}).startswith("lead_id=l1  prediction_id=p")


def test_no_value_drives_the_terminal() -> None:
    assert "lead_id=\\x1b[2J" in _line({**prediction(), "lead_id": "\x1b[2J"})
    assert _line({"a": "\x1b[2J"}) == "a=\\x1b[2J"


def test_a_time_that_no_calendar_has_ends_no_watch() -> None:
    assert _line({**prediction(), "scored_at": 2**62}).startswith("23:59:59  lead_id=l1")


def test_numbers_that_json_lacks_are_words() -> None:
    record = {"a": float("nan"), "b": [{"c": float("-inf")}], "d": 0.5, "e": None, "f": b"x"}
    assert _told(record) == {"a": "nan", "b": [{"c": "-inf"}], "d": 0.5, "e": None, "f": b"x"}


def test_what_is_no_prediction_is_shown_field_by_field() -> None:
    assert _line({"undecodable": "why", "n": 1}) == "undecodable=why  n=1"
