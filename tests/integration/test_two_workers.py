"""Two workers share a topic under load; one is killed, one is stopped, a third goes on: nothing is lost."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.harness.claims import in_order, place, scored_at_least_once, scored_right
from tests.harness.events import encoder, messages, sampled
from tests.harness.plain_scorer import PlainScorer
from tests.harness.topics import (
    PARTITIONS,
    ROOT,
    Raw,
    committed,
    fresh_group,
    members,
    read_raw,
    register,
    sending,
    shipped_schema,
    stream_topics,
)
from tests.harness.workers import Worker, stream, worker, write_settings
from tests.oracle import python_reader
from tests.oracle.record import Record

pytestmark = pytest.mark.timeout(240)

RATE = 800.0
EVENTS_MAX = 80_000
SESSION_MS = 6_000
COMMIT_MS = 2_000
GRACE_S = 20.0
HAND_OVER_S_MAX = 3.0
ALL = set(range(PARTITIONS))


@dataclass(frozen=True, slots=True)
class Faults:
    """What was done to the workers.

    Attributes:
        killed_held: the partitions that the killed worker held.
        killed_scored: how many events it had scored.
        killed_at_ms: when it was killed.
        stopped_code, stopped_s: how the stopped worker ended, and how long that took.
        members_after: members of the group as soon as it had ended.
        handed_over_s: from its end until the third worker held every partition.
    """

    killed_held: set[int]
    killed_scored: float
    killed_at_ms: float
    stopped_code: int
    stopped_s: float
    members_after: int
    handed_over_s: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it: records as read at the end, the third worker's exit code, the group's offsets after it."""

    faults: Faults
    sources: list[Raw]
    predictions: list[Record]
    letters: list[Raw]
    third_code: int
    offsets: dict[int, int]


@pytest.fixture(scope="module", params=["cooperative-sticky", "range"])
def outcome(
    kafka: str, registry: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Outcome]:
    group = fresh_group()
    with ExitStack() as stack:
        topics = stack.enter_context(stream_topics(kafka))
        register(registry, topics.predictions, shipped_schema("predictions.lead-score"))
        schema = shipped_schema("events.new-lead")
        encode = encoder(register(registry, topics.events, schema), schema)
        events = messages(sampled("lead", EVENTS_MAX), "lead_id", encode)

        def start(name: str) -> Worker:
            config = write_settings(
                tmp_path_factory.mktemp(name),
                kafka=kafka,
                registry=registry,
                group=group,
                streams=[stream("lead", "lead/1", topics)],
                commit={"every_ms": COMMIT_MS},
                kafka_consumer={"session.timeout.ms": SESSION_MS, "partition.assignment.strategy": request.param},
            )
            return stack.enter_context(worker(config, name=name))

        first, second = start("first"), start("second")
        first.until(lambda: len(first.owned()) == len(second.owned()) == PARTITIONS / 2, "sharing the partitions")
        stop = stack.enter_context(sending(kafka, topics.events, events, RATE))
        faults, third = _faults(first, second, start, lambda: members(kafka, f"{group}.lead"))
        count = stop()
        predictions = python_reader.read_all(kafka, topics.predictions, registry, at_least=count, wait_s_max=60)
        third.signal(signal.SIGTERM)
        third_code = third.wait()
        sources, letters = read_raw(kafka, topics.events, count), read_raw(kafka, topics.letters)
        offsets = committed(kafka, f"{group}.lead", topics.events)
        yield Outcome(faults, sources, predictions, letters, third_code, offsets)


def test_nothing_is_lost_and_repeats_carry_the_same_id_and_score(outcome: Outcome) -> None:
    assert outcome.letters == []
    repeated = scored_at_least_once(outcome.predictions, outcome.sources)
    assert repeated, "the killed worker had published nothing that was not committed: the test shows nothing"
    assert len(repeated) <= RATE * (COMMIT_MS + 1_000) / 1_000


def test_only_a_kill_makes_repeats_and_a_clean_stop_makes_none(outcome: Outcome) -> None:
    repeated = scored_at_least_once(outcome.predictions, outcome.sources)
    assert {partition for partition, _ in repeated} <= outcome.faults.killed_held
    for records in repeated.values():
        assert len(records) == 2
        times = sorted((record["value"] or {})["scored_at"] for record in records)
        assert times[0] <= outcome.faults.killed_at_ms < times[1], "a partition was handed over without its offsets"


def test_scores_are_those_of_a_plain_scorer_whoever_made_them(outcome: Outcome, registry: str) -> None:
    scored_right(outcome.predictions, outcome.sources, PlainScorer(ROOT / "models" / "lead" / "1"), registry)


def test_first_predictions_come_in_the_order_of_their_events(outcome: Outcome) -> None:
    first = {place(record): record for record in reversed(outcome.predictions)}
    kept = {(record["partition"], record["offset"]) for record in first.values()}
    in_order([record for record in outcome.predictions if (record["partition"], record["offset"]) in kept])


def test_a_worker_told_to_stop_under_load_ends_well_and_leaves_the_group_at_once(outcome: Outcome) -> None:
    faults = outcome.faults
    assert faults.stopped_code == 0
    assert faults.stopped_s < GRACE_S
    assert faults.members_after == 1
    assert faults.handed_over_s < HAND_OVER_S_MAX < SESSION_MS / 1000


def test_the_last_worker_commits_all_that_it_has_read(outcome: Outcome) -> None:
    ends = dict.fromkeys(ALL, 0)
    for source in outcome.sources:
        ends[source.partition] = max(ends[source.partition], source.offset + 1)
    assert outcome.third_code == 0
    assert outcome.offsets == ends


def test_the_faults_came_while_work_was_going_on(outcome: Outcome) -> None:
    assert outcome.faults.killed_held
    assert outcome.faults.killed_held < ALL
    assert outcome.faults.killed_scored > RATE / 2
    assert len(outcome.sources) > 5_000


def _faults(
    first: Worker, second: Worker, start: Callable[[str], Worker], members_now: Callable[[], int]
) -> tuple[Faults, Worker]:
    first.until(lambda: first.metric("scorer_records_scored_total") > RATE, "under load")
    killed_held, killed_scored = first.owned(), first.metric("scorer_records_scored_total")
    first.signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    killed_at_ms = time.time() * 1000
    third = start("third")
    third.until(lambda: third.owned() and third.owned() | second.owned() == ALL, "a member beside the second")
    time.sleep(1.0)
    stopped_at_s = time.monotonic()
    second.signal(signal.SIGTERM)
    code = second.wait()
    ended_at_s = time.monotonic()
    left = members_now()
    third.until(lambda: third.owned() == ALL, "the owner of every partition")
    handed_over_s = time.monotonic() - ended_at_s
    time.sleep(1.0)
    return Faults(killed_held, killed_scored, killed_at_ms, code, ended_at_s - stopped_at_s, left, handed_over_s), third
