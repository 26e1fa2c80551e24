"""`scorer verify` on a real run with two bundles and a boundary: all is bit-equal, and what is done to it is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.harness.events import sampled
from tests.harness.topics import ROOT, Raw, stream_topics
from tests.harness.verified import (
    BAD,
    EACH,
    TOMBSTONES,
    Change,
    Lived,
    as_value,
    changed,
    lived,
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
    code, document = told(once.config, "verify", "lead", "--offsets", f"1:10-{span - 11}")
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


@pytest.mark.parametrize(
    ("change", "cause", "level", "code"),
    [
        (_rescore, "unexplained", "different", 8),
        (_rebucket, "unexplained", "different", 8),
        (_other_event, "changed_event", "unchecked", 8),
        (_other_offset, "forged", "surplus", 8),
        (_other_lead, "forged", "different", 8),
        (_other_model, "forged", "surplus", 8),
        (_other_bytes, "other_bundle_bytes", "different", 8),
        (_other_runtime, "other_build", "within_tolerance", 0),
        (_far_off, "forged", "surplus", 8),
    ],
    ids=lambda each: getattr(each, "__name__", str(each)).strip("_"),
)
def test_a_prediction_that_was_changed_is_named_with_its_cause(
    once: Lived, change: Change, cause: str, level: str, code: int
) -> None:
    at = next(at for at, each in enumerate(once.predictions) if each.offset == 20)
    forged = changed(once.stream.registry, once.predictions[at], change)
    with with_output(once, [*without(once.predictions, at), forged]) as config:
        found_code, document = told(config, "verify", "lead")
    assert document["causes"][cause] == 1
    assert document["levels"][level] == 1
    assert document["levels"]["bit_equal"] == 2 * EACH - 1
    assert found_code == code
    (example,) = document["examples"][cause]
    assert example["level"] == level
    assert example["why"]


def test_a_prediction_beside_the_true_one_is_forged_and_a_repeat_is_none(once: Lived) -> None:
    true = once.predictions[7]
    forged = changed(once.stream.registry, true, _rescore)
    with with_output(once, [*once.predictions, forged, true]) as config:
        code, document = told(config, "verify", "lead")
    assert (code, document["causes"], document["repeats"]) == (8, {"forged": 1}, 1)
    assert "another prediction of the same id" in document["examples"]["forged"][0]["why"]
    assert document["events"]["prediction"] == 2 * EACH


def test_a_deleted_prediction_is_missing(once: Lived) -> None:
    gone = once.predictions[11]
    with with_output(once, without(once.predictions, 11)) as config:
        code, document = told(config, "verify", "lead")
    assert code == 8
    assert (document["events"]["missing"], document["levels"]["missing"]) == (1, 1)
    (example,) = document["examples"]["unexplained"]
    assert example["prediction_id"].encode() in (gone.value or b"")


@pytest.mark.parametrize("name", ["model.toml", "model.onnx", "golden.jsonl"])
def test_a_bundle_that_was_tampered_with_is_named(once: Lived, name: str) -> None:
    file = once.second / name
    true = file.read_bytes()
    tampered = {"model.toml": true.replace(b"B = 0.2", b"B = 0.3"), "model.onnx": true[:-9]}.get(name, true + b"\n")
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


@pytest.fixture
def again(kafka: str, registry: str, tmp_path: Path) -> Iterator[Callable[[Callable[[Raw], Raw]], tuple[Lived, Any]]]:
    """Makes the input topic anew with its events passed through a function."""
    from confluent_kafka.admin import AdminClient, NewTopic

    from tests.harness.topics import PARTITIONS, delete_topics

    with lived(kafka, registry, tmp_path, each=40) as it:

        def made(change: Callable[[Raw], Raw]) -> tuple[Lived, Any]:
            topic = it.stream.topics.events
            sources = it.stream.sources()
            delete_topics(kafka, topic)
            admin = AdminClient({"bootstrap.servers": kafka})
            for _ in range(50):
                (future,) = admin.create_topics([NewTopic(topic, PARTITIONS, 1)]).values()
                try:
                    future.result(10)
                    break
                except Exception:  # the old one is still being deleted
                    import time

                    time.sleep(0.2)
            republish(kafka, topic, [change(each) for each in sources])
            return it, told(it.config, "verify", "lead")

        yield made


def test_a_changed_event_is_named_and_its_neighbours_in_the_restored_topic_are_bit_equal(
    again: Callable[[Callable[[Raw], Raw]], tuple[Lived, Any]],
) -> None:
    def change(record: Raw) -> Raw:
        if (record.partition, record.offset) != (0, 2):
            return record
        return as_value(record, it_encode(next(iter(sampled("lead", 1, 99)))))

    schema = json.loads((ROOT / "schemas/events.new-lead.avsc").read_text())

    def it_encode(event: Any) -> bytes:
        from tests.harness.events import encoder

        return encoder(1, schema)(event)

    _, (code, document) = again(change)
    assert (code, document["causes"]) == (8, {"changed_event": 1})
    assert document["levels"]["bit_equal"] == 79
    assert document["examples"]["changed_event"][0]["prediction_id"].endswith("/0/2")


def test_a_topic_that_was_made_anew_with_other_events_is_named(
    again: Callable[[Callable[[Raw], Raw]], tuple[Lived, Any]],
) -> None:
    def change(record: Raw) -> Raw:
        return Raw(record.topic, record.partition, record.offset, record.timestamp + 1, record.key, b"x", [])

    _, (code, document) = again(change)
    assert document["causes"]["topic_recreated"] == 80
    assert document["levels"]["bit_equal"] == 0
    assert code == 8
