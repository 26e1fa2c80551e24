"""Writers move on to other versions of the event's schema while the worker runs: it follows without a restart."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.harness.claims import in_order, place, places, scored_once, scored_right
from tests.harness.events import SEED, encoder, sampled
from tests.harness.plain_scorer import PlainScorer, decoded, parsed
from tests.harness.topics import (
    ROOT,
    Raw,
    fresh_group,
    read_raw,
    register,
    schema_id_of,
    schemas_of,
    send,
    shipped_schema,
    stream_topics,
)
from tests.harness.workers import Worker, stream, worker, write_settings
from tests.oracle import python_reader
from tests.oracle.record import Record

pytestmark = pytest.mark.timeout(180)

PER_VERSION = 500
SLOW = 5
WAIT_S_MAX = 60.0

Schema = dict[str, Any]
Event = dict[str, Any]


def _add(schema: Schema) -> None:
    schema["fields"].insert(3, {"name": "referrer", "type": "string", "default": ""})


def _drop(schema: Schema) -> None:
    schema["fields"] = [each for each in schema["fields"] if each["name"] != "days_since_contact"]


def _grow_enum(schema: Schema) -> None:
    _field(schema, "job")["type"]["symbols"].insert(1, "astronaut")  # the index of every later symbol moves


def _grow_int(schema: Schema) -> None:
    for name in ("age", "campaign", "previous_contacts"):
        _field(schema, name)["type"] = "long"


def _make_nullable(schema: Schema) -> None:
    for name in ("job", "loan", "age"):
        _field(schema, name)["type"] = ["null", _field(schema, name)["type"]]


def _reorder(schema: Schema) -> None:
    first = [each for each in schema["fields"] if each["name"] in ("euribor_3m", "employees", "age", "lead_id")]
    schema["fields"] = [*reversed(first), *(each for each in schema["fields"] if each not in first)]


CHANGES: Mapping[str, Callable[[Schema], None]] = {
    "as shipped": lambda _: None,
    "field added": _add,
    "optional field gone": _drop,
    "enum grown": _grow_enum,
    "int grown to long": _grow_int,
    "nullable made": _make_nullable,
    "fields in another order": _reorder,
}
"""Each version keeps the changes of those before it; the registry is told that they have to be BACKWARD."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the records of all writers came to; `ids` are the versions' schema ids by name."""

    ids: dict[str, int]
    sources: list[Raw]
    predictions: list[Record]
    letters: list[Raw]
    worker: Worker


@pytest.fixture(scope="module")
def outcome(kafka: str, registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    rng = random.Random(SEED)
    with stream_topics(kafka) as topics:
        schema, writers, ids = shipped_schema("events.new-lead"), [], {}
        register(registry, topics.predictions, shipped_schema("predictions.lead-score"))
        register(registry, topics.events, schema, "BACKWARD")
        config = write_settings(
            tmp_path_factory.mktemp("writers"),
            kafka=kafka,
            registry=registry,
            group=fresh_group(),
            streams=[stream("lead", "lead/1", topics)],
        )
        with worker(config) as running:
            running.wait_ready()
            for at, (name, change) in enumerate(CHANGES.items()):
                schema = copy.deepcopy(schema)
                change(schema)
                ids[name] = register(registry, topics.events, schema)
                writers.append(_writer(schema, ids[name], rng))
                # The writers of all versions so far at once, the new one most of all; then a few that come alone.
                fast, slow = sampled("lead", PER_VERSION, SEED + at), sampled("lead", SLOW, SEED - at - 1)
                values = [(rng.choice([*writers, writers[-1]])(event), event) for event in fast]
                values += [(writers[-1](event), event) for event in slow]
                sent = [{"key": event["lead_id"].encode(), "value": value} for value, event in values]
                send(kafka, topics.events, sent[:PER_VERSION])
                send(kafka, topics.events, sent[PER_VERSION:], rate=50)
            count = len(CHANGES) * (PER_VERSION + SLOW)
            predictions = python_reader.read_all(
                kafka, topics.predictions, registry, at_least=count, wait_s_max=WAIT_S_MAX
            )
            sources, letters = read_raw(kafka, topics.events, count), read_raw(kafka, topics.letters)
            yield Outcome(ids, sources, predictions, letters, running)


def test_no_change_of_a_writer_costs_a_record(outcome: Outcome) -> None:
    assert len(outcome.sources) == len(CHANGES) * (PER_VERSION + SLOW)
    assert outcome.letters == []
    scored_once(outcome.predictions, outcome.sources)
    in_order(outcome.predictions)


@pytest.mark.parametrize("version", CHANGES)
def test_events_of_every_version_get_the_score_that_their_values_deserve(
    outcome: Outcome, registry: str, version: str
) -> None:
    own = [source for source in outcome.sources if schema_id_of(source) == outcome.ids[version]]
    assert len(own) > PER_VERSION / len(CHANGES) / 2
    its_places = places(own)
    predictions = [record for record in outcome.predictions if place(record) in its_places]
    scored_right(predictions, own, PlainScorer(ROOT / "models" / "lead" / "1"), registry)


def test_every_version_is_told_from_the_others_by_its_schema_id(outcome: Outcome) -> None:
    assert len(set(outcome.ids.values())) == len(CHANGES)
    assert {(record["value"] or {})["source_schema_id"] for record in outcome.predictions} == set(outcome.ids.values())


def test_writers_really_used_what_was_new(outcome: Outcome, registry: str) -> None:
    schemas = parsed(schemas_of(registry, outcome.sources))
    events = [decoded(source.value or b"", schemas[schema_id_of(source)]) for source in outcome.sources]
    assert {"astronaut", None} <= {event["job"] for event in events}
    assert any(event.get("referrer") for event in events)
    assert any("days_since_contact" not in event for event in events)
    assert any(event.get("days_since_contact") is not None for event in events)


def test_the_worker_has_not_been_started_again(outcome: Outcome) -> None:
    assert outcome.worker.running
    assert outcome.worker.ready()
    assert len(outcome.worker.events("stream.serving")) == 1
    assert outcome.worker.events("stream.halted") == []


def _writer(schema: Schema, schema_id: int, rng: random.Random) -> Callable[[Event], bytes]:
    """Writes events by one version, and makes use of what it allows."""
    encode, types = encoder(schema_id, schema), {each["name"]: each["type"] for each in schema["fields"]}

    def write(event: Event) -> bytes:
        job = [event["job"]]
        job += ["astronaut"] if "astronaut" in str(types["job"]) else []
        job += [None] if isinstance(types["job"], list) else []
        return encode({**event, "job": rng.choice(job), "referrer": rng.choice(["", "Zoë", "x" * 200])})

    return write


def _field(schema: Schema, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in schema["fields"] if each["name"] == name)
    return found
