"""A worker from its start to its end: what it refuses, where it begins, what it says of itself, how it stops."""

from __future__ import annotations

import os
import re
import signal
import time
import uuid
from pathlib import Path

import pytest

from tests.harness.claims import place, places, scored_once
from tests.harness.events import encoder, messages, sampled
from tests.harness.lead_stream import lead_stream
from tests.harness.plain_scorer import PlainScorer
from tests.harness.topics import (
    ROOT,
    Headers,
    Topics,
    members,
    register,
    send,
    shipped_schema,
    stream_topics,
)
from tests.harness.workers import scorer, stream, worker, write_settings
from tests.oracle import python_reader

pytestmark = pytest.mark.timeout(150)

METRICS = {
    "scorer_batch_duration_seconds": "histogram",
    "scorer_batch_records": "histogram",
    "scorer_batches_total": "counter",
    "scorer_build_info": "gauge",
    "scorer_consumer_lag_records": "gauge",
    "scorer_event_age_seconds": "histogram",
    "scorer_model_info": "gauge",
    "scorer_records_consumed_total": "counter",
    "scorer_records_rejected_total": "counter",
    "scorer_records_scored_total": "counter",
    "scorer_stream_state": "gauge",
    "scorer_tombstones_total": "counter",
}


def test_a_stopped_worker_has_committed_all_it_read_and_left_the_group(
    kafka: str, registry: str, tmp_path: Path
) -> None:
    with lead_stream(kafka, registry, tmp_path) as leads, worker(leads.settings()) as running:
        running.wait_ready()
        count = leads.send(2_000)
        running.until(lambda: running.metric("scorer_records_consumed_total") > 0, "at work")
        running.signal(signal.SIGTERM)
        assert running.wait() == 0
        assert members(kafka, f"{leads.group}.lead") == 0
        done = leads.committed()
        predictions = leads.predictions()
        assert {place(record) for record in predictions} == {
            at for at in places(leads.sources(count)) if at[1] < done[at[0]]
        }


def test_a_worker_says_that_it_is_alive_and_ready_and_shows_every_metric(
    kafka: str, registry: str, tmp_path: Path
) -> None:
    with lead_stream(kafka, registry, tmp_path) as leads, worker(leads.settings()) as running:
        running.until(lambda: running.health("live")[0] == 200, "alive")
        running.wait_ready()
        assert running.health("live") == (200, {"state": "running", "detail": "", "ok": True})
        leads.send_values([*(leads.encode(event) for event in sampled("lead", 500)), b"poison", None])
        running.until(lambda: running.metric("scorer_records_consumed_total") == 502, "done with all")
        types = dict(re.findall(r"^# TYPE (scorer_\w+) (\w+)$", running.exposition(), re.MULTILINE))
        assert {name: kind for name, kind in types.items() if not name.endswith("_created")} == METRICS
        plain = PlainScorer(ROOT / "models" / "lead" / "1")
        identity = {"model": "lead/1", "sha256": plain.constants["model_sha256"]}
        assert running.metric("scorer_model_info", stream="lead", **identity) == 1
        assert running.metric("scorer_records_scored_total", stream="lead", model="lead/1") == 500
        assert running.metric("scorer_records_rejected_total", stage="decode", reason="bad_frame") == 1
        assert running.metric("scorer_tombstones_total") == 1
        assert running.metric("scorer_batch_records_sum") == running.metric("scorer_records_consumed_total")
        assert running.metric("scorer_batch_records_count") == running.metric("scorer_batches_total")
        assert running.metric("scorer_stream_state", state="running") == running.metric("scorer_stream_state") == 1
        running.until(lambda: 'partition="3"' in running.exposition(), "telling its lag")
        assert running.metric("scorer_consumer_lag_records") == 0


def test_a_log_line_holds_no_payload_and_no_key(kafka: str, registry: str, tmp_path: Path) -> None:
    with lead_stream(kafka, registry, tmp_path) as leads, worker(leads.settings(log={"level": "debug"})) as running:
        running.wait_ready()
        leads.send_values([*(leads.encode(event) for event in sampled("lead", 200)), b"\0\0\0\0\1secret"])
        running.until(lambda: running.metric("scorer_records_consumed_total") == 201, "done with all")
        running.signal(signal.SIGTERM)
        assert running.wait() == 0
        assert len(running.lines()) == len(running.text().splitlines()), "every line is JSON"
        assert not re.search(r"sample-|key-\d|secret|university_degree", running.text())


def test_a_worker_without_topics_or_schemas_does_not_start_and_says_what_to_run(
    kafka: str, registry: str, tmp_path: Path
) -> None:
    mark = uuid.uuid4().hex
    nowhere = Topics(f"events.{mark}", f"predictions.{mark}", f"letters.{mark}")
    config = write_settings(
        tmp_path, kafka=kafka, registry=registry, group="g", streams=[stream("lead", "lead/1", nowhere)]
    )
    ended = scorer("worker", "--config", str(config), cwd=tmp_path)
    assert ended.returncode == 3
    assert f"no schema is registered for {nowhere.events}-value; run: scorer setup" in ended.stderr
    register(registry, nowhere.events, shipped_schema("events.new-lead"))
    register(registry, nowhere.predictions, shipped_schema("predictions.lead-score"))
    ended = scorer("worker", "--config", str(config), cwd=tmp_path)
    assert ended.returncode == 3
    lacking = f"{nowhere.events}, {nowhere.predictions}, {nowhere.letters}"
    assert f"Kafka has no topic {lacking}; run: scorer setup" in ended.stderr


def test_a_worker_does_not_start_if_a_registered_version_lacks_a_field_that_its_model_demands(
    kafka: str, registry: str, tmp_path: Path
) -> None:
    with lead_stream(kafka, registry, tmp_path) as leads:
        schema = shipped_schema("events.new-lead")
        schema["fields"] = [each for each in schema["fields"] if each["name"] != "euribor_3m"]
        schema_id = register(registry, leads.topics.events, schema)
        ended = scorer("worker", "--config", str(leads.settings()), cwd=tmp_path)
        assert ended.returncode == 3
        assert f"event schema {leads.topics.events}-value version 2 (id {schema_id}): field euribor_3m" in ended.stderr
        assert 'has no default (missing = "reject")' in ended.stderr


def test_a_new_group_begins_where_start_says_and_keeps_to_that_after_a_crash(
    kafka: str, registry: str, tmp_path: Path
) -> None:
    with lead_stream(kafka, registry, tmp_path) as leads:
        before = leads.send(300, seed=1)
        config = leads.settings({"start": "latest"}, kafka_consumer={"session.timeout.ms": 6_000})
        with worker(config) as running:
            running.wait_ready()
            running.signal(signal.SIGKILL)
            running.wait()
        after = leads.send(300, seed=2)
        with worker(config) as running:
            running.wait_ready()
            predictions = leads.predictions(after)
        early = {leads.encode(event) for event in sampled("lead", before, seed=1)}
        late = [source for source in leads.sources(before + after) if source.value not in early]
        assert len(late) == after
        scored_once(predictions, late)


def test_trace_headers_are_carried_over_if_asked_for_and_no_others(kafka: str, registry: str, tmp_path: Path) -> None:
    headers: Headers = [("traceparent", b"00-4bf9-00f0-01"), ("secret", b"token"), ("tracestate", b"a=1")]
    with lead_stream(kafka, registry, tmp_path) as leads, worker(leads.settings({"headers": "trace"})) as running:
        running.wait_ready()
        first, *rest = (leads.encode(event) for event in sampled("lead", 101))
        leads.send_values([first])
        leads.send_values(rest, headers=headers)
        predictions = leads.predictions(101)
        traced = [("traceparent", b"00-4bf9-00f0-01"), ("tracestate", b"a=1")]
        assert sorted(len(record["headers"]) for record in predictions) == [0] + [2] * 100
        assert all(record["headers"] in ([], traced) for record in predictions)


def test_a_prediction_that_the_topic_does_not_take_becomes_a_dead_letter(
    kafka: str, registry: str, tmp_path: Path
) -> None:
    with lead_stream(kafka, registry, tmp_path, max_message_bytes="1500") as leads:
        with worker(leads.settings()) as running:
            running.wait_ready()
            events = sampled("lead", 400)
            for number, event in enumerate(events):
                if number % 40 == 7:
                    event["event_id"] = f"{number}-" + "x" * 3_000
            count = leads.send_values(map(leads.encode, events))
            predictions, letters = leads.predictions(count - 10), leads.letters(10)
            sources = leads.sources(count)
            assert running.ready()
            running.signal(signal.SIGTERM)
            assert running.wait() == 0
        large = [source for source in sources if b"x" * 3_000 in (source.value or b"")]
        scored_once(predictions, [source for source in sources if source not in large])
        assert sorted(letter.value or b"" for letter in letters) == sorted(source.value or b"" for source in large)
        verdicts = {
            (notes["__connect.errors.stage"], notes["__connect.errors.exception.class.name"])
            for notes in (dict(letter.headers) for letter in letters)
        }
        assert verdicts == {(b"ENCODE", b"prediction_too_large")}
        assert leads.committed() == leads.ends()


def test_streams_run_in_processes_of_their_own_and_a_killed_one_is_started_again(
    kafka: str, registry: str, tmp_path: Path
) -> None:
    with lead_stream(kafka, registry, tmp_path) as leads, stream_topics(kafka) as logins:
        register(registry, logins.predictions, shipped_schema("predictions.recommendation"))
        schema = shipped_schema("events.login")
        encode = encoder(register(registry, logins.events, schema), schema)
        config = write_settings(
            tmp_path,
            kafka=kafka,
            registry=registry,
            group=leads.group,
            streams=[stream("lead", "lead/1", leads.topics), stream("login", "recommend/1", logins)],
            kafka_consumer={"session.timeout.ms": 6_000},
        )
        with worker(config) as running:
            running.wait_ready()
            pids = {line["stream"]: line["pid"] for line in running.events("process.started")}
            assert len({running.pid, *pids.values()}) == 3
            leads.send(500, seed=1)
            leads.predictions(500)
            os.kill(pids["lead"], signal.SIGKILL)
            send(kafka, logins.events, messages(sampled("login", 200), "customer_id", encode))
            python_reader.read_all(kafka, logins.predictions, registry, at_least=200, wait_s_max=30)
            leads.send(500, seed=2)
            running.until(lambda: len(running.events("process.started")) == 3, "starting the killed one again")
            assert running.ready(1)
            leads.predictions(1_000)
            (failed,) = running.events("process.failed")
            assert (failed["stream"], failed["exit_code"]) == ("lead", -9)
            running.signal(signal.SIGTERM)
            assert running.wait() == 0
        assert members(kafka, f"{leads.group}.lead") == members(kafka, f"{leads.group}.login") == 0
        assert leads.committed() == leads.ends()


def test_streams_end_with_their_supervisor_however_it_ends(kafka: str, registry: str, tmp_path: Path) -> None:
    with lead_stream(kafka, registry, tmp_path) as leads:
        streams = [stream(name, "lead/1", leads.topics) for name in ("one", "two")]
        config = write_settings(tmp_path, kafka=kafka, registry=registry, group=leads.group, streams=streams)
        with worker(config) as running:
            running.wait_ready()
            running.signal(signal.SIGKILL)
            running.wait()
            deadline_s = time.monotonic() + 20
            while any(running.health("live", at)[0] for at in (0, 1)):
                assert time.monotonic() < deadline_s, "a stream's process is still there"
                time.sleep(0.1)
        assert members(kafka, f"{leads.group}.one") == members(kafka, f"{leads.group}.two") == 0
