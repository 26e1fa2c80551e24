"""Which bundle scores which record: swaps, boundaries, new owners, bundles that cannot be had."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scorer.core.deployments import Intent
from scorer.core.errors import AbortedError, ConfigError, TransientError
from scorer.core.sandbox import Death, End
from scorer.core.state import State
from scorer.core.strict import record_decoder
from scorer.core.wire import PREFIX_BYTES
from scorer.services.loading import KEPT_MAX
from tests.unit.services.deployed import activation, identity, intent
from tests.unit.services.redrive_world import Sandbox
from tests.unit.services.rollout_world import FIRST, SECOND, activations, deploy, load, second, under, versions, world
from tests.unit.services.samples import BASE_MS, lead, recipe
from tests.unit.services.surroundings import START_MS


@pytest.mark.parametrize("exactly_once", [False, True])
def test_a_swap_is_at_a_record_boundary_and_its_activation_comes_before_what_it_covers(exactly_once: bool) -> None:
    made = world(exactly_once=exactly_once)
    made.run(made.assign(0), made.leads(0, 1), lambda: deploy(made) and None, made.leads(2, 3))
    assert versions(made) == {(0, 0): FIRST, (0, 1): FIRST, (0, 2): SECOND, (0, 3): SECOND}
    assert activations(made) == [(0, 2, SECOND)]
    kinds = [kind for _, kind in (made.visible if exactly_once else made.published)]
    assert kinds == ["prediction"] * 2 + ["deployment"] + ["prediction"] * 2


@pytest.mark.parametrize("exactly_once", [False, True])
def test_a_deployment_is_announced_behind_what_is_open_which_is_committed_with_its_own_offsets(
    exactly_once: bool,
) -> None:
    made = world(exactly_once=exactly_once)
    made.run(made.assign(0), made.leads(0, 1), lambda: deploy(made) and None, made.leads(2, 3))
    commits = [entry[1] for entry in made.log if entry[0] == "commit"]
    assert commits == ([{0: 2}, {0: 2}, {0: 4}] if exactly_once else [{0: 4}])


@pytest.mark.parametrize("exactly_once", [False, True])
def test_a_broker_that_is_slow_to_confirm_a_deployment_is_waited_for_as_a_member(exactly_once: bool) -> None:
    made = world(exactly_once=exactly_once)

    def deployed() -> None:
        deploy(made)
        made.silent = True
        made.at(made.ms - START_MS + 4_000, silent=False)

    made.run(made.assign(0), made.leads(0), made.idle(600), deployed, made.leads(1))
    assert versions(made) == {(0, 0): FIRST, (0, 1): SECOND}
    assert State.WAITING in made.states()
    assert made.reports("transaction.aborted") == []


def test_after_an_announcement_no_transaction_is_open() -> None:
    made = world(exactly_once=True)
    idle_ms: list[int] = []

    def announced() -> None:
        delivery, source = made.worker.delivery, made.worker.source
        assert source is not None
        assert delivery.announce(source, made.worker.output.entries([intent(second())]), lambda _: True)
        idle_ms.append(delivery.idle_ms(1000))

    made.run(made.assign(0), announced)
    assert idle_ms == [1000]


def test_a_member_that_has_lost_everything_announces_nothing() -> None:
    made = world(exactly_once=True)
    made.run(made.assign(0), lambda: made.lose(0))
    delivery, source = made.worker.delivery, made.worker.source
    assert source is not None
    with pytest.raises(AbortedError, match="none of its partitions"):
        delivery.announce(source, made.worker.output.entries([intent(second())]), lambda _: True)


def test_a_stream_without_deployments_begins_with_the_bundle_of_its_settings() -> None:
    made = world(deployed=False)
    made.run(made.assign(0, 1), made.leads(3, 4), made.leads(7, partition=1))
    first = made.deployments[0]
    assert isinstance(first, Intent)
    assert first.bundle == identity(recipe())
    assert activations(made) == [(0, 3, FIRST), (1, 7, FIRST)]


def test_a_bundle_that_is_live_already_is_not_activated_again() -> None:
    made = world()
    made.deployments.append(intent(recipe(), 11))
    made.run(made.assign(0), made.leads(0), made.leads(1))
    assert activations(made) == []


def test_from_a_time_on_means_from_the_first_record_that_is_not_older() -> None:
    made = world()
    wanted = intent(second(), 11, BASE_MS)
    made.deployments.append(wanted)
    load(made)

    def old() -> None:
        made.deployments[-1] = replace(wanted, effective_ms=BASE_MS + 1)
        made.rollout.history.intents[11] = replace(wanted, effective_ms=BASE_MS + 1)

    made.run(made.assign(0), old, made.leads(0))  # its timestamp is BASE_MS
    assert versions(made) == {(0, 0): FIRST}
    assert activations(made) == []


def test_a_new_owner_follows_what_the_old_one_has_activated() -> None:
    made = world()
    wanted = intent(second(), len(made.deployments))
    made.deployments += [wanted, activation(wanted, 0, 2)]
    load(made)
    made.run(made.assign(0, 1), made.batch(*((0, offset, lead(offset)) for offset in range(4)), (1, 5, lead(5))))
    assert versions(made) == {(0, 0): FIRST, (0, 1): FIRST, (0, 2): SECOND, (0, 3): SECOND, (1, 5): SECOND}
    assert activations(made) == [(1, 5, SECOND)]


def test_history_is_read_to_its_end_before_a_record_of_a_new_partition_is_scored() -> None:
    made = world()
    wanted = intent(second(), len(made.deployments))
    load(made)

    def assigned() -> None:
        made.owned.add(0)
        made.worker.assigned({0: 0})
        made.deployments += [wanted, activation(wanted, 0, 0)]  # confirmed before the partition was ours

    made.run(assigned, made.leads(0))
    assert versions(made) == {(0, 0): SECOND}


def test_an_activation_that_came_too_late_is_set_right() -> None:
    made = world()

    def strayed() -> None:
        wanted = deploy(made)
        made.deployments.append(activation(wanted, 0, 1))  # by a member that had been given up by then
        made.rollout.look()

    made.run(made.assign(0), made.leads(0, 1, 2), strayed, made.leads(3))
    assert versions(made) == {(0, 0): FIRST, (0, 1): FIRST, (0, 2): FIRST, (0, 3): SECOND}
    assert activations(made) == [(0, 1, FIRST), (0, 3, SECOND)]
    spans = made.rollout.history.of(0)
    told = [bundle.version for bundle in map(spans.at, range(4)) if bundle is not None]
    assert told == [FIRST, FIRST, FIRST, SECOND]


def test_a_bundle_that_cannot_be_loaded_leaves_the_old_one_live_and_is_told() -> None:
    made = world()
    made.recipes[second().model.bundle.sha256] = ConfigError("there is no bundle at place")
    made.run(made.assign(0), made.leads(0), lambda: deploy(made) and None, made.leads(1))
    assert versions(made) == {(0, 0): FIRST, (0, 1): FIRST}
    assert activations(made) == []
    (told,) = made.reports("deployment.refused")
    assert (told["model"], told["why"]) == ("lead/2", "there is no bundle at place")


def test_a_partition_begins_with_the_old_bundle_while_nobody_gives_the_new_one() -> None:
    made = world(deployed=False)
    made.recipes[second().model.bundle.sha256] = TransientError("the storage is away")

    def deployed() -> None:
        made.deployments.append(intent(second(), len(made.deployments)))
        made.rollout.look()

    made.run(made.assign(0, 1), made.leads(0), deployed, made.leads(1), made.leads(7, partition=1))
    assert versions(made) == {(0, 0): FIRST, (0, 1): FIRST, (1, 7): FIRST}
    assert activations(made) == [(0, 0, FIRST), (1, 7, FIRST)]


def test_another_intent_for_a_bundle_that_was_refused_is_tried_anew() -> None:
    made = world()
    sha256 = second().model.bundle.sha256
    made.recipes[sha256] = ConfigError("not yet")

    def again() -> None:
        made.recipes[sha256] = second()
        deploy(made)

    made.run(made.assign(0), lambda: deploy(made) and None, made.leads(0), again, made.leads(1))
    assert versions(made) == {(0, 0): FIRST, (0, 1): SECOND}


def test_without_the_bundle_that_was_live_its_records_wait_for_an_operator() -> None:
    made = world()
    gone = replace(intent(recipe()).bundle, sha256="f" * 64)
    first = activation(made.rollout.first, 0, 2)
    made.deployments += [replace(first, first_offset=0, bundle=gone), first]
    made.at(5_000, made.stop.set)
    made.run(made.assign(0), made.leads(0, 1, 2))
    assert State.HALTED in made.states()
    assert versions(made) == {}


@pytest.mark.parametrize("exactly_once", [False, True])
def test_a_batch_over_more_bundles_than_are_kept_is_scored_by_as_many_as_there_are_at_a_time(
    exactly_once: bool,
) -> None:
    made = world(exactly_once=exactly_once)
    offsets = range(KEPT_MAX + 3)
    for offset in offsets[1:]:
        recipe_there = under(str(offset + 1))
        made.recipes[recipe_there.model.bundle.sha256] = recipe_there
        wanted = intent(recipe_there, len(made.deployments))
        made.deployments += [wanted, activation(wanted, 0, offset), activation(wanted, 1, 0)]
    made.run(made.assign(0, 1), made.batch(*((0, each, lead(each)) for each in offsets), (1, 7, lead(7))))
    assert versions(made) == {**{(0, each): str(each + 1) for each in offsets}, (1, 7): str(len(offsets))}
    assert activations(made) == []
    assert made.committed == {0: len(offsets), 1: 8}


def test_what_comes_before_a_bundle_that_cannot_be_had_is_scored() -> None:
    made = world()
    gone = replace(intent(recipe()).bundle, sha256="f" * 64)
    first = activation(made.rollout.first, 0, 3)
    made.deployments += [replace(first, first_offset=2, bundle=gone), first]
    made.at(5_000, made.stop.set)
    made.run(made.assign(0), made.leads(0, 1, 2, 3))
    assert State.HALTED in made.states()
    assert versions(made) == {(0, 0): FIRST, (0, 1): FIRST}
    assert made.committed == {0: 2}


def test_an_aborted_transaction_takes_no_activation_with_it() -> None:
    made = world(exactly_once=True)

    def aborts() -> None:
        deploy(made)
        made.commits_fail.append(AbortedError("once"))

    made.run(made.assign(0), made.leads(0), made.idle(150), aborts, made.leads(1), made.leads(1), made.idle(150))
    assert made.visible[-1] == ((0, 1), "prediction")
    assert activations(made)[-1] == (0, 1, SECOND)
    assert made.scored[-1].outbound.values
    assert record_decoder(recipe().writer)(made.scored[-1].outbound.values[0], PREFIX_BYTES)["model_version"] == SECOND


def test_what_was_scored_in_an_aborted_transaction_is_held_against_no_deployment_since() -> None:
    made = world(exactly_once=True)
    aborted = (made.leads(1), lambda: made.commits_fail.append(AbortedError("once")), made.idle(150))
    made.run(made.assign(0), made.leads(0), made.idle(150), *aborted, lambda: deploy(made) and None, made.leads(1))
    assert activations(made) == [(0, 1, SECOND)]


def test_told_to_stop_while_a_suspect_record_is_tried_nothing_behind_it_is_published() -> None:
    made = world()
    wanted = intent(second(), len(made.deployments))
    made.deployments += [wanted, activation(wanted, 0, 2)]
    load(made)

    class Stopped(Sandbox):
        def score(self, *_: object) -> Death:
            made.stop.set()
            return Death(End.DIED, False, "SIGSEGV")

    made.worker.suspects.sandbox = Stopped(frozenset())
    made.run(made.assign(0), lambda: made.worker.suspects.until.update({0: 2}), made.leads(0, 1, 2, 3))
    assert (made.published, made.committed) == ([], {})


def test_the_metrics_and_the_log_name_the_bundle_that_serves() -> None:
    made = world()
    made.run(made.assign(0), made.leads(0), lambda: deploy(made) and None, made.leads(1))
    assert [entry[1] for entry in made.log if entry[0] == "serving"] == ["lead/1", "lead/2"]
    assert [each["model"] for each in made.reports("stream.serving")] == ["lead/1", "lead/2"]


def test_a_topic_that_was_made_anew_under_a_worker_is_left_to_a_new_process() -> None:
    made = world()
    with pytest.raises(TransientError, match="made anew"):
        made.run(
            made.assign(0),
            made.leads(0, 1),
            made.idle(600),
            lambda: made.revoke(0),
            lambda: setattr(made, "topic_id", "another"),
            made.assign(0),
            made.leads(2),
        )
    assert sorted(versions(made)) == [(0, 0), (0, 1)]
