"""Partitions for which nothing more is to come are scored without a look at the history, until something is said."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import pytest

from scorer.core.deployments import Entry
from scorer.core.errors import AbortedError, ConfigError
from scorer.core.state import State
from scorer.core.strict import record_decoder
from scorer.core.wire import PREFIX_BYTES
from scorer.services.loading import Bundles
from tests.unit.services.deployed import WorldLog, activation, intent
from tests.unit.services.rollout_world import FIRST, SECOND, activations, deploy, load, second, under, versions, world
from tests.unit.services.samples import BASE_MS, recipe

THIRD = "3"


def test_a_bundle_that_is_still_loaded_goes_live_again_though_nothing_is_to_be_loaded_for_it() -> None:
    made = world()

    def back() -> None:
        made.deployments.append(intent(recipe(), len(made.deployments)))
        made.rollout.look()

    made.run(
        made.assign(0), made.leads(0), lambda: deploy(made) and None, made.leads(1), made.leads(2), back, made.leads(3)
    )
    assert versions(made) == {(0, 0): FIRST, (0, 1): SECOND, (0, 2): SECOND, (0, 3): FIRST}


def test_what_is_read_again_after_an_abort_is_scored_with_what_was_live_at_each_record() -> None:
    made = world(exactly_once=True)
    made.commits_fail = deque([AbortedError("once")])
    wanted = intent(second(), len(made.deployments))
    made.deployments += [wanted, activation(wanted, 0, 2)]
    load(made)
    batch = made.leads(0, 1, 2, 3)
    made.run(made.assign(0), batch, made.idle(150), batch, made.idle(150))
    decode = record_decoder(recipe().writer)
    again = [decode(value, PREFIX_BYTES) for scored in made.scored[2:] for value in scored.outbound.values]
    assert [each["model_version"] for each in again] == [FIRST, FIRST, SECOND, SECOND]
    assert [place for place, _ in made.visible] == [(0, at) for at in range(4)]


def test_an_activation_that_came_too_late_is_set_right_up_to_what_was_scored_the_short_way() -> None:
    made = world()

    def strayed() -> None:
        wanted = deploy(made)
        made.deployments.append(activation(wanted, 0, 2))
        made.rollout.look()

    made.run(made.assign(0), made.leads(0), made.leads(1), made.leads(2, 3), strayed, made.leads(4))
    assert versions(made) == {**{(0, at): FIRST for at in range(4)}, (0, 4): SECOND}
    assert activations(made) == [(0, 2, FIRST), (0, 4, SECOND)]


def test_partitions_of_two_bundles_keep_each_its_own_while_a_third_one_is_refused() -> None:
    made = world()
    third = under(THIRD)
    made.recipes[third.model.bundle.sha256] = ConfigError("there is no bundle at place")
    wanted = intent(second(), len(made.deployments))
    made.deployments += [wanted, activation(wanted, 0, 0)]
    load(made)
    made.deployments.append(intent(third, len(made.deployments)))
    load(made)
    turns = [made.leads(at, partition=partition) for at in range(4) for partition in (0, 1)]
    made.run(made.assign(0, 1), *turns)
    assert versions(made) == {(at % 2, at // 2): (SECOND, FIRST)[at % 2] for at in range(8)}
    assert activations(made) == []


def test_a_newer_bundle_goes_live_behind_what_is_activated_already_and_not_before_it() -> None:
    made = world()
    third = under(THIRD)
    made.recipes[third.model.bundle.sha256] = third
    wanted = intent(second(), len(made.deployments))
    made.deployments += [wanted, activation(wanted, 0, 2)]
    made.deployments.append(intent(third, len(made.deployments)))
    load(made)
    made.run(made.assign(0), made.leads(0, 1), made.leads(2, 3))
    assert versions(made) == {(0, 0): FIRST, (0, 1): FIRST, (0, 2): THIRD, (0, 3): THIRD}


def test_a_history_that_comes_piece_by_piece_is_read_to_its_end_before_a_record_is_scored() -> None:
    class OneByOne(WorldLog):
        def read(self, wait_ms_max: int) -> list[Entry]:  # noqa: ARG002 - the port's name
            found = made.deployments[self.position : self.position + 1]
            self.position += len(found)
            return found

    made = world()
    made.rollout.log = OneByOne(made)
    load(made)
    wanted = intent(second(), len(made.deployments))

    def assigned() -> None:
        made.owned.add(0)
        made.worker.assigned({0: 0})
        made.deployments += [wanted, activation(wanted, 0, 0)]

    made.run(assigned, made.leads(0))
    assert versions(made) == {(0, 0): SECOND}


def test_a_partition_begins_with_what_is_in_effect_though_a_newer_bundle_is_to_come() -> None:
    made = world(deployed=False)
    third = under(THIRD)
    made.recipes[third.model.bundle.sha256] = third
    made.deployments += [intent(third, 0), intent(second(), 1, BASE_MS + 60_000)]
    made.run(made.assign(0), made.leads(0))
    assert versions(made) == {(0, 0): THIRD}


def test_a_stream_none_of_whose_bundles_can_be_had_halts_and_says_why() -> None:
    made = world(deployed=False)
    made.rollout.bundles = Bundles(made.load, made.report, made.stop)
    first = replace(made.rollout.first, number=0)
    made.recipes[first.bundle.sha256] = ConfigError("there is no bundle at place")
    made.deployments.append(first)
    load(made)
    made.at(5_000, made.stop.set)
    made.run(made.assign(0), made.leads(0))
    why = "no deployment of lead can be served: there is no bundle at place; see: scorer deployments"
    assert ("state", State.HALTED, why) in made.log


def test_a_bug_in_a_loading_thread_ends_the_process() -> None:
    made = world()

    def fails() -> None:
        made.rollout.bundles.failure = RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        made.run(made.assign(0), made.leads(0), fails, made.leads(1))
