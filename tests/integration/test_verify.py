"""`scorer verify` on a real run with two bundles and a boundary: all is bit-equal, and what is done to it is named."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
from confluent_kafka import Producer

from tests.harness.events import sampled
from tests.harness.topics import PARTITIONS, Raw, delete_topics, stream_topics
from tests.harness.verified import (
    BAD,
    EACH,
    TOMBSTONES,
    Change,
    Lived,
    as_value,
    changed,
    decoded,
    lived,
    make_topic,
    outlet,
    republish,
    told,
    without,
)
from tests.harness.workers import scorer

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def once(kafka: str, registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    with lived(kafka, registry, tmp_path_factory.mktemp("lived")) as found:
        yield found


@contextmanager
def with_output(it: Lived, records: list[Raw]) -> Iterator[Path]:
    """Settings whose output topic holds these records instead."""
    stream = it.stream
    with stream_topics(stream.kafka) as other:
        outlet(stream.registry, other.predictions)
        republish(stream.kafka, other.predictions, records)
        yield stream.settings({"to": other.predictions}, name="other.toml")


def test_a_run_across_a_deployment_is_bit_equal_and_every_event_is_accounted_for(once: Lived) -> None:
    code, document = told(once.config, "verify", "lead")
    assert code == 0
    assert document["levels"]["bit_equal"] == document["predictions"] == 2 * EACH
    assert document["causes"] == {}
    assert document["events"] == {"prediction": 2 * EACH, "dead_letter": BAD, "tombstone": TOMBSTONES}
    assert sorted(name.split()[0] for name in document["models"]) == ["lead/1", "lead/2"]
    assert document["clean"]


def test_only_the_range_that_was_asked_for_is_looked_at(once: Lived) -> None:
    span = once.stream.ends()[1]
    code, document = told(once.config, "verify", "lead", "--offsets", f"1:10-{span - 10}")
    assert code == 0
    assert document["range"] == {"1": [10, span - 10]}
    assert sum(document["events"].values()) == span - 20
    code, document = told(once.config, "verify", "lead", "--until", "2020-01-01")
    assert (code, document["events"], document["predictions"]) == (0, {}, 0)


def test_people_read_the_range_the_levels_and_that_nothing_is_left(once: Lived) -> None:
    ended = scorer("verify", "lead", "--config", str(once.config), cwd=once.config.parent)
    assert ended.returncode == 0
    assert f"{once.stream.topics.events}/0: offsets 0 to " in ended.stderr
    assert f"{2 * EACH:,}  bit equal (100 %)" in ended.stdout
    assert "nothing is left unexplained" in ended.stdout


def _rescore(own: dict[str, Any]) -> None:
    own["score"] = own["score"] / 2 + 0.125


def _rebucket(own: dict[str, Any]) -> None:
    own["bucket"] = "A" if own["bucket"] == "D" else "D"


def _other_event(own: dict[str, Any]) -> None:
    own["event_digest"] = "0" * 16


def _other_offset(own: dict[str, Any]) -> None:
    own["source_offset"] += 1


def _other_lead(own: dict[str, Any]) -> None:
    own["lead_id"] = "someone-else"


def _other_model(own: dict[str, Any]) -> None:
    own["model_name"], own["prediction_id"] = "rival", own["prediction_id"].replace("lead/", "rival/", 1)


def _other_bytes(own: dict[str, Any]) -> None:
    own["model_sha256"] = "f" * 64


def _other_runtime(own: dict[str, Any]) -> None:
    own["runtime"], own["score"] = "onnxruntime 0.1", own["score"] * (1 + 3e-7)


def _far_off(own: dict[str, Any]) -> None:
    own["source_offset"] = 10_000_000
    own["prediction_id"] = own["prediction_id"].rpartition("/")[0] + "/10000000"


CHANGES: list[tuple[Change, str, str]] = [
    (_rescore, "unexplained", "different"),
    (_rebucket, "unexplained", "different"),
    (_other_event, "changed_event", "unchecked"),
    (_other_offset, "forged", "surplus"),
    (_other_lead, "forged", "different"),
    (_other_model, "forged", "surplus"),
    (_other_bytes, "other_bundle_bytes", "different"),
    (_other_runtime, "other_build", "within_tolerance"),
    (_far_off, "forged", "surplus"),
]


def test_predictions_that_were_changed_are_named_each_with_its_cause(once: Lived) -> None:
    records = list(once.predictions)
    ids: dict[str, tuple[str, str]] = {}
    for number, (change, cause, level) in enumerate(CHANGES):
        at = 10 * (number + 1)
        records[at] = changed(once.stream.registry, records[at], change)
        ids[decoded(once.stream.registry, records[at])["prediction_id"]] = cause, level
    with with_output(once, records) as config:
        code, document = told(config, "verify", "lead")
    found = {
        each["prediction_id"]: (cause, each)
        for cause, own in document["examples"].items()
        for each in own
        if each["level"] != "missing"
    }
    assert {name: (found[name][0], found[name][1]["level"]) for name in ids} == ids
    assert all(each["why"] for _, each in found.values())
    strayed = sum(level == "surplus" for _, level in ids.values())
    assert document["levels"]["missing"] == document["events"]["missing"] == strayed
    assert document["levels"]["bit_equal"] == 2 * EACH - len(CHANGES)
    assert (code, document["clean"]) == (8, False)


def test_a_build_that_explains_a_difference_within_the_tolerance_is_no_alarm(once: Lived) -> None:
    forged = changed(once.stream.registry, once.predictions[5], _other_runtime)
    with with_output(once, [*without(once.predictions, 5), forged]) as config:
        code, document = told(config, "verify", "lead")
    assert (code, document["causes"]) == (0, {"other_build": 1})


def test_one_beside_the_true_one_is_forged_a_repeat_is_none_and_one_that_was_deleted_is_missing(once: Lived) -> None:
    true, gone = once.predictions[7], once.predictions[11]
    forged = changed(once.stream.registry, true, _rescore)
    with with_output(once, [*without(once.predictions, 11), forged, true]) as config:
        code, document = told(config, "verify", "lead")
    assert (code, document["causes"], document["repeats"]) == (8, {"forged": 1, "unexplained": 1}, 1)
    assert "another prediction of the same id" in document["examples"]["forged"][0]["why"]
    assert document["events"]["prediction"] == 2 * EACH - 1
    assert (document["events"]["missing"], document["levels"]["missing"]) == (1, 1)
    (example,) = document["examples"]["unexplained"]
    assert example["prediction_id"] == decoded(once.stream.registry, gone)["prediction_id"]


def test_what_another_writer_s_open_transaction_hides_is_waited_for_and_not_missing(once: Lived) -> None:
    stream = once.stream
    other = Producer({"bootstrap.servers": stream.kafka, "transactional.id": f"{stream.group}.other"})
    other.init_transactions(20)
    with with_output(once, []) as config:
        topic = tomllib.loads(config.read_text())["streams"][0]["to"]
        other.begin_transaction()
        for partition in range(PARTITIONS):
            other.produce(topic, b"no prediction", partition=partition)
        assert other.flush(20) == 0
        republish(stream.kafka, topic, once.predictions)
        ending = Timer(4, other.commit_transaction, [20])
        ending.start()
        code, document = told(config, "verify", "lead")
        ending.join()
    assert (code, document["causes"]) == (0, {})
    assert document["skipped"] == {"no_prediction": PARTITIONS}
    assert document["levels"]["bit_equal"] == 2 * EACH


@pytest.mark.parametrize("name", ["model.toml", "model.onnx"])
def test_a_bundle_that_was_tampered_with_is_named(once: Lived, name: str) -> None:
    file = once.second / name
    true = file.read_bytes()
    tampered = true.replace(b"B = 0.2", b"B = 0.3") if name == "model.toml" else true[:-9]
    assert tampered != true
    file.write_bytes(tampered)
    try:
        code, document = told(once.config, "verify", "lead")
    finally:
        file.write_bytes(true)
    assert (code, document["causes"]) == (8, {"other_bundle_bytes": EACH})
    assert document["levels"]["bit_equal"] == EACH
    if name == "model.toml":
        whys = {each["why"] for each in document["examples"]["other_bundle_bytes"]}
        assert all("the bundle at hand has sha256" in why for why in whys)


@contextmanager
def made_anew(it: Lived, change: Callable[[Raw], Raw]) -> Iterator[None]:
    """The input topic deleted, made again, and filled with its events passed through a function."""
    topic = it.stream.topics.events
    sources = it.stream.sources()
    delete_topics(it.stream.kafka, topic)
    make_topic(it.stream.kafka, topic)
    republish(it.stream.kafka, topic, [change(each) for each in sources])
    yield


def test_a_topic_made_anew_is_told_from_a_changed_event_and_one_that_was_restored_is_bit_equal(
    kafka: str, registry: str, tmp_path: Path
) -> None:
    def one_other(record: Raw) -> Raw:
        other = it.stream.encode(next(iter(sampled("lead", 1, 99))))
        return as_value(record, other) if (record.partition, record.offset) == (0, 2) else record

    def all_later(record: Raw) -> Raw:
        return Raw(record.topic, record.partition, record.offset, record.timestamp + 1, record.key, record.value, [])

    with lived(kafka, registry, tmp_path, each=40) as it:
        with made_anew(it, one_other):
            code, document = told(it.config, "verify", "lead")
            assert (code, document["causes"]) == (8, {"changed_event": 1})
            assert document["levels"]["bit_equal"] == 79
            assert document["examples"]["changed_event"][0]["prediction_id"].endswith("/0/2")
        with made_anew(it, all_later):
            code, document = told(it.config, "verify", "lead")
            assert (code, document["causes"]) == (0, {"topic_recreated": 80})
