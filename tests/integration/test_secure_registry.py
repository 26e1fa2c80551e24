"""Basic authentication and TLS to a registry: right, wrong, run out, and changed while a worker runs."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.harness.claims import scored_once
from tests.harness.events import encoder, sampled
from tests.harness.lead_stream import LeadStream, lead_stream
from tests.harness.secure_kafka import Authority
from tests.harness.topics import shipped_schema
from tests.harness.workers import worker
from tests.unit.edges.registry_stub import Running, serve

pytestmark = pytest.mark.timeout(120)

SECRET = "canary-8Rw"
USER = "reader"
COUNT = 100


@dataclass(slots=True)
class Guarded:
    """A registry over TLS that asks for a user and a password; tests register at it directly."""

    running: Running
    folder: Path
    password: str = f"{SECRET}-1"
    refused: int = field(default=0)

    def __post_init__(self) -> None:
        registry, reply = self.running.registry, self.running.registry.reply

        def asked(method: str, path: str, body: Any) -> tuple[int, Any]:
            wanted = base64.b64encode(f"{USER}:{self.password}".encode()).decode()
            if registry.authorization != f"Basic {wanted}":
                self.refused += 1
                return 401, {"error_code": 401, "message": "Unauthorized"}
            return reply(method, path, body)

        self._direct = reply
        registry.reply = asked  # type: ignore[method-assign]

    _direct: Any = field(init=False)

    def add(self, topic: str, schema: Any) -> int:
        """Registers a schema of a topic's values. Returns its id."""
        path, body = f"/subjects/{topic}-value/versions", {"schema": json.dumps(schema)}
        return int(self._direct("POST", path, body)[1]["id"])

    def settings(self, leads: LeadStream, authority: Authority, written: str = "") -> Path:
        """A scorer.toml that names it, with the password in a file."""
        (self.folder / "password").write_text(f"{written or self.password}\n", encoding="utf-8")
        more = {"username": USER, "ca": str(authority.file), "timeout_ms_max": 2_000}
        path = leads.settings(registry_url=f"https://127.0.0.1:{self.running.port}", registry_more=more)
        text, reference = path.read_text(encoding="utf-8"), '{ file = "password" }'
        path.write_text(text.replace("[registry]\n", f"[registry]\npassword = {reference}\n"), encoding="utf-8")
        return path


@contextmanager
def guarded(kafka: str, folder: Path, *, days: int = 30) -> Iterator[tuple[Guarded, LeadStream, Authority]]:
    """A registry whose certificate is in force for so many days, and a stream whose schemas it knows."""
    authority = Authority(folder)
    certificate = authority.issue("registry", days=days)
    with (
        serve() as plain,
        lead_stream(kafka, f"http://127.0.0.1:{plain.port}", folder) as leads,
        serve(certificate) as running,
    ):
        running.registry.schemas, running.registry.subjects = plain.registry.schemas, plain.registry.subjects
        yield Guarded(running, folder), leads, authority


WRONG = {
    "wrong password": r"HTTP 401: it refuses registry.username and registry.password",
    "unknown authority": r"is not trusted: .*certificate.*; see registry.ca",
    "certificate has run out": r"is not trusted: .*certificate has expired.*; see registry.ca",
}


@pytest.mark.parametrize("what", WRONG)
def test_a_registry_that_refuses_us_or_is_not_trusted_stops_the_start_with_a_clear_message(
    kafka: str, tmp_path: Path, what: str
) -> None:
    with guarded(kafka, tmp_path, days=-1 if "run out" in what else 30) as (registry, leads, authority):
        trusted = Authority(tmp_path, "stranger") if what == "unknown authority" else authority
        config = registry.settings(leads, trusted, f"{SECRET}-wrong" if what == "wrong password" else "")
        with worker(config) as running:
            assert running.wait(30) == 3
            (line,) = [each for each in running.text().splitlines() if each.startswith("error: ")]
            assert re.search(WRONG[what], line), line
            assert SECRET not in running.text()


def test_a_password_that_the_registry_refuses_in_a_run_is_waited_out_and_a_new_one_is_read(
    kafka: str, tmp_path: Path
) -> None:
    with guarded(kafka, tmp_path) as (registry, leads, authority):
        config = registry.settings(leads, authority)
        with worker(config) as running:
            running.wait_ready()
            first = leads.send(COUNT, seed=1)
            leads.predictions(first)
            registry.password = f"{SECRET}-2"
            schema = shipped_schema("events.new-lead")
            schema["fields"].append({"name": "referrer", "type": "string", "default": ""})
            later = encoder(registry.add(leads.topics.events, schema), schema)
            second = leads.send_values(later({**event, "referrer": "ad"}) for event in sampled("lead", COUNT, seed=2))
            running.until(lambda: running.health("ready")[1]["state"] == "waiting", "waiting", 30)
            assert "HTTP 401: it refuses registry.username" in running.health("ready")[1]["detail"]
            running.until(lambda: registry.refused > 2, "asking again")
            assert running.health("live")[0] == 200
            assert leads.letters() == []
            (tmp_path / "password").write_text(f"{registry.password}\n", encoding="utf-8")
            predictions, sources = leads.predictions(first + second), leads.sources(first + second)
            running.until(running.ready, "ready again", 10)
            scored_once(predictions, sources)
            pages = running.text() + running.exposition() + json.dumps(running.health("ready"))
            assert SECRET not in pages
            assert base64.b64encode(f"{USER}:{SECRET}".encode()).decode()[:-4] not in pages
