"""A worker from its start to its end: what it refuses, where it begins, what it says of itself, how it stops."""

from __future__ import annotations

import os
import re
import signal
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from scorer.core.errors import RefusedError
from scorer.edges.kafka.settings import producer_properties, transactional
from scorer.edges.kafka.transactions import KafkaTransactions
from tests.harness.claims import place, scored_once
from tests.harness.events import encoder, messages, sampled
from tests.harness.lead_stream import lead_stream
from tests.harness.plain_scorer import PlainScorer
from tests.harness.topics import (
    ROOT,
    Headers,
    Raw,
    Topics,
    fresh_group,
    members,
    register,
    send,
    shipped_schema,
    stream_topics,
)
from tests.harness.workers import Worker, metric, scorer, stream, worker, write_settings
from tests.oracle import python_reader
from tests.oracle.record import Record

pytestmark = pytest.mark.timeout(150)

PLAIN, TRACED, TOO_LARGE = 500, 100, 10
OUTPUT_BYTES_MAX = 1_500
LARGE = "x" * 3_000
TRACE: Headers = [("traceparent", b"00-4bf9-00f0-01"), ("tracestate", b"a=1")]
HEADERS: Headers = [TRACE[0], ("secret", b"token"), TRACE[1]]

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
    "scorer_transactions_aborted_total": "counter",
}


@dataclass(frozen=True, slots=True)
class Life:
    """One worker's life with all sorts of events, from its start to SIGTERM.

    Attributes:
        live, ready: what its health checks answered while it worked.
        worker: itself, for its log.
        exposition: what /metrics said when it had done all.
        code: its exit code.
        members: of its group, once it had ended.
        committed, ends: the group's offsets, and the topic's.
        sources, predictions, letters: all records.
    """

    live: tuple[int, dict[str, Any]]
    ready: tuple[int, dict[str, Any]]
    worker: Worker
    exposition: str
    code: int
    members: int
    committed: dict[int, int]
    ends: dict[int, int]
    sources: list[Raw]
    predictions: list[Record]
    letters: list[Raw]


@pytest.fixture(scope="module")
def life(kafka: str, registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    folder = tmp_path_factory.mktemp("life")
    with lead_stream(kafka, registry, folder, max_message_bytes=str(OUTPUT_BYTES_MAX)) as leads:
        config = leads.settings({"headers": "trace"}, log={"level": "debug"})
        with worker(config) as running:
            running.until(lambda: running.health("live")[0] == 200, "alive")
            running.wait_ready()
            live, ready = running.health("live"), running.health("ready")
            leads.send(PLAIN, seed=1)
            leads.send_values(map(leads.encode, sampled("lead", TRACED, seed=2)), headers=HEADERS)
            leads.send_values([leads.encode({**event, "event_id": LARGE}) for event in sampled("lead", TOO_LARGE)])
            leads.send_values([b"poison", None])
            total = PLAIN + TRACED + TOO_LARGE + 2
            running.until(lambda: running.metric("scorer_records_consumed_total") == total, "done with all")
            running.until(
                lambda: 'partition="3"' in running.exposition() and running.metric("scorer_consumer_lag_records") == 0,
                "telling its lag",  # with each commit
            )
            exposition = running.exposition()
            running.signal(signal.SIGTERM)
            code = running.wait()
        yield Life(
            live,
            ready,
            running,
            exposition,
            code,
            members(kafka, f"{leads.group}.lead"),
            leads.committed(),
            leads.ends(),
            leads.sources(total),
            leads.predictions(PLAIN + TRACED),
            leads.letters(TOO_LARGE + 1),
        )


def test_a_stopped_worker_has_committed_all_it_read_and_left_the_group(life: Life) -> None:
    assert life.code == 0
    assert life.members == 0
    assert life.committed == life.ends
    assert [line["event"] for line in life.worker.lines()[-2:]] == ["stream.stopping", "partitions.revoked"]


def test_a_worker_says_that_it_is_alive_and_ready(life: Life) -> None:
    running = {"state": "running", "detail": "", "ok": True}
    assert life.live == life.ready == (200, running)


def test_a_worker_shows_every_metric_and_its_figures_add_up(life: Life) -> None:
    types = dict(re.findall(r"^# TYPE (scorer_\w+) (\w+)$", life.exposition, re.MULTILINE))
    assert {name: kind for name, kind in types.items() if not name.endswith("_created")} == METRICS
    identity = PlainScorer(ROOT / "models" / "lead" / "1").constants["model_sha256"]
    for name, labels, wanted in (
        ("scorer_records_consumed_total", {}, PLAIN + TRACED + TOO_LARGE + 2),
        ("scorer_records_scored_total", {"model": "lead/1"}, PLAIN + TRACED),
        ("scorer_records_rejected_total", {"stage": "decode", "reason": "bad_frame"}, 1),
        ("scorer_records_rejected_total", {"stage": "encode", "reason": "prediction_too_large"}, TOO_LARGE),
        ("scorer_records_rejected_total", {}, TOO_LARGE + 1),
        ("scorer_tombstones_total", {}, 1),
        ("scorer_batch_records_sum", {}, PLAIN + TRACED + TOO_LARGE + 2),
        ("scorer_consumer_lag_records", {}, 0),
        ("scorer_stream_state", {"state": "running"}, 1),
        ("scorer_stream_state", {}, 1),
        ("scorer_model_info", {"model": "lead/1", "sha256": identity}, 1),
        ("scorer_build_info", {"version": version("streaming-scorer")}, 1),
    ):
        assert (name, labels, metric(life.exposition, name, **labels)) == (name, labels, wanted)
    batches = metric(life.exposition, "scorer_batches_total")
    for name in ("scorer_batch_records", "scorer_batch_duration_seconds", "scorer_event_age_seconds"):
        assert metric(life.exposition, f"{name}_count") == batches


def test_a_log_line_holds_no_payload_and_no_key(life: Life) -> None:
    text = life.worker.text()
    assert len(life.worker.lines()) == len(text.splitlines()), "every line is JSON"
    assert not re.search(r"sample-|key-\d|poison|university_degree|xxxx|token", text)


def test_trace_headers_are_carried_over_if_asked_for_and_no_others(life: Life) -> None:
    traced = {(each.partition, each.offset) for each in life.sources if each.headers}
    assert len(traced) == TRACED
    for record in life.predictions:
        assert record["headers"] == (TRACE if place(record) in traced else [])


def test_a_prediction_that_the_topic_does_not_take_becomes_a_whole_dead_letter(life: Life) -> None:
    large = [each for each in life.sources if LARGE.encode() in (each.value or b"")]
    good = [each for each in life.sources if each not in large and each.value not in (None, b"poison")]
    scored_once(life.predictions, good)
    letters = [each for each in life.letters if each.value != b"poison"]
    assert len(letters) == TOO_LARGE
    assert sorted(letter.value or b"" for letter in letters) == sorted(each.value or b"" for each in large)
    for letter in letters:
        notes = dict(letter.headers)
        assert notes["__connect.errors.stage"] == b"ENCODE"
        assert notes["__connect.errors.exception.class.name"] == b"prediction_too_large"


def test_a_worker_without_topics_or_schemas_does_not_start_and_says_what_to_run(
    kafka: str, registry: str, tmp_path: Path
) -> None:
    mark = uuid.uuid4().hex
    nowhere = Topics(f"events.{mark}", f"predictions.{mark}", f"letters.{mark}")
    lacking = f"{nowhere.events}, {nowhere.predictions}, {nowhere.letters}"
    assert f"Kafka has no topic {lacking}; run: scorer setup" in _refused(kafka, registry, tmp_path, nowhere)
    with stream_topics(kafka) as there:
        wanted = f"no schema is registered for {there.events}-value; run: scorer setup"
        assert wanted in _refused(kafka, registry, tmp_path, there)


def _refused(kafka: str, registry: str, folder: Path, topics: Topics) -> str:
    """What a worker says that does not start."""
    streams = [stream("lead", "lead/1", topics)]
    config = write_settings(folder, kafka=kafka, registry=registry, group=fresh_group(), streams=streams)
    ended = scorer("worker", "--config", str(config), cwd=folder)
    assert ended.returncode == 3
    return ended.stderr


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


def test_streams_have_processes_of_their_own_that_are_started_again_and_end_with_their_supervisor(
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
            running.signal(signal.SIGKILL)
            running.wait()
            deadline_s = time.monotonic() + 20
            while any(running.health("live", at)[0] for at in (0, 1)):
                assert time.monotonic() < deadline_s, "a stream's process has outlived the one that watched over it"
                time.sleep(0.1)
        assert members(kafka, f"{leads.group}.lead") == members(kafka, f"{leads.group}.login") == 0
        assert leads.committed() == leads.ends()


def test_a_transaction_that_may_last_longer_than_the_broker_allows_is_refused_and_not_waited_for(kafka: str) -> None:
    allowed_ms = 900_000  # transaction.max.timeout.ms of a broker that nobody told otherwise
    properties = producer_properties({"bootstrap.servers": kafka}, "paced", 1_000_000)
    own = transactional(properties, fresh_group(), allowed_ms + 1_000)
    transactions = KafkaTransactions(own, "events", lambda *_: None)
    with pytest.raises(RefusedError, match=r"transaction\.max\.timeout\.ms"):
        transactions.recover()
    transactions.close(0)
