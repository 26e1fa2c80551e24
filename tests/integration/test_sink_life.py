"""What a sink does when its database, its topics or its schema are not as usual. Real processes, Kafka and registry."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from scorer.core.tables import table_name
from tests.harness.events import encoder, sampled
from tests.harness.lead_stream import LeadStream, lead_stream
from tests.harness.postgres import Server
from tests.harness.sinks import Prediction, prediction, sink
from tests.harness.topics import delete_topics, emptied, register, send, shipped_schema
from tests.harness.verified import make_topic
from tests.harness.workers import scorer, worker

pytestmark = pytest.mark.timeout(180)

LOCK_S = 6.0


@pytest.fixture
def leads(kafka: str, registry: str, tmp_path: Path) -> Iterator[LeadStream]:
    with lead_stream(kafka, registry, tmp_path) as it:
        yield it


def publish(it: LeadStream, predictions: list[Prediction], topic: str = "") -> None:
    """Sends predictions of this stream, with schema ids as the registry gave them."""
    schema = shipped_schema("predictions.lead-score")
    encode = encoder(register(it.registry, it.topics.predictions, schema), schema)
    rows = [{**each, "source_topic": it.topics.events} for each in predictions]
    send(it.kafka, topic or it.topics.predictions, ({"key": row["lead_id"], "value": encode(row)} for row in rows))


def many(first: int, count: int, **more: Any) -> list[Prediction]:
    return [prediction("lead", at, **more) for at in range(first, first + count)]


def once(config: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """`--once --json`: exit code, what it printed, and its log."""
    ended = scorer("sink", "sql", "lead", "--once", "--json", "--config", str(config), *arguments, cwd=config.parent)
    return ended.returncode, json.loads(ended.stdout or "{}"), ended.stderr


def ask(path: Path, query: str) -> Any:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchone()[0]


def base(it: LeadStream) -> str:
    return table_name(it.topics.predictions)


def holds(path: Path, it: LeadStream, count: int) -> bool:
    try:
        return bool(ask(path, f"SELECT count(*) FROM {base(it)}_history") == count)
    except sqlite3.OperationalError:
        return False


def test_once_is_short_until_every_event_is_scored_or_rejected(leads: LeadStream, tmp_path: Path) -> None:
    config = leads.settings()
    good = leads.send(40)
    leads.send_values([b"junk", None])
    code, totals, _ = once(config)
    assert (code, totals["waiting"] + totals["missing"]) == (7, good + 2 - 1), "a tombstone need not be scored"
    with worker(config) as running:
        running.wait_ready()
        running.until(lambda: len(leads.sources()) == good + 2, "sent")
        leads.predictions(good)
        leads.letters(1)
    code, totals, _ = once(config)
    wanted = {"complete": True, "events": good + 1, "scored": good, "rejected": 1, "missing": 0, "waiting": 0}
    assert (code, {name: totals[name] for name in wanted}) == (0, wanted)
    assert totals["skipped"] == 1
    assert ask(tmp_path / "scorer.db", f"SELECT reason FROM {base(leads)}_rejected") == "bad_frame"


def test_markers_of_many_transactions_are_told_from_lost_events(leads: LeadStream) -> None:
    config, count = leads.settings(), 300
    producer = Producer({"bootstrap.servers": leads.kafka, "transactional.id": leads.group})
    producer.init_transactions(30)
    for number, event in enumerate(sampled("lead", count)):
        producer.begin_transaction()
        producer.produce(leads.topics.events, leads.encode(event), key=str(number))
        producer.commit_transaction(30)
    with worker(config) as running:
        running.wait_ready()
        leads.predictions(count)
    code, totals, log = once(config)
    assert (code, totals["events"], totals["skipped"]) == (0, count, count), log
    assert "neighbour.waiting" not in log


def test_analysts_read_sqlite_while_it_is_written_and_a_lock_is_waited_out(leads: LeadStream, tmp_path: Path) -> None:
    path = tmp_path / "scorer.db"
    publish(leads, many(0, 100))
    with sink(leads.settings(), "lead") as running:
        running.until(lambda: holds(path, leads, 100), "written")
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            assert reader.execute(f"SELECT count(*) FROM {base(leads)}").fetchone() == (100,)
            publish(leads, many(100, 100))
            running.until(lambda: holds(path, leads, 200), "written beside a reader")
            assert reader.execute(f"SELECT count(*) FROM {base(leads)}").fetchone() == (100,), "a reader sees one state"
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            publish(leads, many(200, 100))
            time.sleep(LOCK_S)
            other.execute("ROLLBACK")
        running.until(lambda: holds(path, leads, 300), "written after the lock")
        assert "locked" in running.events("neighbour.waiting")[0]["why"]
        running.end()
        assert running.wait() == 0


def test_a_postgresql_that_is_stopped_and_locked_is_waited_for(
    leads: LeadStream, postgres: Server, database: str, tmp_path: Path
) -> None:
    url = {"url": f"{postgres.url}/{database}", "username": "scorer"}
    config = leads.settings(**{"sink.sql": url})
    query = f"SELECT count(*) FROM {base(leads)}_history"
    publish(leads, many(0, 100))
    with sink(config, "lead") as running:

        def there(count: int) -> bool:
            with postgres.connect(database) as connection:
                return bool(connection.execute(query).fetchone() == (count,))

        running.until(lambda: bool(running.events("partitions.assigned")), "reading")
        running.until(lambda: there(100), "written")
        postgres.stop("immediate")
        publish(leads, many(100, 100))
        running.until(lambda: bool(running.events("neighbour.waiting")), "waiting")
        assert [line["level"] for line in running.events("stream.waiting")] == ["info"]
        postgres.start()
        running.until(lambda: there(200), "written after the outage")
        with postgres.connect(database) as connection, connection.transaction():
            connection.execute(f"LOCK TABLE {base(leads)} IN ACCESS EXCLUSIVE MODE")
            publish(leads, many(200, 100))
            time.sleep(LOCK_S)
        running.until(lambda: there(300), "written after the lock")
        assert "lock timeout" in running.text()


def test_a_wrong_password_or_database_is_told_at_the_start(leads: LeadStream, postgres: Server) -> None:
    for more, said in (({"username": "nobody"}, "does not exist"), ({"username": "scorer"}, "does not exist")):
        config = leads.settings(**{"sink.sql": {"url": f"{postgres.url}/nowhere", **more}})
        code, _, log = once(config)
        assert (code, said in log, "check sink.sql.url, sink.sql.username" in log) == (3, True, True), log


def test_a_new_database_is_filled_from_the_beginning_whatever_the_group_has_committed(
    leads: LeadStream, tmp_path: Path
) -> None:
    config = leads.settings()
    publish(leads, many(0, 60))
    once(config)
    for each in tmp_path.glob("scorer.db*"):
        each.unlink()
    once(config)
    assert holds(tmp_path / "scorer.db", leads, 60)


def test_what_retention_takes_behind_the_last_record_is_no_loss(leads: LeadStream, tmp_path: Path) -> None:
    path, config = tmp_path / "scorer.db", leads.settings({"delivery": "exactly_once"})
    outlets = (leads.topics.predictions, leads.topics.letters)
    with worker(config) as scoring:
        scoring.wait_ready()
        leads.send(40, seed=1)
        leads.send_values([b"junk"])
        leads.letters(1)
        leads.predictions(40)
        with sink(config, "lead") as running:
            running.until(lambda: holds(path, leads, 40), "written")
            time.sleep(1.0)  # it has all records by now, and nothing more comes
        for topic in outlets:
            emptied(leads.kafka, topic)
        with sink(config, "lead", name="next") as following:
            following.until(lambda: following.events("stream.running"), "reading")
            leads.send(40, seed=2)
            following.until(lambda: holds(path, leads, 80), "written as before")
            assert not following.events("stream.halted")


def test_a_lane_has_tables_of_its_own(leads: LeadStream, tmp_path: Path) -> None:
    lane, config = f"{leads.topics.predictions}.lane.march", leads.settings()
    rejections = f"{leads.topics.letters}.lane.march"
    for topic in (lane, rejections):
        make_topic(leads.kafka, topic)
    try:
        publish(leads, many(0, 30, score=0.25))
        publish(leads, many(0, 30, lane="march", score=0.75), lane)
        once(config)
        once(config, "--lane", "march")
    finally:
        delete_topics(leads.kafka, lane, rejections)
    path = tmp_path / "scorer.db"
    assert ask(path, f"SELECT sum(score) FROM {base(leads)}") == 7.5
    assert ask(path, f"SELECT sum(score) FROM {table_name(leads.topics.predictions, 'march')}") == 22.5


def test_a_new_field_is_a_new_column_and_a_type_that_does_not_fit_names_the_statement(
    leads: LeadStream, postgres: Server, database: str, tmp_path: Path
) -> None:
    url = {"url": f"{postgres.url}/{database}", "username": "scorer"}
    config, schema = leads.settings(**{"sink.sql": url}), shipped_schema("predictions.lead-score")
    publish(leads, many(0, 30))
    once(config)

    def publish_as(changed: dict[str, Any], rows: list[Prediction], subject: str) -> None:
        encode = encoder(register(leads.registry, subject, changed), changed)
        send(leads.kafka, leads.topics.predictions, ({"key": row["lead_id"], "value": encode(row)} for row in rows))

    grown = {**schema, "fields": [*schema["fields"], {"name": "churn", "type": ["null", "double"], "default": None}]}
    publish_as(grown, many(30, 30, churn=0.125), leads.topics.predictions)
    once(config)
    wide = [{**each, "type": "double"} if each["name"] == "score" else each for each in schema["fields"]]
    publish_as({**schema, "fields": wide}, many(60, 30, score=0.1), f"{leads.topics.predictions}.other")
    code, _, log = once(config)
    assert code != 0
    statements = log.partition("(it makes its views again):")[2].split("error:")[0]
    with postgres.connect(database) as connection:
        found = f"SELECT count(churn), count(*) FROM {base(leads)}_history"
        assert connection.execute(found).fetchone() == (30, 60)
        for line in statements.replace("\\n", "\n").splitlines():
            if line.strip().startswith(("DROP VIEW", "ALTER TABLE")):
                connection.execute(line.partition(";")[0])
    once(config)
    with postgres.connect(database) as connection:
        assert connection.execute(f"SELECT count(*) FROM {base(leads)}_history WHERE score = 0.1").fetchone() == (30,)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of that size."""
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=False)
    if made.returncode:
        pytest.skip("NOT TESTED, no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED, only root can mount a small disk")
def test_a_full_disk_is_waited_out(leads: LeadStream, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "6m") as disk:
        ballast, path = disk / "ballast", disk / "scores.db"
        config = leads.settings(**{"sink.sql": {"url": f"sqlite:///{path}", "rows_max": 500}})
        publish(leads, many(0, 200))
        with sink(config, "lead") as running:
            running.until(lambda: holds(path, leads, 200), "written")
            try:
                with ballast.open("wb") as file:
                    file.write(b"x" * (5 << 20))
            except OSError:
                pass
            publish(leads, many(200, 4000))
            running.until(lambda: bool(running.events("neighbour.waiting")), "waiting")
            ballast.unlink()
            subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            running.until(lambda: holds(path, leads, 4200), "written after there was room")
            running.end()
            assert running.wait() == 0
