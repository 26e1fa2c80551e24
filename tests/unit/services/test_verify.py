"""A verification counts every event and every prediction once, whatever its window, and says why each is as it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scorer.core.bundle import Bundle
from scorer.core.deployments import Identity
from scorer.core.letters import Stored
from scorer.core.model import load_model
from scorer.core.pieces import Asked, Piece
from scorer.core.verdicts import Cause, Level
from scorer.services.patience import StoppedError
from tests.unit.core.graphs import graph
from tests.unit.services.redrive_world import LETTERS, OUTPUT, SOURCE
from tests.unit.services.samples import BAD, BASE_MS, LATE_ID, lead, recipe
from tests.unit.services.verify_world import identity, scored

OTHER = Identity("lead", "0", "0" * 64)


@pytest.mark.parametrize("window", [1, 3, 7, 100])
def test_every_prediction_is_bit_equal_and_every_event_accounted_for_whatever_the_window(window: int) -> None:
    it = scored()
    it.event((0, 10), BAD)
    it.event((1, 10), None)
    it.score([(0, 10)])
    found = it.verify(window)
    assert found.levels == {Level.EQUAL: 20}
    assert found.events == {"prediction": 20, "dead_letter": 1, "tombstone": 1}
    assert (found.causes, found.repeats, found.clean) == ({}, 0, True)


def test_a_record_with_a_dead_letter_is_not_scored_again_unless_it_has_a_prediction() -> None:
    it = scored(2)
    it.event((0, 2), lead(5))
    it.reject((0, 2))
    it.spare[identity(it.live).sha256] = "never asked of it"
    del it.world.logs[OUTPUT][0, 0]
    assert it.verify().events["dead_letter"] == 1


def test_a_rejection_by_another_stream_of_the_same_topic_hides_no_lost_prediction() -> None:
    it = scored(2)
    it.reject((0, 0), group="scorer.churn")
    del it.world.logs[OUTPUT][0, 0]
    found = it.verify()
    assert (found.events, found.clean) == ({"prediction": 3, "missing": 1}, False)


def test_repeats_and_records_that_are_none_of_it_are_counted_apart() -> None:
    it = scored(3)
    it.score([(0, 1), (1, 1)], now_ms=99)
    it.publish(b"k", b"no prediction")
    it.publish(b"k", None)
    it.score([(0, 2)])
    it.change((0, 5), source_topic="events.other", prediction_id="lead/1/events.other/0/2")
    it.live = replace(it.live, origin=replace(it.live.origin, lane="spring"))
    it.score([(0, 1)])
    found = it.verify()
    assert (found.levels, found.repeats) == ({Level.EQUAL: 6}, 2)
    assert found.skipped == {"no_prediction": 1, "erasure": 1, "other_lane": 1, "other_topic": 1}
    assert it.verify(lane="spring").events == {"prediction": 1, "missing": 5}


def test_what_a_lane_s_replay_was_not_for_is_not_missing_in_it() -> None:
    it = scored(3)
    it.live = replace(it.live, origin=replace(it.live.origin, lane="spring"))
    it.score([(0, 1)])
    half = Piece({0: (1, 3), 1: (0, 0)})
    assert it.verify(lane="spring", piece=half).events == {"prediction": 1, "missing": 1, "unserved": 4}
    young = replace(half, ranges={0: (0, 3), 1: (0, 3)}, since_ms=BASE_MS + 2)
    assert it.verify(lane="spring", piece=young).events == {"prediction": 1, "missing": 2, "unserved": 3}
    assert it.verify(lane="spring", piece=replace(half, positions={0: (1,)})).clean


def test_a_prediction_that_is_not_there_is_missing_and_gone_where_its_topic_has_expired() -> None:
    it = scored(4)
    del it.world.logs[OUTPUT][0, 0]
    found = it.verify()
    assert (found.levels[Level.MISSING], found.causes) == (1, {Cause.UNEXPLAINED: 1})
    (example,) = found.examples[Cause.UNEXPLAINED]
    assert example.prediction_id == f"lead/1/{SOURCE}/0/0"
    it.world.lows[OUTPUT] = 1
    del it.world.logs[OUTPUT][1, 0]
    found = it.verify()
    assert found.causes == {Cause.PREDICTION_GONE: 2}
    assert found.clean


def test_an_event_before_anything_was_live_is_unserved() -> None:
    it = scored(3)
    it.activations.clear()
    it.activate(identity(it.live), 0, 1)
    it.activate(identity(it.live), 1, 0)
    del it.world.logs[OUTPUT][0, 0]
    found = it.verify()
    assert found.events == {"prediction": 5, "unserved": 1}
    assert found.clean


def test_predictions_of_events_that_are_gone_are_said_to_be_as_far_as_the_range_reaches() -> None:
    it = scored(6)
    it.world.lows[SOURCE] = 4
    it.world.logs[SOURCE] = {place: each for place, each in it.world.logs[SOURCE].items() if place[1] >= 4}
    found = it.verify()
    assert found.levels == {Level.UNCHECKED: 8, Level.EQUAL: 4}
    assert (found.causes, found.clean) == ({Cause.EVENT_GONE: 8}, True)
    assert it.verify(asked=Asked(since_ms=BASE_MS + 3)).causes == {Cause.EVENT_GONE: 2}
    assert it.verify(asked=Asked(offsets={0: (0, 6)})).causes == {}


def test_a_prediction_of_an_event_that_never_was_is_forged_or_of_an_earlier_topic() -> None:
    it = scored(3)
    it.change((0, 0), source_offset=50, prediction_id=f"lead/1/{SOURCE}/0/50")
    found = it.verify()
    assert (found.causes[Cause.FORGED], found.events["missing"]) == (1, 1)
    assert it.verify(asked=Asked(offsets={0: (0, 3)})).causes == {Cause.UNEXPLAINED: 1}, (
        "what lies behind is not judged"
    )
    it.activate(identity(it.live), 0, 0, topic_id="before")
    assert it.verify().causes[Cause.RECREATED] == 1
    it.change((0, 0), prediction_id=f"lead/1/{SOURCE}/0/51")
    assert it.verify().causes[Cause.FORGED] == 1, "whatever topic it was of, its id is not made of its place"


def test_a_prediction_at_an_offset_without_a_record_is_forged() -> None:
    it = scored(3)
    del it.world.logs[SOURCE][0, 1]
    found = it.verify()
    assert found.causes == {Cause.FORGED: 1}
    assert found.events == {"prediction": 5}


def test_a_prediction_whose_event_compaction_may_have_taken_is_not_called_forged() -> None:
    it = scored(3)
    del it.world.logs[SOURCE][0, 1]
    it.change((0, 0), score=0.9)
    found = it.verify(compacted=True)
    assert found.causes == {Cause.EVENT_GONE: 1, Cause.UNEXPLAINED: 1}
    assert not found.clean, "what can be held against its event still is"


def test_a_changed_event_is_not_scored_again_and_is_not_missing() -> None:
    it = scored(3)
    old = it.world.logs[SOURCE][1, 1]
    it.world.logs[SOURCE][1, 1] = Stored(old.key, lead(40), [], old.timestamp)
    found = it.verify()
    assert (found.causes, found.levels[Level.UNCHECKED]) == ({Cause.EVENT: 1}, 1)
    assert found.events == {"prediction": 6}


def test_events_that_nearly_all_differ_in_bytes_and_time_are_those_of_another_topic() -> None:
    it = scored(12)
    for place, old in it.world.logs[SOURCE].items():
        it.world.logs[SOURCE][place] = Stored(old.key, lead(30 + place[1]), [], old.timestamp + 1)
    found = it.verify()
    assert (found.causes, found.clean) == ({Cause.RECREATED: 24}, True)


def test_an_event_that_is_rejected_now_is_not_missing_and_its_prediction_says_why() -> None:
    it = scored(2)
    it.event((0, 2), lead(7, LATE_ID))  # the registry does not know the schema any more
    it.score([(0, 2)])
    found = it.verify()
    assert (found.events, found.causes) == ({"prediction": 5}, {Cause.SCHEMA: 1})
    assert found.examples[Cause.SCHEMA][0].verdict.why == "its event is rejected now: unknown_schema"


def test_of_two_predictions_of_one_id_the_one_that_nothing_explains_is_forged() -> None:
    it = scored(2)
    it.score([(0, 0)])
    it.change((0, 2), score=0.9)
    found = it.verify()
    assert (found.events, found.causes) == ({"prediction": 4}, {Cause.FORGED: 1})


def test_a_bundle_that_is_not_to_be_had_leaves_its_predictions_unchecked() -> None:
    it = scored(2)
    it.spare[identity(it.live).sha256] = "no such folder"
    found = it.verify()
    assert (found.levels, found.causes) == ({Level.UNCHECKED: 4}, {Cause.BUNDLE: 4})
    assert found.examples[Cause.BUNDLE][0].verdict.why == "no such folder"
    assert not found.clean, "nobody can say whether they come out again"


def test_the_bundle_before_may_have_scored_it_too_and_a_later_one_may_have_redriven_it() -> None:
    it = scored(3)
    older = it.live
    newer = replace(older, model=load_model(_renamed(older.model.bundle)))
    it.live = newer
    it.spare[identity(older).sha256] = older
    it.activate(identity(newer), 0, 2)
    it.score([(0, 2)])
    found = it.verify()
    assert (found.causes, found.levels[Level.EQUAL]) == ({Cause.AGAIN: 1}, 6)
    assert (found.events, found.clean) == ({"prediction": 6}, True)
    it.event((1, 3), lead(9))
    it.reject((1, 3))
    it.score([(1, 3)])  # by the newer one, which was never live on that partition
    found = it.verify()
    assert (found.causes, found.events["prediction"]) == ({Cause.AGAIN: 1}, 7)
    it.world.logs[LETTERS].clear()
    assert it.verify().causes[Cause.FORGED] == 1


def _renamed(bundle: Bundle) -> Bundle:
    toml = bundle.files["model.toml"].replace(b'version = "1"', b'version = "2"')
    return Bundle("bundle", {**bundle.files, "model.toml": toml})


def test_a_model_that_depends_on_its_batch_mates_is_named() -> None:
    usual = recipe().model
    centred = graph(
        [
            ("ReduceMean", ["age"], ["mean"], {"axes": [0], "keepdims": 1}),
            ("Sub", ["age", "mean"], ["z"], {}),
            ("Sigmoid", ["z"], ["score"], {}),
        ],
        {"age": ("float", (None, 1))},
        {"score": ("float", (None, 1))},
        {"unused": np.zeros(1, dtype=np.float32)},
    )
    toml = b"""
name = "lead"
version = "1"
entity = "lead_id"
prediction = "p"
[inputs.age]
field = "age"
[outputs.score]
from = "score"
[outputs.bucket]
of = "score"
bins = { A = 0.5, B = 0.0 }
"""
    files = {**usual.bundle.files, "model.onnx": centred, "model.toml": toml}
    it = scored(6, replace(recipe(), model=load_model(Bundle("b", files))))
    found = it.verify(window=100)
    assert found.causes[Cause.BATCH] > 0
    assert found.causes.keys() == {Cause.BATCH}


def test_told_to_stop_it_gives_no_verdict_on_what_it_has_not_read() -> None:
    it = scored(3)
    it.world.silences = 2
    it.world.on_silence = it.world.stop.set
    with pytest.raises(StoppedError):
        it.verify()
