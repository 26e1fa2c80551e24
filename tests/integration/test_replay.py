"""A piece of history goes through the models once more: as live made it, whole after kills, of what was asked alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.harness.bundles import lead_bundle
from tests.harness.claims import bits, place
from tests.harness.events import messages, sampled
from tests.harness.lead_stream import LeadStream, lead_stream
from tests.harness.topics import delete_topics, forget_group, send
from tests.harness.workers import environment, scorer, worker
from tests.oracle import python_reader
from tests.oracle.record import Record

pytestmark = pytest.mark.timeout(300)

FIRST, SECOND = 1500, 1500
SECOND_BOUNDS = "A = 0.4, B = 0.2, C = 0.05, D = 0.0"


@dataclass(frozen=True, slots=True)
class Past:
    """A stream whose bundle was swapped in mid-range, with what live made of it."""

    it: LeadStream
    config: Path
    live: list[Record]
    middle_ms: int

    def run(self, *arguments: str, code: int = 0) -> Any:
        """A command's JSON; of one that fails, what it says."""
        ended = scorer(*arguments, "--config", str(self.config), "--json", cwd=self.it.folder)
        assert ended.returncode == code, ended.stderr
        return json.loads(ended.stdout) if code == 0 else ended.stderr

    def lane(self, name: str, at_least: int = 0) -> list[Record]:
        """The predictions of a lane."""
        topic = f"{self.it.topics.predictions}.lane.{name}"
        return python_reader.read_all(self.it.kafka, topic, self.it.registry, at_least=at_least, wait_s_max=60.0)


@pytest.fixture(scope="module")
def past(kafka: str, registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    folder = tmp_path_factory.mktemp("past")
    second = lead_bundle(folder, "2", SECOND_BOUNDS)
    with lead_stream(kafka, registry, folder, retention_ms="900000000") as it:
        quick = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 2000}  # the dead are missed sooner
        config = it.settings({"delivery": "exactly_once"}, batch={"rows_max": 64}, kafka_consumer=quick)
        events = list(messages(sampled("lead", FIRST + SECOND), "lead_id", it.encode))
        with worker(config) as live:
            live.wait_ready()
            send(kafka, it.topics.events, events[:FIRST])
            it.predictions(FIRST)
            middle_ms = int(time.time() * 1000)
            time.sleep(0.01)
            ended = scorer("deploy", "lead", str(second), "--config", str(config), cwd=folder)
            assert ended.returncode == 0, ended.stderr
            live.until(lambda: live.events("deployment.ready"), "loaded")
            send(kafka, it.topics.events, events[FIRST:])
            found = it.predictions(FIRST + SECOND)
            live.signal(signal.SIGTERM)
            assert live.wait() == 0
        yield Past(it, config, found, middle_ms)
        names = {f"{it.topics.predictions}.lane.{each}" for each in LANES}
        delete_topics(kafka, *(names & there(kafka)))


LANES = ("whole", "killed", "ids", "places", "since", "pieces", "two", "many", "half", "some", "three", "early")


def there(kafka: str) -> set[str]:
    from confluent_kafka.admin import AdminClient

    return set(AdminClient({"bootstrap.servers": kafka}).list_topics(timeout=10).topics)


def same_as_live(lane: list[Record], live: list[Record], name: str) -> None:
    """Bit for bit but for when it was scored and where, and in the same partition with the same key."""
    wanted = {place(each): each for each in live}
    for each in lane:
        assert each["value"] is not None
        assert each["value"]["lane"] == name
        twin = wanted[place(each)]
        assert (each["key"], each["partition"]) == (twin["key"], twin["partition"])
        assert lasting(each) == lasting(twin)


def lasting(record: Record) -> Mapping[str, Any]:
    assert record["value"] is not None
    return {key: bits(value) for key, value in record["value"].items() if key not in ("scored_at", "lane")}


def once(records: list[Record]) -> set[tuple[int, int]]:
    """Their places; none is there twice."""
    found = [place(each) for each in records]
    assert len(set(found)) == len(found), "an event was scored twice"
    return set(found)


def at(ms: int) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(ms / 1000))}.{ms % 1000:03d}"


def everything(past: Past) -> list[str]:
    return [flag for number in range(4) for flag in ("--offsets", f"{number}:0-")]


def test_a_replay_is_bit_equal_to_live_on_both_sides_of_a_swap(past: Past) -> None:
    done = past.run("replay", "lead", "--lane", "whole", *everything(past))
    assert done["complete"] is True
    lane = past.lane("whole", FIRST + SECOND)
    assert once(lane) == once(past.live)
    same_as_live(lane, past.live, "whole")
    assert {(each["value"] or {})["model_version"] for each in lane} == {"1", "2"}
    for each in done["ranges"]:
        assert [bundle["model"] for bundle in each["bundles"]] == ["lead/1", "lead/2"]


def test_killed_three_times_and_resumed_the_lane_is_complete_and_nothing_double(past: Past) -> None:
    wanted = everything(past)
    command = [sys.executable, "-m", "scorer", "replay", "lead", "--lane", "killed", "--config", str(past.config)]
    small = ["--set", "batch.rows_max=50", "--set", "transaction.rows_max=100"]
    for place_, count in (("produced", 9), ("offsets_sent", 5), ("after_commit", 6)):
        failpoint = {"SCORER_FAILPOINT": f"{place_}:kill:{count}"}
        ended = subprocess.run(
            [*command, *small, *wanted],
            env={**environment(), **failpoint},
            cwd=past.it.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        wanted = []  # the lane's name is enough
    assert "unfinished" in past.run("promote", "lead", "killed", code=3)
    assert 0 < len(past.lane("killed")) < FIRST + SECOND
    done = past.run("replay", "lead", "--lane", "killed")
    assert done["complete"] is True
    lane = past.lane("killed", FIRST + SECOND)
    assert once(lane) == once(past.live)
    same_as_live(lane, past.live, "killed")
    assert past.run("replay", "lead", "--lane", "killed")["offsets_now"] == 0  # again is nothing
    assert len(past.lane("killed")) == FIRST + SECOND


def test_another_range_under_the_same_name_is_refused_with_what_to_do(past: Past) -> None:
    past.run("replay", "lead", "--lane", "pieces", "--offsets", "1:10-20", "--delivery", "at_least_once")
    assert once(past.lane("pieces", 10)) == {(1, offset) for offset in range(10, 20)}
    verified = past.run("verify", "lead", "--lane", "pieces")
    assert (verified["events"]["prediction"], verified["events"].get("missing", 0)) == (10, 0)
    said = past.run("replay", "lead", "--lane", "pieces", "--offsets", "1:10-30", code=3)
    assert "another --lane" in said
    assert "--offsets 1:10-20" in said
    never = past.run("replay", "lead", "--lane", "never", code=3)
    assert "has not been begun" in never
    for command in (
        ("promote", "lead", "never"),
        ("verify", "lead", "--lane", "never"),
        ("compare", "lead", "live", "never"),
        ("sink", "sql", "lead", "--lane", "never", "--once"),
    ):
        assert "lane never of lead was never begun" in past.run(*command, code=3)


def test_single_predictions_are_replayed_by_their_ids_and_single_records_by_their_positions(past: Past) -> None:
    chosen = past.live[::211]
    ids = past.it.folder / "ids.txt"
    ids.write_text("# these\n" + "".join(f"{(each['value'] or {})['prediction_id']}\n" for each in chosen))
    done = past.run("replay", "lead", "--lane", "ids", "--ids", str(ids), "--set", "batch.rows_max=1")
    assert done["records_max"] == len(chosen)
    lane = past.lane("ids", len(chosen))
    assert once(lane) == once(chosen)
    same_as_live(lane, past.live, "ids")
    assert {(each["value"] or {})["prediction_id"] for each in lane} == {
        (each["value"] or {})["prediction_id"] for each in chosen
    }
    positions = past.it.folder / "positions.txt"
    positions.write_text("".join(f"{partition}:{offset}\n" for partition, offset in map(place, chosen)))
    bounded = ["--positions", str(positions), "--offsets", "0:0-", "--offsets", "1:0-"]
    past.run("replay", "lead", "--lane", "places", *bounded)
    assert once(past.lane("places")) == {each for each in once(chosen) if each[0] < 2}


def test_a_range_of_time_is_that_of_the_records_and_one_bundle_scores_all_of_it(past: Past) -> None:
    since, second = at(past.middle_ms), str(past.it.folder / "lead" / "2")
    past.run("replay", "lead", "--lane", "since", "--since", since, "--bundle", second)
    lane = past.lane("since", SECOND)
    assert once(lane) == {
        place(each) for each in past.live if (each["value"] or {})["source_timestamp"] >= past.middle_ms
    }
    assert {(each["value"] or {})["model_version"] for each in lane} == {"2"}
    before = past.run("replay", "lead", "--lane", "half", "--until", since, "--since", "1d")
    assert before["records_max"] >= FIRST  # what came late is looked for among the rest
    assert len(once(past.lane("half", FIRST))) == FIRST


def test_a_lane_in_sql_is_complete_once_it_holds_what_its_replay_was_for(past: Past) -> None:
    (past.it.folder / "three.txt").write_text("0:3\n0:4\n0:90\n", "utf-8")
    for lane, events, *wanted in (
        ("some", 10, "--offsets", "1:10-20"),
        ("three", 3, "--positions", "three.txt"),
        ("early", FIRST, "--since", "1d", "--until", at(past.middle_ms)),
    ):
        past.run("replay", "lead", "--lane", lane, *wanted)
        said = past.run("sink", "sql", "lead", "--lane", lane, "--once", "--url", f"sqlite:///{lane}.db")
        assert (said["complete"], said["events"], said["scored"]) == (True, events, events)


def test_a_dry_run_says_what_and_how_long_and_writes_nothing(past: Past) -> None:
    said = past.run("replay", "lead", "--lane", "dry", *everything(past), "--dry-run")
    assert said["records_max"] >= FIRST + SECOND
    assert said["expected_s"] == pytest.approx(said["records_max"] / said["rate_per_s"])
    assert [each["partition"] for each in said["ranges"]] == [0, 1, 2, 3]
    assert f"{past.it.topics.predictions}.lane.dry" not in there(past.it.kafka)
    told = past.run("deployments", "lead")
    assert not [each for each in told if each.get("lane") == "dry"]


def test_processes_share_the_partitions_and_the_range_is_said_before_anything_is_scored(past: Past) -> None:
    small = ["--set", "batch.rows_max=7", "--config", str(past.config)]
    arguments = ["--lane", "many", *everything(past), "--processes", "2", *small]
    ended = scorer("replay", "lead", *arguments, cwd=past.it.folder)
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert next(line for line in lines if "partition" in line).startswith("  partition 0: 0 to ")
    assert lines[-1].startswith("complete:")
    assert "partitions.assigned" in ended.stderr
    lane = past.lane("many", FIRST + SECOND)
    assert once(lane) == once(past.live)
    same_as_live(lane, past.live, "many")


def kill_promotion(past: Past, lane: str) -> None:
    """It dies in its first transaction."""
    killed = subprocess.run(
        [sys.executable, "-m", "scorer", "promote", "lead", lane, "--config", str(past.config)],
        env={**environment(), "SCORER_FAILPOINT": "offsets_sent:kill:1"},
        cwd=past.it.folder,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL


def test_a_lane_is_as_the_live_topic_is_and_promoted_as_it_is(past: Past) -> None:
    from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined]

    past.run("replay", "lead", "--lane", "two", "--offsets", "3:0-40")
    topic = f"{past.it.topics.predictions}.lane.two"
    admin = AdminClient({"bootstrap.servers": past.it.kafka})
    resource = ConfigResource(ResourceType.TOPIC, topic)
    assert admin.describe_configs([resource])[resource].result()["retention.ms"].value == "900000000"
    assert len(admin.list_topics(topic).topics[topic].partitions) == 4
    lane = past.lane("two", 40)
    kill_promotion(past, "two")
    past.run("promote", "lead", "two")
    found = past.it.predictions(FIRST + SECOND + 40)
    assert len(found) == FIRST + SECOND + 40
    promoted = [each for each in found if (each["value"] or {})["lane"] == "two"]
    assert sorted(map(place, promoted)) == sorted(map(place, lane))
    by_place = {place(each): each for each in lane}
    for each in promoted:
        twin = by_place[place(each)]
        assert (each["key"], each["value"], each["partition"]) == (twin["key"], twin["value"], twin["partition"])
    assert "promoted already" in past.run("promote", "lead", "two", code=3)
    kinds = [each["kind"] for each in past.run("deployments", "lead") if each.get("lane") == "two"]
    assert kinds == ["replay", "replay_done", "promotion_begun", "promotion"]


def test_a_bundle_that_cannot_be_had_is_named_before_anything_is_written(past: Past) -> None:
    second = past.it.folder / "lead" / "2"
    away = second.rename(second.with_name("away"))
    try:
        said = past.run("replay", "lead", "--lane", "lacking", *everything(past), code=3)
    finally:
        away.rename(second)
    assert "lead/2 (sha256 " in said
    assert f"{past.it.topics.predictions}.lane.lacking" not in there(past.it.kafka)


def test_what_kafka_has_forgotten_of_a_group_is_told_by_the_deployments(past: Past) -> None:
    past.run("replay", "lead", "--lane", "old", "--offsets", "3:0-40")
    forget_group(past.it.kafka, f"{past.it.group}.lead.replay.old")
    assert past.run("replay", "lead", "--lane", "old")["offsets_now"] == 0
    kill_promotion(past, "old")
    forget_group(past.it.kafka, f"{past.it.group}.lead.promote.old")
    assert "lost its positions" in past.run("promote", "lead", "old", code=3)
