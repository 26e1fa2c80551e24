"""All leads and logins in SQL: the tables are what plain Python makes of the topics, whatever happens on the way.

The predictions are made once, by real workers; each test reads them into a database of its own.
"""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scorer.core.tables import table_name
from tests.harness.events import LEADS, LOGINS, all_events, announce, encoder, messages
from tests.harness.postgres import Server
from tests.harness.sinks import ITEMS, Tables, postgres_tables, sink, sqlite_tables, tables_of
from tests.harness.topics import (
    Raw,
    Topics,
    fresh_group,
    read_raw,
    register,
    schemas_of,
    send,
    shipped_schema,
    stream_topics,
)
from tests.harness.workers import scorer, stream, worker, write_settings

pytestmark = pytest.mark.timeout(400)

KINDS = ("lead", "login")
COUNTS = {"lead": LEADS, "login": LOGINS}
SCHEMAS = {
    "lead": ("events.new-lead", "predictions.lead-score", "lead_id"),
    "login": ("events.login", "predictions.recommendation", "customer_id"),
}
BUNDLES = {"lead": "lead/1", "login": "recommend/1"}
RESTARTS = 3
SEED = 20_261_123

each_kind = pytest.mark.parametrize("kind", KINDS)


@dataclass(frozen=True, slots=True)
class Made:
    """The predictions of one kind, and the tables that they should come to."""

    kafka: str
    registry: str
    topics: Topics
    predictions: list[Raw]
    tables: Tables

    def config(self, folder: Path, kind: str, topics: Topics | None = None, **more: Any) -> Path:
        """Settings with a group of their own; logins are served by the same."""
        return write_settings(
            folder,
            kafka=self.kafka,
            registry=self.registry,
            group=fresh_group(),
            streams=[stream(kind, BUNDLES[kind], topics or self.topics)],
            **more,
        )


@pytest.fixture(scope="module")
def made(
    kafka: str, registry: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[dict[str, Made]]:
    folder = tmp_path_factory.mktemp("made")
    with ExitStack() as stack:
        topics = {kind: stack.enter_context(stream_topics(kafka)) for kind in KINDS}
        for kind, (events, predictions, _) in SCHEMAS.items():
            register(registry, topics[kind].events, shipped_schema(events))
            register(registry, topics[kind].predictions, shipped_schema(predictions))
        streams = [stream(kind, BUNDLES[kind], topics[kind]) for kind in KINDS]
        config = write_settings(folder, kafka=kafka, registry=registry, group=fresh_group(), streams=streams)
        stack.enter_context(worker(config)).wait_ready()
        found = {}
        for kind in KINDS:
            events = all_events(kind)
            announce(request, f"{len(events.events)} {kind}s: {events.origin}")
            schema = shipped_schema(SCHEMAS[kind][0])
            encode = encoder(register(registry, topics[kind].events, schema), schema)
            send(kafka, topics[kind].events, messages(events.events, SCHEMAS[kind][2], encode))
            raw = read_raw(kafka, topics[kind].predictions, COUNTS[kind], 150.0)
            assert len(raw) == COUNTS[kind]
            found[kind] = Made(kafka, registry, topics[kind], raw, _expected(registry, topics[kind], kind, raw))
        yield found


@each_kind
def test_sqlite_holds_what_the_topics_say(made: dict[str, Made], kind: str, tmp_path: Path) -> None:
    it = made[kind]
    ended = scorer("sink", "sql", kind, "--once", "--json", "--config", str(it.config(tmp_path, kind)), cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert sqlite_tables(tmp_path / "scorer.db", list(it.tables)) == it.tables
    _is_complete(json.loads(ended.stdout), kind)


@each_kind
def test_postgresql_holds_what_the_topics_say(
    made: dict[str, Made], kind: str, tmp_path: Path, postgres: Server, database: str
) -> None:
    it = made[kind]
    config = it.config(tmp_path, kind, **_in(postgres, database))
    ended = scorer("sink", "sql", kind, "--once", "--json", "--config", str(config), cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    with postgres.connect(database) as connection:
        assert postgres_tables(connection, list(it.tables)) == it.tables
    _is_complete(json.loads(ended.stdout), kind)


@pytest.mark.parametrize("kills", [6, pytest.param(20, marks=pytest.mark.thorough)])
def test_a_sink_killed_again_and_again_and_a_server_that_crashes_3_times_leave_the_same_tables(
    made: dict[str, Made],
    tmp_path: Path,
    postgres: Server,
    database: str,
    request: pytest.FixtureRequest,
    *,
    kills: int,
) -> None:
    it, chance = made["lead"], random.Random(SEED)
    more = _in(postgres, database, rows_max=60, wait_ms_max=0)
    # A member of that name takes its own place at once; else the group would wait 45 s for each that was killed.
    config = it.config(tmp_path, "lead", kafka_consumer={"group.instance.id": "the-one"}, **more)
    during = 0
    for number in range(kills):
        with sink(config, "lead", name=f"sink-{number}") as running:
            running.until(lambda running=running: running.events("partitions.assigned"), "reading")
            time.sleep(chance.uniform(0.0, 0.25))
            if number % (kills // RESTARTS) == kills // RESTARTS - 1:
                postgres.restart("immediate")
                time.sleep(chance.uniform(0.0, 0.25))
            running.signal(signal.SIGKILL)
            assert running.wait() == -signal.SIGKILL
        with postgres.connect(database) as connection:
            during += connection.execute(f"SELECT count(*) < {LEADS} FROM {_base(it)}_history").fetchone()[0]
    announce(request, f"{during} of {kills} kills came before the load had ended")
    assert during >= kills // 2
    ended = scorer("sink", "sql", "lead", "--once", "--json", "--config", str(config), cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    _is_complete(json.loads(ended.stdout), "lead")
    with postgres.connect(database) as connection:
        assert postgres_tables(connection, list(it.tables)) == it.tables


@each_kind
def test_predictions_that_come_shuffled_and_twice_leave_the_same_tables(
    made: dict[str, Made], kind: str, tmp_path: Path, postgres: Server, database: str
) -> None:
    it, chance = made[kind], random.Random(SEED)
    again = [*it.predictions, *it.predictions]
    chance.shuffle(again)
    with stream_topics(it.kafka) as other:
        register(it.registry, other.predictions, shipped_schema(SCHEMAS[kind][1]))
        send(it.kafka, other.predictions, ({"key": each.key, "value": each.value} for each in again))
        topics = Topics(it.topics.events, other.predictions, other.letters)
        config = it.config(tmp_path, kind, topics, **_in(postgres, database, rows_max=5000))
        for arguments in ((), ("--url", f"sqlite:///{tmp_path}/scores.db")):
            ended = scorer("sink", "sql", kind, "--once", "--config", str(config), *arguments, cwd=tmp_path)
            assert ended.returncode == 0, ended.stderr
    named = {name.replace(_base(it), table_name(other.predictions)): rows for name, rows in it.tables.items()}
    with postgres.connect(database) as connection:
        assert postgres_tables(connection, list(named)) == named
    assert sqlite_tables(tmp_path / "scores.db", list(named)) == named


def _base(it: Made) -> str:
    return table_name(it.topics.predictions)


def _expected(registry: str, topics: Topics, kind: str, raw: list[Raw]) -> Tables:
    base = table_name(topics.predictions)
    found = tables_of(base, kind, raw, schemas_of(registry, raw))
    assert len(found) == 2 + 2 * len(ITEMS[kind])
    assert len(found[f"{base}_history"]) == COUNTS[kind] > len(found[base]) > 0 or kind == "lead"
    return found


def _in(postgres: Server, database: str, **more: Any) -> dict[str, dict[str, Any]]:
    return {"sink.sql": {"url": f"{postgres.url}/{database}", "username": "scorer", **more}}


def _is_complete(totals: dict[str, Any], kind: str) -> None:
    count = COUNTS[kind]
    wanted = {"complete": True, "events": count, "scored": count, "rejected": 0, "missing": 0, "waiting": 0}
    assert {name: totals[name] for name in wanted} == wanted
