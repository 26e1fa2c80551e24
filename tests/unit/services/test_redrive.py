"""Redrives: what is read, scored, published and counted, and what happens when somebody stops or does not answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scorer.core.errors import TransientError
from scorer.core.letters import Stored
from scorer.core.offsets import InFlight
from scorer.core.records import DeadLetter, Outbound
from scorer.services.patience import StoppedError
from scorer.services.redrive import STOP_MS_MAX, Rehearsal
from scorer.services.spans import GAP_MAX, waves
from tests.unit.services.redrive_world import LETTERS, OUTPUT, SOURCE, UNKNOWN_ID, Sandbox, World
from tests.unit.services.samples import BASE_MS, lead


def test_records_are_published_under_their_own_places_and_what_fails_again_counts_its_attempts() -> None:
    world = World()
    letters = [world.reject(offset) for offset in (4, 5)]
    letters.append(replace(world.reject(6, b"\x01bad", "bad_frame"), attempts=1))
    before = {topic: dict(log) for topic, log in world.logs.items()}
    outcome = world.redrive().run(letters)
    assert (outcome.passed, outcome.rejected) == ({"out_of_range": 2}, {("bad_frame", "bad_frame"): 1})
    assert (outcome.done, outcome.all_passed, outcome.from_source) == (3, False, 3)
    ((outbound, _),) = world.published
    assert (outbound.topic, len(outbound)) == (OUTPUT, 2)
    (again,) = world.letters
    assert (again.topic, again.value, again.timestamp) == (LETTERS, b"\x01bad", BASE_MS + 6)
    assert (again.headers[0], again.headers[-1]) == (("own", b"x"), ("scorer.attempts", b"2"))
    assert world.logs == before


def test_a_record_that_was_tried_too_often_is_refused_and_not_read() -> None:
    world = World()
    letter = replace(world.reject(4), attempts=3)
    assert world.redrive().run([letter]).refused == {"out_of_range": 1}
    assert (world.opened, world.published) == ([], [])
    assert world.redrive(attempts_max=None).run([letter]).all_passed
    assert world.redrive(attempts_max=4).run([letter]).all_passed


def test_bytes_come_from_the_letter_where_the_source_has_others_or_none_and_are_lost_where_neither_has_them() -> None:
    world = World()
    letters = [world.reject(offset) for offset in (4, 5, 6)]
    world.logs[SOURCE][0, 4] = replace(world.logs[SOURCE][0, 4], value=lead(9))
    del world.logs[SOURCE][0, 5], world.logs[SOURCE][0, 6]
    del world.logs[LETTERS][letters[2].place]
    world.logs[SOURCE][0, 8] = Stored(None, None, [], 0)
    outcome = world.redrive().run(letters)
    assert (outcome.from_source, outcome.from_letters, outcome.lost) == (0, 2, {"out_of_range": 1})
    assert (outcome.passed.total(), outcome.all_passed) == (2, False)
    world.logs[LETTERS][letters[1].place] = replace(world.logs[LETTERS][letters[1].place], value=lead(9))
    assert world.redrive().run([letters[1]]).lost == {"out_of_range": 1}, "another topic's record stands there"


def test_what_fails_again_from_its_letter_keeps_the_records_own_headers_and_no_older_notes() -> None:
    world = World()
    letter = world.reject(4, b"\x01bad", "bad_frame")
    del world.logs[SOURCE][0, 4]
    world.logs[SOURCE][0, 5] = Stored(None, None, [], 0)
    world.redrive().run([letter])
    (again,) = world.letters
    names = [name for name, _ in again.headers]
    assert again.headers[0] == ("own", b"x")
    assert len(names) == len(set(names))


def test_an_outage_of_the_registry_is_waited_out_and_rejects_nothing() -> None:
    world = World(registry_down=2)
    assert world.redrive().run([world.reject(4)]).all_passed
    assert world.said == ["neighbour.waiting"] * 2


def test_an_id_that_the_registry_does_not_know_is_rejected_at_once() -> None:
    world = World()
    letter = world.reject(4, lead(4, UNKNOWN_ID), "unknown_schema")
    assert world.redrive().run([letter]).rejected == {("unknown_schema", "unknown_schema"): 1}
    assert world.said == []


def test_a_prediction_that_is_too_large_becomes_a_dead_letter_in_its_place() -> None:
    world = World(too_large=frozenset({5}))
    outcome = world.redrive().run([world.reject(offset) for offset in (4, 5)])
    assert outcome.passed == {"out_of_range": 1}
    assert outcome.rejected == {("out_of_range", "prediction_too_large"): 1}
    (letter,) = world.letters
    assert dict(letter.headers)["__connect.errors.offset"] == b"5"


def test_records_that_have_ended_a_process_are_scored_last_and_elsewhere() -> None:
    world = World(sandbox=Sandbox(frozenset({5})))
    deadly = [world.reject(offset, None, "kills_process") for offset in (4, 5)]
    letters = [*deadly, world.reject(6), world.reject(7)]
    outcome = world.redrive().run(letters)
    assert outcome.passed == {"kills_process": 1, "out_of_range": 2}
    assert outcome.rejected == {("kills_process", "kills_process"): 1}
    assert (world.sandbox.scored, [len(outbound) for outbound, _ in world.published]) == ([4], [2, 1])
    world.stop.set()
    with pytest.raises(StoppedError):
        world.redrive().run(letters)


def test_a_rehearsal_publishes_nothing_and_knows_what_is_too_large() -> None:
    world = World()
    letters = [world.reject(4), world.reject(5, b"\x01bad", "bad_frame")]
    roomy, tight = Rehearsal({OUTPUT: 1000}, 100), Rehearsal({OUTPUT: 101}, 100)
    assert world.redrive(publisher=roomy).run(letters).passed == {"out_of_range": 1}
    found = world.redrive(publisher=tight).run(letters).rejected
    assert found == {("out_of_range", "prediction_too_large"): 1, ("bad_frame", "bad_frame"): 1}
    assert world.published == []


def test_a_rehearsal_takes_what_fits_exactly_and_leaves_what_is_too_large_to_be_answered_for() -> None:
    values = [b"v" * 9, b"v" * 10, b"v" * 8]  # with its key, the first has just the ten bytes that are left
    outbound, batch = Outbound(OUTPUT, np.arange(3), [b"k"] * 3, values, None), InFlight({}, 4)
    letter = DeadLetter(LETTERS, b"k", b"v", 0, [])
    assert Rehearsal({OUTPUT: 110}, 100).publish(outbound, [letter], batch) == [1]
    assert batch.outstanding == 1


def test_told_to_stop_it_finishes_the_batch_in_hand_and_begins_no_other() -> None:
    world = World()
    world.after_publish = world.stop.set
    letters = [world.reject(offset) for offset in range(5)]
    seen = []
    job = world.redrive(rows_max=2, progress=lambda outcome: seen.append(outcome.done))
    with pytest.raises(StoppedError):
        job.run(letters)
    assert (len(world.published), seen) == (1, [2])


def test_told_to_stop_while_it_reads_or_waits_it_calls_nothing_lost() -> None:
    world = World(registry_down=1_000)
    letter = world.reject(4)
    job = world.redrive(report=lambda *_: world.stop.set())
    with pytest.raises(StoppedError):
        job.run([letter])
    world = World(silences=5)
    job = world.redrive()
    letters = [world.reject(4)]
    world.on_silence = world.stop.set
    with pytest.raises(StoppedError):
        job.run(letters)
    assert world.published == []


def test_what_is_not_confirmed_in_time_after_a_stop_is_an_outage() -> None:
    world = World(silent=True)
    world.after_publish = world.stop.set
    with pytest.raises(TransientError, match="1 messages are not confirmed"):
        world.redrive().run([world.reject(4)])
    assert world.ms > STOP_MS_MAX


def test_all_letters_up_to_the_end_are_read_and_offsets_that_hold_no_record_are_not_waited_for() -> None:
    world = World(invisible=2)
    letters = [world.reject(offset) for offset in range(7)]
    omitted = world.logs[LETTERS][1, 6]
    world.logs[LETTERS][1, 6] = replace(omitted, value=None)
    world.logs[LETTERS][1, 3] = Stored(None, b"x", [], 0)
    found, foreign = world.topics().letters(LETTERS)
    assert ([each.place[1] for each in found], foreign) == ([0, 1, 2, 4, 5, 6], 1)
    assert found[0] == letters[0]
    assert found[-1].omitted


def test_every_reader_is_closed_also_where_reading_fails() -> None:
    world = World()
    letter = world.reject(4)
    world.redrive().run([letter])
    world.expires = True
    with pytest.raises(TransientError):
        world.topics().letters(LETTERS)
    assert world.closed == len(world.opened) > 1


def test_each_record_is_told_by_its_own_reason_wherever_its_bytes_are_from() -> None:
    world = World()
    letters = [world.reject(4, b"\x01bad", "bad_frame"), world.reject(5)]
    del world.logs[SOURCE][0, 4]
    world.logs[SOURCE][0, 8] = Stored(None, None, [], 0)
    outcome = world.redrive().run(letters)
    assert (outcome.from_source, outcome.from_letters) == (1, 1)
    assert (outcome.passed, outcome.rejected) == ({"out_of_range": 1}, {("bad_frame", "bad_frame"): 1})


def test_a_slow_broker_is_waited_for() -> None:
    world = World(silences=3)
    letter = world.reject(4)
    omitted = replace(world.logs[LETTERS][letter.place], value=None)
    world.logs[LETTERS][letter.place] = omitted
    assert world.topics().fetch(LETTERS, [letter.place]) == {letter.place: omitted}


def test_what_came_after_the_end_was_fixed_is_not_counted() -> None:
    world = World()
    world.reject(0)
    ends = world.extents(LETTERS)
    world.reject(1)
    world.extents = lambda topic: ends  # type: ignore[method-assign]  # noqa: ARG005 - the port's name
    found, _ = world.topics().letters(LETTERS)
    assert len(found) == 1


def test_records_that_expire_while_they_are_read_are_an_outage() -> None:
    world = World(expires=True)
    letter = world.reject(4)
    with pytest.raises(TransientError, match="expired"):
        world.topics().fetch(SOURCE, [letter.source])


def test_what_has_expired_or_never_was_is_not_asked_for() -> None:
    world = World(lows={SOURCE: 5})
    for offset in (4, 6):
        world.reject(offset)
    assert world.topics().fetch(SOURCE, [(0, 4), (7, 0)]) == world.topics().fetch(SOURCE, [(0, 99)]) == {}
    assert world.opened == []
    assert world.topics().fetch(SOURCE, [(0, 4), (0, 6)]).keys() == {(0, 6)}


def test_places_far_apart_are_read_in_stretches_of_their_own() -> None:
    far = 11 + GAP_MAX + 1
    assert waves([]) == []
    assert waves([(0, 10), (0, far), (1, 3), (0, far - 1)]) == [{0: (10, far + 1), 1: (3, 4)}]
    assert waves([(0, far), (0, 10), (1, 3)]) == [{0: (10, 11), 1: (3, 4)}, {0: (far, far + 1)}]
