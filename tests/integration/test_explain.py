"""`scorer explain` walks from an id back to its event, and `scorer compare` holds two lanes side by side."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from tests.harness.topics import PARTITIONS, Raw, delete_topics
from tests.harness.verified import BAD, EACH, Lived, changed, lived, make_topic, republish, told
from tests.harness.workers import scorer

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def once(kafka: str, registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    with lived(kafka, registry, tmp_path_factory.mktemp("explained")) as found:
        yield found


def prediction(it: Lived, version: str) -> dict[str, Any]:
    """One of the predictions of a version, decoded."""
    records = it.stream.predictions(2 * EACH)
    return next(value for each in records if (value := each["value"]) and value["model_version"] == version)


@pytest.mark.parametrize("version", ["1", "2"])
def test_an_id_leads_to_event_tensors_bundle_deployment_and_verdict(once: Lived, version: str) -> None:
    true = prediction(once, version)
    code, found = told(once.config, "explain", true["prediction_id"])
    assert code == 0
    assert found["verdict"] == {"level": "bit_equal", "cause": None, "why": "", "fields": []}
    event = found["event"]
    source = next(
        each
        for each in once.stream.sources()
        if (each.partition, each.offset) == (true["source_partition"], true["source_offset"])
    )
    assert source.value is not None
    assert bytes.fromhex(event["hex"]) == source.value
    assert event["digest"] == true["event_digest"]
    assert {path: value for _, path, _, value in event["fields"]}["lead_id"] == true["lead_id"]
    assert len(found["tensors"]) > 5
    assert all(each["values"] for each in found["tensors"].values())
    assert found["bundle"]["sha256"] == true["model_sha256"]
    assert found["deployment"]["live"]["model"] == f"lead/{version}"
    assert found["deployment"]["intent"]["why"] == ("better" if version == "2" else "the stream had no deployment")
    assert found["published"]["fields"]["score"] == true["score"] == found["scored_again"]["score"]
    assert found["rules"][0]["label"] == true["bucket"]
    assert dict(map(tuple, found["rules"][0]["bins"]))["A"] == {"1": 0.5, "2": 0.4}[version]


def test_explaining_costs_little_more_than_listing_the_deployments(once: Lived) -> None:
    true = prediction(once, "2")
    took = []
    for command in (("deployments", "lead"), ("explain", true["prediction_id"])):
        began_s = time.monotonic()
        ended = scorer(*command, "--config", str(once.config), cwd=once.config.parent)
        took.append(time.monotonic() - began_s)
        assert ended.returncode == 0
    assert took[1] < 4 * took[0], took


def test_without_payload_nothing_of_the_event_is_shown(once: Lived) -> None:
    true = prediction(once, "2")
    code, found = told(once.config, "explain", true["prediction_id"], "--no-payload")
    assert (code, found["verdict"]["level"]) == (0, "bit_equal")
    text = str(found)
    assert true["lead_id"] not in text
    assert true["event_id"] not in text
    assert "tensors" not in found
    ended = scorer("explain", true["prediction_id"], "--no-payload", "--config", str(once.config), cwd=Path.cwd())
    assert ended.returncode == 0
    assert true["lead_id"] not in ended.stdout
    assert "bit equal: scored again now, it comes out the same" in ended.stdout


def test_an_id_that_never_was_and_one_that_is_none_are_told_apart(once: Lived) -> None:
    topic = once.stream.topics.events
    code, found = told(once.config, "explain", f"lead/1/{topic}/0/999999")
    assert (code, found["verdict"], found["published"]) == (0, None, None)
    assert "ends at offset" in found["event"]["absent"]
    for wrong in ("lead/1", f"lead/1/{topic}/0/x", "lead/1/another/0/1"):
        ended = scorer("explain", wrong, "--config", str(once.config), cwd=once.config.parent)
        assert ended.returncode == 3, ended.stderr


def test_a_lane_compares_with_live_by_quantiles_bins_and_movers(once: Lived) -> None:
    lane, letters = f"{once.stream.topics.predictions}.lane.spring", f"{once.stream.topics.letters}.lane.spring"
    for topic in (lane, letters):
        make_topic(once.stream.kafka, topic)

    def moved(own: dict[str, Any]) -> None:
        own["lane"] = "spring"
        if own["source_offset"] == 3:
            own["score"], own["bucket"] = 0.9375, "A"

    try:
        records: list[Raw] = [changed(once.stream.registry, each, moved) for each in once.predictions[:-10]]
        republish(once.stream.kafka, lane, records)
        code, found = told(once.config, "compare", "lead", "live", "spring")
        assert code == 0
        assert found["events"] == {"both": 2 * EACH - 10, "live": 10, "spring": 0}
        assert found["numbers"]["score"]["same"] == 2 * EACH - 10 - PARTITIONS
        assert {row[2] for row in found["numbers"]["score"]["movers"]} == {0.9375}
        labels, matrix = found["moves"]["bucket"]["labels"], found["moves"]["bucket"]["matrix"]
        assert labels == ["A", "B", "C", "D"]
        assert sum(map(sum, matrix)) == 2 * EACH - 10
        assert sum(row[0] for row in matrix[1:]) >= 1
        code, verdict = told(once.config, "verify", "lead", "--lane", "spring")
        assert (code, verdict["lane"]) == (8, "spring")
        assert verdict["events"]["missing"] == 10 + BAD, "what live has rejected is not in the lane"
        assert verdict["levels"]["different"] == PARTITIONS
    finally:
        delete_topics(once.stream.kafka, lane, letters)


def test_an_event_that_is_gone_is_said_and_the_rest_explained(once: Lived) -> None:
    true = min(
        (each["value"] for each in once.stream.predictions(2 * EACH) if each["value"]),
        key=lambda own: (own["source_partition"], own["source_offset"]),
    )
    topic, partition = once.stream.topics.events, true["source_partition"]
    admin = AdminClient({"bootstrap.servers": once.stream.kafka})
    cut = TopicPartition(topic, partition, true["source_offset"] + 1)
    admin.delete_records([cut])[TopicPartition(topic, partition)].result(30)
    code, found = told(once.config, "explain", true["prediction_id"])
    assert (code, found["verdict"]["level"], found["verdict"]["cause"]) == (0, "unchecked", "event_gone")
    assert found["event"]["there"] is False
    assert "gone by retention" in found["event"]["absent"]
    assert found["published"]["fields"]["score"] == true["score"]
    assert found["deployment"]["intent"]["who"]
    code, document = told(once.config, "verify", "lead")
    assert (code, document["causes"]) == (0, {"event_gone": 1})
    assert document["events"]["dead_letter"] == BAD
