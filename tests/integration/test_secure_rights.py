"""A right that is missing is named with its resource, at the start or while a worker runs; nothing is lost by it."""

from __future__ import annotations

import json
import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from scorer.core.errors import RefusedError
from scorer.edges.kafka.credentials import current
from scorer.edges.kafka.reader import KafkaReader
from tests.harness.claims import scored_at_least_once, scored_once
from tests.harness.lock import Lock, lock
from tests.harness.secure_kafka import Right, SecureKafka
from tests.harness.topics import ROOT, send
from tests.harness.workers import Worker, scorer, worker

pytestmark = pytest.mark.timeout(150)

FOUND_S_MAX = 30.0
COUNT = 200
ASKED = ("input", "output", "letters", "group", "deployments")
"""Rights that a broker can be asked about; a transactional id can only be tried."""


def _named(mine: Lock, place: str) -> str:
    """What a message has to say of a right that is missing: the operation, the resource, and what grants it."""
    right = mine.right(place)
    kind, name = re.escape(right.kind), re.escape(right.name)
    return (
        rf"Kafka denies this user .*{right.operation} on {kind} {name}.*"
        rf"kafka-acls --add --allow-principal User:NAME .*--operation {right.operation} .*--{kind} {name}"
    )


def test_a_worker_without_a_right_does_not_start_and_goes_on_once_it_is_granted(
    locked: SecureKafka, tmp_path: Path
) -> None:
    with lock(locked, tmp_path, granted=False) as mine:
        config = mine.settings(mine.scram(), {"delivery": "exactly_once"})
        transaction = mine.right("transaction")
        for rights in ([], [right for right in mine.rights if right != transaction]):
            if rights:
                locked.allow(mine.principal, rights)
            with worker(config, name=f"with-{len(rights)}") as running:
                assert running.wait(FOUND_S_MAX) == 3
                said = running.text()
            for place in ("transaction", *ASKED) if rights else ASKED:
                shows = re.search(_named(mine, place), said) is not None
                assert shows is (place == "transaction" if rights else True), f"{place}: {said}"
            assert not running.events("neighbour.waiting"), "what is denied is not tried again and again"
        locked.allow(mine.principal, [transaction])
        with worker(config, name="allowed") as running:
            running.wait_ready()
            mine.leads.send(COUNT)
            scored_once(mine.leads.predictions(COUNT), mine.leads.sources(COUNT))
        assert not mine.betrayed()


@pytest.mark.parametrize(
    ("place", "delivery"),
    [
        ("input", "at_least_once"),
        pytest.param("output", "at_least_once", marks=pytest.mark.thorough),
        ("output", "exactly_once"),
        ("letters", "at_least_once"),
        pytest.param("group", "at_least_once", marks=pytest.mark.thorough),
        ("group", "exactly_once"),
        ("transaction", "exactly_once"),
        ("deployments", "at_least_once"),
    ],
)
def test_a_right_that_is_taken_away_halts_the_stream_and_nothing_is_lost_once_it_is_back(
    locked: SecureKafka, tmp_path: Path, place: str, delivery: str
) -> None:
    with lock(locked, tmp_path) as mine:
        config = mine.settings(mine.scram(), {"delivery": delivery})
        with worker(config) as running:
            running.wait_ready()
            first = mine.leads.send(COUNT, seed=1)
            mine.leads.predictions(first)
            locked.forbid(mine.principal, mine.right(place))
            second = mine.leads.send(COUNT, seed=2)
            mine.leads.send_values([b"\1no frame"])
            _halts(running, mine, place)
            time.sleep(1.0)
            assert running.health("live")[0] == 200, running.text()
            assert running.health("ready")[1]["state"] == "halted"
            assert not mine.betrayed(running)
            running.signal(signal.SIGTERM)
            assert running.wait() == 0
        locked.allow(mine.principal, [mine.right(place)])
        with worker(config, name="next") as following:
            following.wait_ready()
            predictions = mine.leads.predictions(first + second)
            sources = [each for each in mine.leads.sources(first + second + 1) if each.value != b"\1no frame"]
            letters = mine.leads.letters(1)
        (scored_once if delivery == "exactly_once" else scored_at_least_once)(predictions, sources)
        assert {letter.value for letter in letters} == {b"\1no frame"}


def test_a_reader_says_that_it_may_no_longer_read(locked: SecureKafka, tmp_path: Path) -> None:
    with lock(locked, tmp_path) as mine:
        mine.leads.send(COUNT)
        properties = {**mine.scram(), "sasl.password": mine.password}
        reader = KafkaReader(current(properties), [mine.leads.topics.events], start="earliest", report=_unheard)
        try:
            assert sum(len(batch) for batch in _read(reader, COUNT)) == COUNT
            locked.forbid(mine.principal, mine.right("input"))
            with pytest.raises(RefusedError, match=f"Read on topic {mine.leads.topics.events}"):
                _read(reader, 1)
        finally:
            reader.close()


@pytest.mark.parametrize(
    ("command", "place"),
    [
        (("watch", "lead", "--once"), "predictions"),
        (("dead-letters", "list", "lead"), "letters"),
        (("sink", "sql", "lead", "--once"), "group"),
        (("sink", "sql", "lead"), "group"),
    ],
)
def test_a_command_that_may_not_read_says_so(
    locked: SecureKafka, tmp_path: Path, command: tuple[str, ...], place: str
) -> None:
    with lock(locked, tmp_path) as mine:  # a worker's rights: it may write there, and has a group of its own
        for name in (mine.leads.topics.predictions, mine.leads.topics.letters):
            send(locked.plain, name, [{"key": "k", "value": b"v"}] * 20)
        config = mine.settings(mine.scram())
        ended = scorer(*command, "--config", str(config), cwd=tmp_path, wait_s_max=FOUND_S_MAX)
        assert ended.returncode == 3, ended.stderr
        group, topics = f"{mine.leads.group}.sink-sql.lead", mine.leads.topics
        resources = {
            "predictions": [f"topic {topics.predictions}"],
            "letters": [f"topic {topics.letters}"],
            "group": [
                f"topic {topics.predictions}",
                f"topic {topics.letters}",
                f"group {group}",
                f"group {group}.dead-letters",
            ],
        }[place]
        named = re.escape(", ".join(f"Read on {each}" for each in resources))
        assert re.search(rf"^error: Kafka denies this user {named}\. Grant it: ", ended.stderr, re.M), ended.stderr
        assert not mine.betrayed()


def test_setup_needs_to_create_and_to_look_at_its_topics_and_no_more(locked: SecureKafka, tmp_path: Path) -> None:
    registry, given = tmp_path / "registry", tmp_path / "given"
    registry.mkdir()
    shutil.copytree(ROOT / "schemas", given)
    with lock(locked, tmp_path, granted=False) as mine:
        topics = mine.leads.topics
        places = {"from": topics.events, "to": topics.predictions, "dead_letters": topics.letters}
        names = {place: f"{name}.fresh" for place, name in places.items()}
        flags = [f"streams.lead.{place}={name}" for place, name in names.items()]
        flags += [f"registry.url=folder:{registry}", f"deployments.topic={topics.events}.fresh-deployments"]
        locked.allow(
            mine.principal,
            [
                Right("topic", name, operation, pattern="prefixed")
                for name in places.values()
                for operation in ("Create", "Describe", "DescribeConfigs")
            ],
        )
        config = mine.settings(mine.scram())
        command = ["setup", "--json", "--config", str(config), *(part for flag in flags for part in ("--set", flag))]
        (given / "events.new-lead.avsc").rename(given / f"{names['from']}.avsc")
        ended = scorer(
            *command, "--schemas", str(given), cwd=tmp_path, wait_s_max=25
        )  # not to see them takes 10 s each
        assert ended.returncode == 0, ended.stderr
        assert len(json.loads(ended.stdout)["topics_created"]) == 4
        again = scorer(*command, "--schemas", str(given), cwd=tmp_path, wait_s_max=60)
        assert (again.returncode, json.loads(again.stdout)["topics_created"]) == (0, [])
        assert not mine.betrayed()


def _halts(running: Worker, mine: Lock, place: str) -> None:
    running.until(lambda: running.health("ready")[1].get("state") == "halted", "halted", FOUND_S_MAX)
    (told,) = running.events("stream.halted")
    assert told["level"] == "error"
    assert re.search(_named(mine, place), told["why"]), told["why"]


def _read(reader: KafkaReader, rows: int) -> list[list[object]]:
    until_s, batches = time.monotonic() + FOUND_S_MAX, []
    while sum(map(len, batches)) < rows:
        assert time.monotonic() < until_s, "it neither reads nor says that it may not"
        batches += reader.read(1_000, 200)
    return batches


def _unheard(event: str, fields: object) -> None:
    """Log lines are of no interest here."""
