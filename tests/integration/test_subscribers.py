"""Readers and snippets that know nothing of the scorer get every prediction from a real Kafka and a real registry."""

from __future__ import annotations

import ast
import json
import os
import queue
import random
import re
import signal
import subprocess
import sys
import threading
import tomllib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from subprocess import PIPE
from tempfile import TemporaryFile
from types import ModuleType
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient

from scorer.local.java import java
from tests.harness.topics import ROOT, ask, register, shipped_schema
from tests.oracle import java_reader, python_reader
from tests.oracle.record import Record
from tests.oracle.samples import bits, framed, sample, single

SNIPPETS = ROOT / "docs" / "snippets"
SCHEMAS = ("predictions.lead-score", "predictions.recommendation")
COUNT, PARTITIONS, WAIT_S_MAX = 300, 4, 40.0
TOPIC = "subscribers.{}"
STRING = {7: '"string"'}
BOTH_READERS = pytest.mark.parametrize("reader", [python_reader, java_reader], ids=["python", "java"])
BOTH_SCHEMAS = pytest.mark.parametrize("schema", SCHEMAS)


@pytest.fixture(scope="module")
def published(kafka: str, registry: str) -> dict[str, list[Record]]:
    """Predictions as they were written, by their schema."""
    return {each: _publish(kafka, _create(kafka, each), _predictions(registry, each)) for each in SCHEMAS}


@BOTH_READERS
@BOTH_SCHEMAS
def test_a_reader_gets_every_prediction_as_it_was_written(
    kafka: str, registry: str, published: dict[str, list[Record]], schema: str, reader: ModuleType
) -> None:
    records = reader.read_all(kafka, TOPIC.format(schema), registry, at_least=COUNT, wait_s_max=WAIT_S_MAX)
    assert len(records) == COUNT
    for record, written in zip(records, published[schema], strict=True):
        assert bits(record) == bits(written)


@BOTH_READERS
def test_a_reader_takes_schemas_by_id_in_place_of_a_registry(
    kafka: str, registry: str, published: dict[str, list[Record]], reader: ModuleType
) -> None:
    ids = {record["schema_id"] for record in published[SCHEMAS[0]]}
    texts = {schema_id: ask(f"{registry}/schemas/ids/{schema_id}")["schema"] for schema_id in ids}
    assert len(texts) == 2, "two versions of the schema were written"
    assert bits(reader.read_all(kafka, TOPIC.format(SCHEMAS[0]), texts)) == bits(published[SCHEMAS[0]])


def test_the_system_s_java_runs_the_java_reader_as_well(
    kafka: str, registry: str, published: dict[str, list[Record]]
) -> None:
    records = java_reader.read_all(kafka, TOPIC.format(SCHEMAS[1]), registry, program=java_reader.installed("java"))
    assert bits(records) == bits(published[SCHEMAS[1]])


@BOTH_READERS
def test_a_reader_waits_for_records_still_to_come_and_keeps_tombstones(kafka: str, reader: ModuleType) -> None:
    topic = _create(kafka, f"late.{reader.__name__}")
    late = threading.Timer(3.0, _send, (kafka, topic, [framed(7, "string", "at last"), None]))
    late.start()
    records = reader.read_all(kafka, topic, STRING, at_least=2, wait_s_max=WAIT_S_MAX)
    late.join()
    assert [(each["schema_id"], each["value"]) for each in records] == [(7, "at last"), (None, None)]


@BOTH_READERS
def test_a_reader_that_waits_in_vain_says_how_many_came(kafka: str, reader: ModuleType) -> None:
    topic = _create(kafka, f"short.{reader.__name__}")
    _send(kafka, topic, [framed(7, "string", "alone")])
    with pytest.raises((TimeoutError, RuntimeError), match="1 records of 2"):
        reader.read_all(kafka, topic, STRING, at_least=2, wait_s_max=6.0)


@BOTH_READERS
def test_a_reader_sees_aborted_and_open_transactions_only_if_it_asks_for_them(kafka: str, reader: ModuleType) -> None:
    topic = _create(kafka, f"transactions.{reader.__name__}")
    with KafkaProducer(bootstrap_servers=kafka, transactional_id=topic) as producer:
        producer.init_transactions()
        for text, end in (("kept", producer.commit_transaction), ("aborted", producer.abort_transaction)):
            producer.begin_transaction()
            for partition in range(PARTITIONS):
                producer.send(topic, framed(7, "string", text), partition=partition).get(WAIT_S_MAX)
            end()
        # Every partition now ends with a marker, which takes an offset and is no record.
        assert _values(reader.read_all(kafka, topic, STRING)) == ["kept"] * 4
        producer.begin_transaction()
        producer.send(topic, framed(7, "string", "open"), partition=0).get(WAIT_S_MAX)
        assert _values(reader.read_all(kafka, topic, STRING)) == ["kept"] * 4
        everything = reader.read_all(kafka, topic, STRING, isolation="read_uncommitted")
        assert _values(everything) == ["aborted"] * 4 + ["kept"] * 4 + ["open"]
        producer.abort_transaction()


@BOTH_READERS
@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b"\0\0\0\0\7\4ab!", "bytes follow the datum"),
        (b"\0\0\0\0\7\4a", "not a datum|Attempted to read 2 bytes"),
        (b"\1\0\0\0\7\4ab", "no zero byte"),
    ],
    ids=["trailing", "cut-off", "other-framing"],
)
def test_a_reader_rejects_what_is_not_exactly_one_datum(
    kafka: str, reader: ModuleType, value: bytes, says: str, request: pytest.FixtureRequest
) -> None:
    topic = _create(kafka, request.node.callspec.id)
    _send(kafka, topic, [value])
    with pytest.raises((ValueError, RuntimeError), match=says):
        reader.read_all(kafka, topic, STRING)


@BOTH_SCHEMAS
@pytest.mark.parametrize("language", ["python", "java"])
def test_a_snippet_prints_every_prediction_waits_for_more_and_goes_on_after_a_restart(
    kafka: str, registry: str, schema: str, language: str
) -> None:
    topic = _create(kafka, f"{schema}.{language}")
    _send(kafka, topic, [None])  # an erasure, which is no line
    predictions = _predictions(registry, schema)
    last = predictions[-1][2]["prediction_id"]
    command = [*_snippet(language), kafka, registry, topic]
    _publish(kafka, topic, predictions[:-2])
    with _running(command) as next_line:
        printed = [json.loads(next_line()) for _ in predictions[:-2]]
        _publish(kafka, topic, predictions[-2:-1])
        printed.append(json.loads(next_line()))
    _publish(kafka, topic, predictions[-1:])
    with _running(command) as next_line:
        while printed[-1]["prediction_id"] != last:
            printed.append(json.loads(next_line()))
    # At least once: stopped between printing and committing, it may print that one again, and no more than that.
    assert len(printed) <= COUNT + 1
    by_id = {each["prediction_id"]: each for each in printed}
    assert len(by_id) == COUNT
    for _, _, value in predictions:
        _assert_printed(value, by_id[value["prediction_id"]])


def test_the_java_snippet_names_the_versions_that_it_is_tested_with() -> None:
    text = (SNIPPETS / "Subscribe.java").read_text(encoding="utf-8")
    locked = tomllib.loads(java_reader.LOCK.read_text(encoding="utf-8"))["dependencies"]
    known = {f"{each['groupId']}:{each['artifactId']}:{each['version']}" for each in locked}
    named = set(re.findall(r"^//DEPS (\S+)$", text, re.MULTILINE))
    assert len(named) == 2
    assert named <= known


@pytest.mark.parametrize("path", [SNIPPETS / "subscribe.py", Path(python_reader.__file__)], ids=lambda path: path.name)
def test_a_python_subscriber_imports_nothing_of_the_scorer(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)]
    assert "kafka" in names
    assert not [name for name in names if name.split(".")[0] in ("scorer", "confluent_kafka")]


def _predictions(registry: str, name: str) -> list[tuple[int, Any, dict[str, Any]]]:
    """Returns schema id, schema and value of COUNT predictions, each third one of a later version of the schema."""
    schema = shipped_schema(name)
    later = {**schema, "fields": [*schema["fields"], {"name": "note", "type": ["null", "string"], "default": None}]}
    versions = [(register(registry, TOPIC.format(name), each), each) for each in (schema, later)]
    rng = random.Random(name)
    return [
        (schema_id, each, {**sample(each, rng), "prediction_id": f"lead/1/events/0/{number}"})
        for number in range(COUNT)
        for schema_id, each in (versions[number % 3 == 0],)
    ]


def _publish(kafka: str, topic: str, predictions: Sequence[tuple[int, Any, dict[str, Any]]]) -> list[Record]:
    """Writes predictions, compressed as the worker's are, and returns them as records, by partition and offset."""
    sent = []
    with KafkaProducer(bootstrap_servers=kafka, linger_ms=20, compression_type="lz4") as producer:
        for number, (schema_id, schema, value) in enumerate(predictions):
            key = f"ключ {number}".encode()
            headers: list[tuple[str, bytes | None]] = (
                [("traceparent", b"00-\xff"), ("traceparent", b"")] if number % 2 else []
            )
            at = {"partition": number % PARTITIONS, "timestamp_ms": 1_700_000_000_000 + number}
            future = producer.send(topic, framed(schema_id, schema, value), key=key, headers=headers, **at)
            sent.append((future, key, headers, schema_id, value))
        producer.flush(WAIT_S_MAX)
    records = []
    for future, key, headers, schema_id, value in sent:
        at = future.get(WAIT_S_MAX)
        record = Record(
            partition=at.partition,
            offset=at.offset,
            timestamp=at.timestamp,
            key=key,
            headers=headers,
            schema_id=schema_id,
            value=value,
        )
        records.append(record)
    return sorted(records, key=lambda each: (each["partition"], each["offset"]))


def _send(kafka: str, topic: str, values: Sequence[bytes | None]) -> None:
    with KafkaProducer(bootstrap_servers=kafka) as producer:
        for value in values:
            producer.send(topic, value, key=b"key", partition=0).get(WAIT_S_MAX)


def _create(kafka: str, name: str) -> str:
    topic = TOPIC.format(name)
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    try:
        admin.create_topics({topic: {"num_partitions": PARTITIONS, "replication_factor": 1}}, wait_for_metadata=True)
    finally:
        admin.close()
    return topic


def _values(records: Sequence[Record]) -> list[Any]:
    return sorted(record["value"] for record in records)


def _snippet(language: str) -> list[str]:
    if language == "python":
        return [sys.executable, str(SNIPPETS / "subscribe.py")]
    classes = java_reader.compiled(SNIPPETS / "Subscribe.java")
    return [str(java()), *java_reader.FLAGS, "-cp", java_reader.class_path(classes), "Subscribe"]


@contextmanager
def _running(command: Sequence[str]) -> Iterator[Callable[[], str]]:
    """Runs a program until Ctrl+C, which it must heed; yields what returns the next line that it prints."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "NO_PROXY": "*"}
    # A shell's background jobs ignore Ctrl+C, and what they start does so too; a handler of ours is not handed on.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with TemporaryFile() as errors, subprocess.Popen(command, stdout=PIPE, stderr=errors, env=environment) as program:
        signal.signal(signal.SIGINT, before)
        assert program.stdout is not None
        lines: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=lambda out: deque(map(lines.put, out), 0), args=(program.stdout,)).start()

        def said() -> str:
            errors.seek(0)
            return errors.read().decode(errors="replace")

        def next_line() -> str:
            try:
                return lines.get(timeout=WAIT_S_MAX).decode()
            except queue.Empty:
                raise AssertionError(f"no line came; it said {said()!r}") from None

        try:
            yield next_line
            program.send_signal(signal.SIGINT)
            assert program.wait(WAIT_S_MAX) in (0, 130)
            assert not said()
            assert lines.empty(), f"one line too many: {lines.get()!r}"
        finally:
            program.kill()


def _assert_printed(value: Any, printed: Any) -> None:
    """Python prints a time as text and a float as a double, Java a time as a number and a float as a float."""
    if isinstance(value, dict):
        assert value.keys() == printed.keys()
        for name in value:
            _assert_printed(value[name], printed[name])
    elif isinstance(value, list):
        assert len(value) == len(printed)
        for each, other in zip(value, printed, strict=True):
            _assert_printed(each, other)
    elif isinstance(value, float):
        assert bits(single(printed)) == bits(value)
    elif isinstance(value, int) and isinstance(printed, str):
        assert round(datetime.fromisoformat(printed).timestamp() * 1000) == value
    else:
        assert printed == value
