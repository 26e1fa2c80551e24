"""SASL_SSL and mutual TLS to a real Kafka: with right credentials, wrong ones, some that have run out, and new ones.

T29 of the fault plan, together with test_secure_rights.py.
"""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.harness.claims import scored_at_least_once, scored_once, scored_right
from tests.harness.lock import SECRET, Lock, lock
from tests.harness.plain_scorer import PlainScorer
from tests.harness.secure_kafka import Authority, SecureKafka
from tests.harness.topics import ROOT
from tests.harness.workers import Worker, scorer, worker

pytestmark = pytest.mark.timeout(150)

FOUND_S_MAX = 30.0
COUNT = 200


@pytest.mark.parametrize(
    ("way", "delivery"), [("scram", "at_least_once"), ("scram", "exactly_once"), ("mutual", "exactly_once")]
)
def test_a_worker_with_the_least_rights_scores_over_an_encrypted_way(
    locked: SecureKafka, tmp_path: Path, way: str, delivery: str
) -> None:
    with lock(locked, tmp_path) as mine:
        certificate = locked.authority.issue(mine.name)
        properties = mine.scram() if way == "scram" else _by_name(mine, certificate)
        with worker(mine.settings(properties, {"delivery": delivery})) as running:
            running.wait_ready()
            mine.leads.send(COUNT)
            predictions, sources = mine.leads.predictions(COUNT), mine.leads.sources(COUNT)
            mine.leads.send_values([b"\1no frame"])
            assert len(mine.leads.letters(1)) == 1
            assert not mine.betrayed(running)
            running.signal(signal.SIGTERM)
            assert running.wait() == 0
        scored_once(predictions, sources)
        scored_right(predictions, sources, PlainScorer(ROOT / "models" / "lead" / "1"), mine.leads.registry)


WRONG = {
    "wrong password": r"Kafka refuses the credentials: .*SCRAM-SHA-512.* Look at sasl.username and sasl.password",
    "unknown authority": r"no trusted connection to Kafka: .*certificate.* Look at ssl.ca.location",
    "the broker's certificate has run out": r"no trusted connection to Kafka: .*certificate",
    "ours has run out": r"no trusted connection to Kafka: .*alert certificate",
    "ours is of another authority": r"no trusted connection to Kafka: .*alert certificate",
}


def _properties(mine: Lock, what: str) -> dict[str, Any]:
    authority, stranger = mine.kafka.authority, Authority(mine.leads.folder, "stranger")
    match what:
        case "wrong password":
            mine.file.write_text(f"{SECRET}-wrong", encoding="utf-8")
            return mine.scram()
        case "unknown authority":
            return mine.scram(**{"ssl.ca.location": str(stranger.file)})
        case "the broker's certificate has run out":
            return mine.scram(mine.kafka.lapsed)
        case "ours has run out":
            return mine.mutual(authority.issue(mine.name, days=-1))
    return mine.mutual(stranger.issue(mine.name))


@pytest.mark.parametrize("what", WRONG)
def test_credentials_that_do_not_count_end_every_command_with_a_clear_message(
    locked: SecureKafka, tmp_path: Path, what: str
) -> None:
    with lock(locked, tmp_path) as mine:
        config = mine.settings(_properties(mine, what))
        with worker(config) as running:
            ended = scorer("watch", "lead", "--once", "--config", str(config), cwd=tmp_path, wait_s_max=FOUND_S_MAX)
            assert running.wait(FOUND_S_MAX) == 3
            said = running.text()
        assert (ended.returncode, ended.stdout) == (3, "")
        for text in (said, ended.stderr):
            (line,) = [each for each in text.splitlines() if each.startswith("error: ")]
            assert re.search(WRONG[what], line), line
            assert SECRET not in text
            assert mine.name not in text
        assert not mine.betrayed()


@pytest.mark.parametrize("delivery", [pytest.param("at_least_once", marks=pytest.mark.thorough), "exactly_once"])
def test_a_password_that_changes_while_a_worker_runs_is_waited_for_and_taken_up_by_the_next_process(
    locked: SecureKafka, tmp_path: Path, delivery: str
) -> None:
    with lock(locked, tmp_path) as mine:
        config = mine.settings(mine.scram(), {"delivery": delivery})
        with worker(config) as running:
            running.wait_ready()
            first = mine.leads.send(COUNT, seed=1)
            mine.leads.predictions(first)
            mine.rotate(written=False)
            running.until(lambda: _refused(running), "waiting, and saying why", FOUND_S_MAX)
            assert running.health("live")[0] == 200
            second = mine.leads.send(COUNT, seed=2)
            assert not mine.betrayed(running)
            mine.write()
            assert running.wait(FOUND_S_MAX) == 4, "a supervisor starts it again"
            assert "the credentials for Kafka have changed: a new process takes them up" in running.text()
        with worker(config, name="next") as following:
            following.wait_ready()
            predictions, sources = mine.leads.predictions(first + second), mine.leads.sources(first + second)
            assert not mine.betrayed(following)
        (scored_once if delivery == "exactly_once" else scored_at_least_once)(predictions, sources)
        assert mine.leads.letters() == []


def _refused(running: Worker) -> bool:
    said = running.health("ready")[1]
    return bool(said["state"] == "waiting" and "Kafka refuses the credentials" in said["detail"])


def _by_name(mine: Lock, certificate: Path) -> dict[str, Any]:
    mine.kafka.allow(f"User:CN={mine.name}", mine.rights)
    return mine.mutual(certificate)
