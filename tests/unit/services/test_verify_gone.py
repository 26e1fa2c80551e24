"""What is gone, foreign or hidden makes a verification say neither that all is well nor that it is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any

import fastavro
import pytest

from scorer.core.bundle import Bundle
from scorer.core.deployments import Intent
from scorer.core.letters import Stored
from scorer.core.model import load_model
from scorer.core.pieces import Asked
from scorer.core.ranges import LATE_MS, Gone
from scorer.core.scoring import Recipe
from scorer.core.strict import record_decoder
from scorer.core.verdicts import Cause, Level
from scorer.core.wire import prefix
from tests.unit.services import verify_world
from tests.unit.services.redrive_world import LETTERS, OUTPUT, SOURCE, Sandbox
from tests.unit.services.samples import BAD, BASE_MS, lead
from tests.unit.services.verify_world import GROUP, PREDICTION_TEXT, WRITER, Scored, identity, scored


def later(it: Scored) -> Recipe:
    """The same bundle as another version, at hand beside the one that is live."""
    old = it.live.model.bundle
    toml = old.files["model.toml"].replace(b'version = "1"', b'version = "2"')
    made = replace(it.live, model=load_model(Bundle("bundle", {**old.files, "model.toml": toml})))
    it.spare |= {identity(each).sha256: each for each in (it.live, made)}
    return made


def redriven(it: Scored) -> None:
    """An event that the first bundle has rejected, and a later one has scored by a redrive."""
    it.event((1, 3), lead(9))
    it.reject((1, 3))
    it.live = later(it)
    it.entries.append(Intent(GROUP, "lead", identity(it.live), "place", "who", "why", 1, SOURCE, number=9))
    it.score([(1, 3)])


def test_an_output_partition_of_which_nothing_is_left_may_have_held_what_is_missing() -> None:
    it = scored(3)
    it.world.logs[OUTPUT] = {place: each for place, each in it.world.logs[OUTPUT].items() if place[0] == 0}
    it.world.emptied[OUTPUT] = {1: 3}
    found = it.verify()
    assert (found.causes, found.clean) == ({Cause.PREDICTION_GONE: 3}, True)


@pytest.mark.parametrize(("kept_ms", "cause"), [(LATE_MS - 1, Cause.PREDICTION_GONE), (LATE_MS, Cause.UNEXPLAINED)])
def test_what_the_output_topic_keeps_for_sure_is_not_gone_whatever_is_left_of_it(kept_ms: int, cause: Cause) -> None:
    it = scored(3)
    del it.world.logs[OUTPUT][1, 1]
    it.world.emptied[OUTPUT] = {2: 3}
    it.gone = Gone(kept_ms=kept_ms, now_ms=BASE_MS), Gone()
    assert it.verify().causes == {cause: 1}


def test_upstream_s_clock_may_be_ahead_where_predictions_of_about_that_time_are_gone() -> None:
    for ahead_ms, cause in ((LATE_MS - 10, Cause.PREDICTION_GONE), (LATE_MS + 10, Cause.UNEXPLAINED)):
        it = scored(2)
        it.world.lows[OUTPUT] = 1
        it.world.logs[OUTPUT] = {place: each for place, each in it.world.logs[OUTPUT].items() if place[1]}
        old = it.world.logs[SOURCE][1, 0]
        it.event((0, 2), lead(11))
        it.world.logs[SOURCE][0, 2] = replace(old, value=lead(11), timestamp=BASE_MS + ahead_ms)
        assert it.verify().causes[cause] >= 1
        assert it.verify().causes.keys() <= {Cause.PREDICTION_GONE, cause}


def test_a_compacted_output_topic_may_have_lost_any_prediction() -> None:
    it = scored(3)
    del it.world.logs[OUTPUT][0, 1]
    it.gone = Gone(compacted=True), Gone()
    assert it.verify().causes == {Cause.PREDICTION_GONE: 1}


def test_predictions_whose_events_expire_while_it_reads_are_not_forged() -> None:
    it = scored(6)

    def expire() -> None:
        it.world.lows[SOURCE] = 2
        it.world.logs[SOURCE] = {place: each for place, each in it.world.logs[SOURCE].items() if place[1] >= 2}

    it.before_judging = expire
    found = it.verify()
    assert (found.causes, found.clean) == ({Cause.EVENT_GONE: 4}, True)


def test_an_event_that_is_rejected_is_not_missing_where_its_dead_letter_may_be_gone() -> None:
    it = scored(2)
    it.event((0, 2), BAD)
    it.event((0, 3), lead(9))
    assert it.verify().causes == {Cause.UNEXPLAINED: 2}
    it.world.emptied[LETTERS] = {0: 7}
    found = it.verify()
    assert found.causes == {Cause.LETTER_GONE: 1, Cause.UNEXPLAINED: 1}
    assert found.events["missing"] == 2
    it.gone = Gone(), Gone(kept_ms=10 * LATE_MS, now_ms=BASE_MS)
    assert it.verify().causes == {Cause.UNEXPLAINED: 2}, "the letters of that time are kept"


def test_an_event_whose_dead_letter_may_be_gone_is_scored_where_it_can_end_no_process() -> None:
    it = scored(2)
    it.event((0, 2), lead(9))
    it.reject((1, 0))
    it.world.emptied[LETTERS] = {1: 7}
    it.world.sandbox = Sandbox(frozenset({2}))
    assert it.verify().causes == {Cause.LETTER_GONE: 1}


def test_a_bundle_that_is_wanted_but_not_live_anywhere_yet_may_have_redriven_an_event() -> None:
    it = scored(3)
    redriven(it)
    found = it.verify()
    assert (found.causes, found.events, found.clean) == ({}, {"prediction": 7}, True)


def test_a_redrive_whose_dead_letter_is_gone_is_not_forged_if_what_was_live_rejects_its_event() -> None:
    it = scored(3)
    redriven(it)
    it.world.logs[LETTERS].clear()
    it.world.emptied[LETTERS] = {0: 1}
    it.world.sandbox = Sandbox(frozenset({3}))
    assert it.verify().causes == {}
    it.world.sandbox = Sandbox(frozenset())
    assert it.verify().causes == {Cause.FORGED: 1, Cause.UNEXPLAINED: 1}, "it takes the event"
    it.world.sandbox = Sandbox(frozenset({3}))
    it.world.emptied.clear()
    assert it.verify().causes == {Cause.FORGED: 1, Cause.UNEXPLAINED: 1}, "no letter was ever lost"


def test_a_dead_letter_of_other_bytes_accounts_for_no_event() -> None:
    it = scored(2)
    it.event((0, 2), lead(9))
    it.reject((0, 2))
    assert it.verify().events["dead_letter"] == 1
    it.event((0, 2), lead(10))
    found = it.verify()
    assert (found.events["missing"], found.causes) == (1, {Cause.UNEXPLAINED: 1})


def test_a_prediction_of_the_topic_before_hides_none_that_the_topic_as_it_is_has_lost() -> None:
    it = scored(3)
    it.activations.insert(0, replace(it.activations[0], source_topic_id="before"))
    old = it.world.logs[SOURCE][0, 1]
    it.world.logs[SOURCE][0, 1] = Stored(old.key, lead(40), [], old.timestamp + 5)
    found = it.verify()
    assert found.causes == {Cause.RECREATED: 1, Cause.UNEXPLAINED: 1}
    assert (found.events, found.clean) == ({"prediction": 5, "missing": 1}, False)
    it.activations = [replace(each, source_topic_id="before") for each in it.activations]
    found = it.verify()
    assert (found.events, found.clean) == ({"prediction": 5, "unserved": 1}, True), "nobody has scored it yet"


def test_another_build_explains_other_bits_and_no_prediction_that_is_not_there() -> None:
    it = scored(3)
    newer = later(it)
    it.activate(identity(newer), 0, 2)
    at = next(place for place, each in it.world.logs[OUTPUT].items() if b"/0/2" in (each.value or b""))
    it.change(at, runtime="another", score=0.123)
    found = it.verify()
    assert found.causes == {Cause.AGAIN: 1, Cause.UNEXPLAINED: 1}
    assert found.events == {"prediction": 5, "missing": 1}


def test_predictions_of_another_stream_in_the_same_topic_are_none_of_it() -> None:
    it = scored(3)
    own, it.live = it.live, later(it)
    it.score([(0, 0), (0, 1)])
    del it.spare[identity(it.live).sha256]
    it.live = own
    assert it.verify().causes == {Cause.FORGED: 2}
    other = replace(it.activations[0], group="scorer.churn", bundle=identity(later(it)))
    it.entries.append(other)
    found = it.verify()
    assert (found.causes, found.skipped, found.events) == ({}, {"other_stream": 2}, {"prediction": 6})


def test_predictions_of_another_stream_about_events_that_are_gone_are_none_of_it_either() -> None:
    it = scored(3)
    other = replace(it.activations[0], group="scorer.churn", bundle=identity(later(it)))
    it.live = later(it)
    it.score([(0, 0)])
    it.entries.append(other)
    it.world.lows[SOURCE] = 1
    it.world.logs[SOURCE] = {place: each for place, each in it.world.logs[SOURCE].items() if place[1] >= 1}
    it.spare = {identity(each).sha256: each for each in (scored(0).live,)}
    found = it.verify()
    assert (found.causes, found.skipped) == ({Cause.EVENT_GONE: 2}, {"other_stream": 1})


@pytest.mark.parametrize("offset", [3, 50])
def test_a_prediction_of_an_event_that_never_was_is_forged_whatever_time_it_says(offset: int) -> None:
    it = scored(3)
    it.change((0, 0), source_offset=offset, source_timestamp=5, prediction_id=f"lead/1/{SOURCE}/0/{offset}")
    assert it.verify(asked=Asked(since_ms=BASE_MS)).causes[Cause.FORGED] == 1


def test_a_prediction_s_schema_may_let_its_fields_be_null_as_long_as_they_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    schema = json.loads(PREDICTION_TEXT)
    for each in schema["fields"]:
        if each["name"] in ("source_offset", "lane"):
            each["type"] = ["null", each["type"]]
    known = verify_world.Texts.text
    monkeypatch.setattr(
        verify_world.Texts, "text", lambda self, number: json.dumps(schema) if number == 77 else known(self, number)
    )
    it = scored(2)
    log = it.world.logs[OUTPUT]
    for place, each in log.items():
        body = BytesIO()
        own = record_decoder(WRITER)(each.value or b"", 5)
        fastavro.schemaless_writer(body, fastavro.parse_schema(json.loads(json.dumps(schema))), own)
        log[place] = replace(each, value=prefix(77) + body.getvalue())
    found = it.verify()
    assert (found.levels, found.skipped) == ({Level.EQUAL: 4}, {})


def _foreign(change: Callable[[dict[str, Any]], dict[str, Any]], **values: Any) -> tuple[dict[str, Any], bytes]:
    """A schema like a prediction's, with its fields changed, and a record of it."""
    schema = json.loads(PREDICTION_TEXT)
    schema["fields"] = [change(each) for each in schema["fields"]]
    usual = {"string": "x", "long": 5, "int": 5, "float": 0.5, "double": 0.5}
    record = {
        each["name"]: values[each["name"]]
        if each["name"] in values
        else usual.get(each["type"] if isinstance(each["type"], str) else "")
        for each in schema["fields"]
    }
    for each in schema["fields"]:
        kind = each["type"]
        if record[each["name"]] is None and each["name"] not in values and isinstance(kind, dict):
            record[each["name"]] = kind["symbols"][0] if kind["type"] == "enum" else 5
    body = BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(schema), record)
    return schema, body.getvalue()


@pytest.mark.parametrize("kind", ["other types", "nulls"])
def test_a_record_that_has_a_prediction_s_fields_of_other_types_or_null_is_none(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(each: dict[str, Any]) -> dict[str, Any]:
        if each["name"] not in ("source_offset", "source_partition"):
            return each
        return {**each, "type": "string" if kind == "other types" else ["null", "long"]}

    nothing = {"source_offset": None, "source_partition": None} if kind == "nulls" else {}
    schema, body = _foreign(other, lane="live", source_topic=SOURCE, **nothing)
    known = verify_world.Texts.text
    monkeypatch.setattr(
        verify_world.Texts, "text", lambda self, number: json.dumps(schema) if number == 77 else known(self, number)
    )
    it = scored(2)
    it.publish(b"k", prefix(77) + body)
    found = it.verify()
    assert (found.skipped, found.causes, found.clean) == ({"no_prediction": 1}, {}, True)


def test_predictions_whose_schema_the_registry_has_lost_are_said_to_be_there_unread() -> None:
    it = scored(2)
    log = it.world.logs[OUTPUT]
    log[0, 0] = replace(log[0, 0], value=prefix(88) + (log[0, 0].value or b"")[5:])
    found = it.verify()
    assert found.skipped == {"unknown_schema": 1}
    assert (found.levels[Level.MISSING], found.clean) == (1, False)
    assert "that can be read" in found.examples[Cause.UNEXPLAINED][0].verdict.why


def test_a_prediction_of_a_gone_event_by_a_bundle_that_was_never_this_stream_s_is_forged() -> None:
    it = scored(3)
    it.world.lows[SOURCE] = 1
    it.world.logs[SOURCE] = {place: each for place, each in it.world.logs[SOURCE].items() if place[1] >= 1}
    at = next(place for place, each in it.world.logs[OUTPUT].items() if b"/0/0" in (each.value or b""))
    it.change(at, model_version="9", model_sha256="9" * 64, prediction_id=f"lead/9/{SOURCE}/0/0")
    assert it.verify().causes == {Cause.EVENT_GONE: 1, Cause.FORGED: 1}
