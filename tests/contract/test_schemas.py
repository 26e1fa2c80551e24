"""The shipped schemas: what every reader of a topic relies on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import pytest

from scorer.core.compose import PROVENANCE
from scorer.core.schema import walk, writer_schema
from scorer.edges.schema_folder import INDEX, SchemaFolder
from scorer.local.events import KEYS, OUTPUTS, TOPICS

FOLDER = Path(__file__).parents[2] / "schemas"
FILES = sorted(path.name for path in FOLDER.glob("*.avsc"))
EVENTS = [name for name in FILES if name.startswith("events.")]
DEPLOYMENTS = "scorer.deployments.avsc"
PREDICTIONS = [name for name in FILES if name.startswith("predictions.")]
INDEXED: list[dict[str, Any]] = json.loads((FOLDER / INDEX).read_text())
TIMES = ("occurred_at", "scored_at", "source_timestamp")


def raw(name: str) -> dict[str, Any]:
    document = json.loads((FOLDER / name).read_text())
    assert isinstance(document, dict)
    return document


def fields(schema: Any) -> Iterator[dict[str, Any]]:
    """Every field of every record in a schema, however deep."""
    if isinstance(schema, list):
        for branch in schema:
            yield from fields(branch)
    elif isinstance(schema, dict):
        for field in schema.get("fields", ()):
            yield field
            yield from fields(field["type"])
        for key in ("type", "items", "values"):
            yield from fields(schema.get(key))


def named(name: str) -> dict[str, Any]:
    return {field["name"]: field["type"] for field in raw(name)["fields"]}


def test_there_is_an_event_and_a_prediction_for_each_shipped_stream() -> None:
    assert sorted(f"{topic}.avsc" for topic in TOPICS.values()) == EVENTS
    assert sorted(f"{topic}.avsc" for topic in OUTPUTS.values()) == PREDICTIONS


@pytest.mark.parametrize("name", FILES)
def test_each_schema_is_admitted_and_decoded_by_column(name: str) -> None:
    schema = writer_schema(1, (FOLDER / name).read_text())
    assert schema.by_record_only is None


@pytest.mark.parametrize("name", FILES)
def test_each_schema_is_one_that_avro_itself_takes_with_its_docs_and_logical_types(name: str) -> None:
    fastavro.parse_schema(raw(name))


@pytest.mark.parametrize("name", FILES)
def test_each_record_and_each_field_says_what_it_is(name: str) -> None:
    schema = raw(name)
    assert len(schema["doc"]) > 20
    undocumented = [field["name"] for field in fields(schema) if len(field.get("doc", "")) < 5]
    assert undocumented == []


@pytest.mark.parametrize("name", FILES)
def test_names_are_lower_case_words_and_the_namespace_is_the_topics_first_word(name: str) -> None:
    schema = raw(name)
    assert schema["namespace"] == name.partition(".")[0]
    assert [field["name"] for field in fields(schema) if not field["name"].replace("_", "a").islower()] == []


@pytest.mark.parametrize("name", FILES)
def test_times_are_moments_in_milliseconds(name: str) -> None:
    moment = {"type": "long", "logicalType": "timestamp-millis"}
    found = {key: kind for key, kind in named(name).items() if key in TIMES or key.endswith("_at")}
    assert {"occurred_at", "said_at"} & found.keys()
    assert found == dict.fromkeys(found, moment)
    logical = {node.logical for _, node in walk(writer_schema(1, (FOLDER / name).read_text()).root)}
    assert logical == {"", "timestamp-millis"}


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_says_which_it_is_who_it_is_about_and_when_it_happened(name: str) -> None:
    kind = next(kind for kind, topic in TOPICS.items() if name == f"{topic}.avsc")
    first = list(named(name))[:3]
    assert first == ["event_id", KEYS[kind], "occurred_at"]
    assert (named(name)["event_id"], named(name)[KEYS[kind]]) == ("string", "string")


@pytest.mark.parametrize("name", PREDICTIONS)
def test_a_prediction_has_every_provenance_field_and_none_may_be_null(name: str) -> None:
    kinds = {
        key: kind["type"] if isinstance(kind, dict) else kind for key, kind in named(name).items() if key in PROVENANCE
    }
    assert kinds.keys() == PROVENANCE.keys()
    assert [key for key, kind in kinds.items() if kind not in PROVENANCE[key]] == []


@pytest.mark.parametrize("kind", TOPICS)
def test_a_prediction_is_about_the_entity_of_its_event(kind: str) -> None:
    assert named(f"{OUTPUTS[kind]}.avsc")[KEYS[kind]] == "string"


def test_the_length_of_the_call_is_nowhere_in_a_lead_as_it_is_known_only_after_what_is_predicted() -> None:
    schema = raw("events.new-lead.avsc")
    assert "duration" not in {field["name"] for field in fields(schema)}
    assert "duration" not in json.dumps(schema)


@pytest.mark.parametrize("name", FILES)
def test_every_enum_that_may_grow_has_a_default_for_readers_who_do_not_know_the_new_symbol(name: str) -> None:
    fixed = {"Month", "DayOfWeek", "Bucket"}  # these never get another symbol
    enums = [each for each in _types(raw(name)) if each.get("type") == "enum" and each["name"] not in fixed]
    assert [each["name"] for each in enums if each.get("default") not in each["symbols"]] == []


def _types(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, list):
        for branch in schema:
            yield from _types(branch)
    elif isinstance(schema, dict):
        yield schema
        for key in ("type", "items", "values"):
            yield from _types(schema.get(key))
        for field in schema.get("fields", ()):
            yield from _types(field["type"])


def test_the_index_agrees_with_the_folder() -> None:
    assert sorted(entry["file"] for entry in INDEXED) == FILES
    assert sorted(entry["id"] for entry in INDEXED) == list(range(1, len(INDEXED) + 1))
    for entry in INDEXED:
        assert entry["subject"] == f"{entry['file'].removesuffix('.avsc')}-value"
        assert entry["version"] == 1


def test_the_index_promises_what_setup_asks_of_a_real_registry() -> None:
    found = {entry["file"]: entry["compatibility"] for entry in INDEXED}
    assert found == {
        **dict.fromkeys(EVENTS, "BACKWARD"),
        **dict.fromkeys([*PREDICTIONS, DEPLOYMENTS], "FULL_TRANSITIVE"),
    }


def test_the_folder_answers_as_a_registry_with_each_id_for_its_file() -> None:
    folder = SchemaFolder(FOLDER)
    for entry in INDEXED:
        text = (FOLDER / entry["file"]).read_text()
        assert folder.text(entry["id"]) == text
        assert folder.versions(entry["subject"]) == [(entry["id"], text)]
