"""One process, one stream: what is published, what is confirmed, and only then what is committed.

Every test also runs under the checks of its surroundings (see there).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from scorer.core.errors import ConfigError, TransientError
from scorer.core.records import RecordBatch, Scored
from scorer.core.sandbox import UNFINISHED_MIN, Death
from scorer.core.state import State
from tests.unit.services.redrive_world import Sandbox
from tests.unit.services.samples import BAD, EVENT_TEXT, LATE_ID, lead
from tests.unit.services.surroundings import World


def commits(world: World) -> list[dict[int, int]]:
    return [entry[1] for entry in world.log if entry[0] == "commit"]


def test_every_record_is_published_in_order_confirmed_and_committed() -> None:
    world = World()
    world.run(world.assign(0, 1), world.leads(0, 1, 2), world.leads(0, 1, partition=1), world.leads(3))
    places = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (0, 3)]
    assert world.published == [(place, "prediction") for place in places]
    assert world.committed == {0: 4, 1: 2}


def test_records_of_two_partitions_in_one_batch_are_both_committed() -> None:
    world = World()
    world.run(world.assign(0, 1), world.batch((0, 5, lead()), (1, 8, lead(1)), (0, 6, lead(2))))
    assert world.committed == {0: 7, 1: 9}


def test_nothing_is_committed_before_it_is_confirmed_however_long_that_takes() -> None:
    world = World(silent=True)
    world.at(3000, silent=False)
    world.run(world.assign(0), world.leads(0, 1), *[world.idle(100)] * 40)
    assert commits(world)[0] == {0: 2}
    assert world.times("commit")[0] >= 3000


def test_a_batch_is_confirmed_only_when_all_its_deliveries_are() -> None:
    world = World(silent=True)

    def confirm_one() -> None:
        each = next(each for each in world.deliveries if not each.confirmed)
        each.confirmed = True
        each.batch.outstanding -= 1

    for ms in (100, 200, 900):
        world.at(ms, confirm_one)
    world.run(world.assign(0), world.leads(0, 1, 2), *[world.idle(100)] * 20)
    assert world.times("commit")[0] >= 900
    assert world.committed == {0: 3}


@pytest.mark.parametrize("idle_ms", [600, 100], ids=["committed before", "committed on leaving"])
def test_a_delivery_failure_ends_the_process_with_all_before_it_committed_and_nothing_behind(idle_ms: float) -> None:
    world = World()
    fail = world.leads(2, 3)

    def failing() -> Any:
        world.silent, world.failure = True, "no broker takes it"
        return fail()

    with pytest.raises(TransientError, match="no broker takes it"):
        world.run(world.assign(0), world.leads(0, 1), world.idle(idle_ms), failing, world.leads(4))
    assert world.committed == {0: 2}
    assert ((0, 4), "prediction") not in world.published


@pytest.mark.parametrize("exactly_once", [False, True])
def test_lag_is_told_by_time_whatever_is_committed_and_no_longer_of_a_partition_that_is_gone(
    exactly_once: bool,
) -> None:
    world = World(exactly_once=exactly_once)
    idle = [world.idle(100)] * 40
    world.run(world.assign(0, 1), world.leads(0), *idle, lambda: world.revoke(1), *idle)
    told = world.times("lag", {0: 0, 1: 0})
    assert (len(told), max(told)) == (8, pytest.approx(4000, abs=500))
    assert len(world.times("lag", {0: 0})) == 8


def test_an_empty_stop_commits_nothing_and_leaves() -> None:
    world = World()
    world.run(world.assign(0))
    assert commits(world) == []
    assert world.states()[-1] is State.STOPPING


def test_tombstones_advance_offsets_and_are_not_published() -> None:
    world = World()
    world.run(world.assign(0), world.batch((0, 0, lead()), (0, 1, None)), world.batch((0, 2, None), (0, 3, None)))
    assert world.published == [((0, 0), "prediction")]
    assert world.committed == {0: 4}


def test_a_batch_of_rejections_alone_is_committed_only_after_its_dead_letters_are_confirmed() -> None:
    world = World(silent=True)
    world.at(2000, silent=False)
    world.run(world.assign(0), world.batch((0, 0, BAD), (0, 1, b"")), *[world.idle(100)] * 30)
    assert world.published == [((0, 0), "letter"), ((0, 1), "letter")]
    assert world.times("commit")[0] >= 2000
    assert world.committed == {0: 2}


def test_a_bad_record_becomes_a_dead_letter_and_costs_its_neighbours_nothing() -> None:
    world = World()
    world.run(world.assign(0), world.batch((0, 0, lead()), (0, 1, BAD), (0, 2, lead(2))))
    assert sorted(world.published) == [((0, 0), "prediction"), ((0, 1), "letter"), ((0, 2), "prediction")]
    (letter,) = world.letters
    headers = dict(letter.headers)
    assert (letter.topic, letter.key, letter.value) == ("events.new-lead.dead-letter", b"key", BAD)
    assert headers["__connect.errors.connector.name"] == b"scorer.lead"
    assert headers["__connect.errors.exception.class.name"] == b"bad_frame"
    assert headers["scorer.model"] == b"lead/1"
    assert world.committed == {0: 3}


def test_a_prediction_that_is_too_large_becomes_a_dead_letter_that_its_batch_waits_for() -> None:
    world = World(silent=True, too_large=frozenset({1}))
    world.at(2000, silent=False)
    world.run(world.assign(0), world.leads(0, 1, 2), *[world.idle(100)] * 30)
    assert sorted(world.published) == [((0, 0), "prediction"), ((0, 1), "letter"), ((0, 2), "prediction")]
    assert len({id(each.batch) for each in world.deliveries}) == 1
    headers = dict(world.letters[0].headers)
    assert headers["__connect.errors.exception.class.name"] == b"prediction_too_large"
    assert headers["__connect.errors.stage"] == b"ENCODE"
    assert headers["__connect.errors.exception.message"] == b"predictions.lead-score does not take it"
    assert world.letters[0].value == lead(1)
    assert world.times("commit")[0] >= 2000
    assert world.committed == {0: 3}


def test_metrics_count_a_prediction_that_is_too_large_as_rejected() -> None:
    world = World(too_large=frozenset({1}))
    world.run(world.assign(0), world.leads(0, 1, 2))
    (scored,) = world.scored
    assert scored.outbound.rows.tolist() == [0, 2]
    assert [(each.row, each.reason) for each in scored.rejections] == [(1, "prediction_too_large")]


def test_records_that_starts_before_came_to_no_good_end_over_are_scored_in_the_sandbox() -> None:
    world = World(unfinished={0: UNFINISHED_MIN})
    sandbox = world.worker.suspects.sandbox = Sandbox(frozenset({1}))
    world.run(world.assign(0), world.leads(0, 1), world.leads(2))
    assert sandbox.scored == [0, 2]
    assert world.published == [((0, 1), "letter"), ((0, 0), "prediction"), ((0, 2), "prediction")]


def test_the_group_keeps_us_while_suspect_records_are_tried_one_by_one() -> None:
    world = World(unfinished={0: UNFINISHED_MIN})

    class Slow(Sandbox):
        def score(self, batch: RecordBatch, *others: Any) -> Scored | Death:
            world.advance(200)
            return super().score(batch, *others)

    world.worker.suspects.sandbox = Slow(frozenset({4}))
    world.run(world.assign(0), world.leads(*range(10)))
    assert len(world.times("hold")) >= 10


def test_offsets_are_committed_by_time_not_by_batch() -> None:
    world = World(commit_every_ms=500)
    steps = [step for offset in range(100) for step in (world.leads(offset), world.idle(19))]
    world.run(world.assign(0), *steps)
    assert len(commits(world)) <= 6
    times = world.times("commit")
    assert all(later - earlier >= 500 for earlier, later in pairwise(times[:-1]))
    assert world.committed == {0: 100}


def test_an_offset_that_is_committed_is_not_committed_again() -> None:
    world = World()
    world.run(world.assign(0), world.leads(0), *[world.idle(100)] * 60)
    assert commits(world) == [{0: 1}]


def test_a_commit_that_the_broker_did_not_take_is_tried_again() -> None:
    world = World(refuses=True)
    world.at(2900, refuses=False)
    world.run(world.assign(0), world.leads(0), *[world.idle(100)] * 60)
    assert len(commits(world)) >= 4
    assert world.committed == {0: 1}


def test_at_most_one_batch_is_ahead_of_the_confirmed() -> None:
    world = World(silent=True)
    world.at(5000, silent=False)
    world.run(world.assign(0), world.leads(0), world.leads(1), world.leads(2), world.leads(3))
    waited = [at for at in world.times("publish", 1, 0) if at < 5000]
    assert len(waited) == 2
    assert world.committed == {0: 4}


def test_a_broker_that_is_silent_makes_the_stream_wait_as_a_member_and_say_so() -> None:
    world = World(silent=True)
    world.at(5000, silent=False)
    world.run(world.assign(0), world.leads(0), world.leads(1), world.leads(2), world.idle(1))
    assert State.WAITING in world.states()
    why = next(entry[2] for entry in world.log if entry[:2] == ("state", State.WAITING))
    assert why.startswith("2 batches unconfirmed for 10")
    holds = world.times("hold")
    assert 1000 < holds[0] < 1200
    assert max(later - earlier for earlier, later in pairwise(holds)) < 1000
    assert world.states()[-2:] == [State.RUNNING, State.STOPPING]


def test_a_stream_that_is_quiet_is_not_ready_while_what_it_has_published_is_unconfirmed_for_long() -> None:
    world = World(silent=True)
    world.at(5000, silent=False)
    world.run(world.assign(0), world.leads(0), world.leads(1), *[world.idle(100)] * 60)
    assert world.states() == [State.RUNNING, State.WAITING, State.RUNNING, State.STOPPING]
    why = next(entry[2] for entry in world.log if entry[:2] == ("state", State.WAITING))
    assert why.startswith("2 batches unconfirmed for 10")


def test_a_stream_whose_batches_are_confirmed_one_after_another_stays_ready_however_slow_the_broker_is() -> None:
    world = World(silent=True)

    def confirm() -> None:
        each = next(each for each in world.deliveries if not each.confirmed)
        each.confirmed, each.batch.outstanding = True, 0

    for number in range(1, 9):
        world.at(700 * number, confirm)
    world.run(world.assign(0), *(step for n in range(8) for step in (world.leads(n), world.idle(699))))
    assert world.states() == [State.RUNNING, State.STOPPING]


def test_a_stream_starts_runs_and_says_when_it_has_no_partitions() -> None:
    world = World()
    world.run(world.idle(5), world.assign(0), world.leads(0), lambda: world.revoke(0), world.idle(5))
    assert world.states() == [State.RUNNING, State.STARTING, State.STOPPING]
    assert world.status.detail == "draining"
    assert ("state", State.STARTING, "no partitions assigned") in world.log


def test_a_broker_that_is_away_makes_an_idle_stream_wait_and_not_ready() -> None:
    world = World()
    away, back = (lambda: setattr(world, "away", "no broker")), (lambda: setattr(world, "away", None))
    world.run(world.assign(0), away, world.idle(5), back, world.leads(0))
    assert world.states() == [State.RUNNING, State.WAITING, State.RUNNING, State.STOPPING]
    assert world.committed == {0: 1}


def test_an_unknown_schema_is_waited_for_as_a_member_and_then_scored() -> None:
    world = World()
    world.at(3000, lambda: world.texts.update({LATE_ID: EVENT_TEXT}))
    world.run(world.assign(0), world.leads(0, schema_id=LATE_ID), world.leads(1))
    assert world.published == [((0, 0), "prediction"), ((0, 1), "prediction")]
    assert 3000 <= world.times("publish")[0] < 8000
    assert len(world.times("hold")) >= 29
    assert any("schema id 99" in entry[2] for entry in world.log if entry[:2] == ("state", State.WAITING))
    assert world.committed == {0: 2}


def test_an_unknown_schema_is_rejected_after_its_grace() -> None:
    world = World()
    world.run(world.assign(0), world.batch((0, 0, lead()), (0, 1, lead(1, LATE_ID))))
    assert sorted(world.published) == [((0, 0), "prediction"), ((0, 1), "letter")]
    assert world.times("publish")[0] >= 10_000


def test_a_registry_that_is_down_is_waited_out_and_rejects_nothing() -> None:
    world = World(registry_down=True)
    world.at(120_000, registry_down=False)
    world.run(world.assign(0), world.leads(0))
    assert world.published == [((0, 0), "prediction")]
    assert world.times("publish")[0] >= 120_000


def test_what_is_confirmed_is_committed_while_a_later_batch_waits() -> None:
    world = World()
    world.at(3000, lambda: world.texts.update({LATE_ID: EVENT_TEXT}))
    world.run(world.assign(0), world.leads(0), world.leads(1, schema_id=LATE_ID))
    assert world.times("commit", {0: 1})[0] < 1000


def test_a_registry_that_refuses_us_ends_the_process_uncommitted() -> None:
    world = World()

    def refuse(_: int) -> str:
        raise ConfigError("HTTP 401")

    world.text = refuse  # type: ignore[method-assign]
    with pytest.raises(ConfigError):
        world.run(world.assign(0), world.leads(0))
    assert world.committed == {}
