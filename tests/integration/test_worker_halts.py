"""Where going on would flood or lose data, a stream stands still: alive, not ready, in its group, uncommitted."""

from __future__ import annotations

import re
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from scorer.cli.exits import ExitCode
from tests.harness.claims import place, places
from tests.harness.lead_stream import LeadStream, lead_stream
from tests.harness.topics import PARTITIONS, delete_topics, members, read_raw
from tests.harness.verified import make_topic
from tests.harness.workers import Worker, scorer, worker
from tests.oracle import python_reader

pytestmark = pytest.mark.timeout(150)

GOOD, BAD = 400, 600
SESSION = {"session.timeout.ms": 6_000}


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (
            {"run_rows_max": 50, "window_rows": 100_000},
            r"\d+ records in a row were rejected, more than 50; the latest: ",
        ),
        (
            {"ratio_max": 0.2, "window_rows": 300, "run_rows_max": 10_000},
            r"\d+ of the latest \d+ records were rejected, more than 20%; the latest: ",
        ),
    ],
    ids=["a run", "a share"],
)
def test_a_flood_of_rejections_halts_the_stream_until_somebody_has_looked(
    kafka: str, registry: str, tmp_path: Path, limits: dict[str, float], says: str
) -> None:
    with lead_stream(kafka, registry, tmp_path) as leads:
        with worker(leads.settings(rejections=limits, kafka_consumer=SESSION)) as running:
            running.wait_ready()
            leads.send(GOOD)
            leads.predictions(GOOD)
            leads.send_values(b"\1poison" for _ in range(BAD))
            _stands_still(running, leads, says + "decode, bad_frame: the first byte is 1, not 0")
            flooded = len(leads.letters())
            time.sleep(2.0)
            assert len(leads.letters()) == flooded < BAD
            assert sum(leads.committed().values()) == GOOD + flooded, (
                "the rest is read again once it has been looked at"
            )
            running.signal(signal.SIGTERM)
            assert running.wait() == 0
        generous = {"ratio_max": 1.0, "window_rows": 1_000, "run_rows_max": 10_000}
        with worker(leads.settings(rejections=generous, kafka_consumer=SESSION), name="next") as following:
            following.wait_ready()
            letters = leads.letters(BAD)
        assert len(letters) == BAD, "every bad record became one dead letter, whenever it did"
        assert len(leads.predictions()) == GOOD


def test_a_lost_range_halts_the_stream_and_is_named(kafka: str, registry: str, tmp_path: Path) -> None:
    with lead_stream(kafka, registry, tmp_path) as leads:
        with worker(leads.settings()) as running:
            running.wait_ready()
            leads.send(GOOD, seed=1)
            leads.predictions(GOOD)
            running.signal(signal.SIGTERM)
            assert running.wait() == 0
        committed = leads.committed()
        leads.send(GOOD, seed=2)
        lost = _truncate(leads, partition=2, offset=committed[2] + 10)
        with worker(leads.settings(), name="next") as following:
            named = f"{leads.topics.events}/2: offsets {committed[2]} to {lost - 1} are gone"
            _stands_still(following, leads, re.escape(named))
            assert "--reset-offsets" in following.health("ready")[1]["detail"]
            assert leads.committed() == committed
            assert len(leads.predictions()) == GOOD, "nothing was skipped in silence"
            following.signal(signal.SIGTERM)
            assert following.wait() == 0
        _reset(leads, partition=2, offset=lost)
        with worker(leads.settings(), name="last") as last:
            last.wait_ready()
            predictions = leads.predictions(2 * GOOD - (lost - committed[2]))
        scored = [place(record) for record in predictions]
        assert len(set(scored)) == len(scored) == 2 * GOOD - (lost - committed[2])
        assert places(leads.sources()) <= set(scored)


def test_a_topic_that_is_made_anew_under_a_worker_is_scored_by_its_next_process(
    kafka: str, registry: str, tmp_path: Path
) -> None:
    quick = {"topic.metadata.refresh.interval.ms": 1_000}
    with lead_stream(kafka, registry, tmp_path) as leads:
        with worker(leads.settings(kafka_consumer=quick)) as running:
            running.wait_ready()
            leads.send(GOOD, seed=1)
            before = Counter(map(place, leads.predictions(GOOD)))
            delete_topics(kafka, leads.topics.events)
            running.until(lambda: running.events("partitions.lost"), "without partitions")
            make_topic(kafka, leads.topics.events)
            leads.send(GOOD, seed=2)
            assert running.wait() == ExitCode.UNREACHABLE
            assert "made anew" in running.events("process.failed")[0]["error"]
        assert len(leads.predictions()) == GOOD
        with worker(leads.settings(), name="next") as following:
            following.wait_ready()
            scored = Counter(map(place, leads.predictions(2 * GOOD)))
            assert len(following.events("deployment.activated")) == PARTITIONS
        assert scored - before == Counter(places(leads.sources()))


def test_a_flood_of_rejections_ends_a_replay_and_what_came_before_it_stays(
    kafka: str, registry: str, tmp_path: Path
) -> None:
    with lead_stream(kafka, registry, tmp_path) as it:
        config = it.settings(rejections={"run_rows_max": 50}, batch={"rows_max": 20})
        it.send(100)
        it.send_values(b"no event" for _ in range(400))
        command = ["replay", "lead", "--lane", "flood", "--config", str(config)]
        flooded = scorer(*command, "--since", "1h", cwd=tmp_path)
        assert flooded.returncode == 1
        assert "rejected" in flooded.stderr.splitlines()[-1]
        assert "nothing was live before" in flooded.stdout
        patient = ["--set", "rejections.run_rows_max=1000", "--set", "rejections.ratio_max=1.0"]
        went_on = scorer(*command, *patient, cwd=tmp_path)
        assert went_on.returncode == 0, went_on.stderr
        assert "some were rejected" in went_on.stdout
        topics = [f"{it.topics.predictions}.lane.flood", f"{it.topics.letters}.lane.flood"]
        found = python_reader.read_all(kafka, topics[0], registry, at_least=100, wait_s_max=60.0)
        assert len(found) == len(set(map(place, found))) == 100
        assert len(read_raw(kafka, topics[1], 400)) == 400
        delete_topics(kafka, *topics)


def _stands_still(running: Worker, leads: LeadStream, says: str) -> None:
    """It is halted and says why; it is alive, and nobody takes its partitions."""
    running.until(lambda: running.health("ready")[1].get("state") == "halted", "halted")
    status, said = running.health("ready")
    assert (status, said["ok"]) == (503, False)
    assert re.search(says, said["detail"]), said["detail"]
    assert running.health("live")[0] == 200
    assert running.metric("scorer_stream_state", state="halted") == 1
    (told,) = running.events("stream.halted")
    assert told["level"] == "error"
    assert told["why"] == said["detail"]
    assert members(leads.kafka, f"{leads.group}.lead") == 1


def _truncate(leads: LeadStream, partition: int, offset: int) -> int:
    """Deletes the records of a partition before an offset, as retention does. Returns the first offset that is left."""
    admin = AdminClient({"bootstrap.servers": leads.kafka})
    where = TopicPartition(leads.topics.events, partition, offset)
    (done,) = admin.delete_records([where], request_timeout=30).values()
    return int(done.result(30).low_watermark)


def _reset(leads: LeadStream, partition: int, offset: int) -> None:
    """What kafka-consumer-groups --reset-offsets does."""
    admin = AdminClient({"bootstrap.servers": leads.kafka})
    wanted = [TopicPartition(leads.topics.events, partition, offset)]
    group = ConsumerGroupTopicPartitions(f"{leads.group}.lead", wanted)
    (done,) = admin.alter_consumer_group_offsets([group], request_timeout=30).values()
    assert all(each.error is None for each in done.result(30).topic_partitions)
