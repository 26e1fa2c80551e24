"""A client certificate that is renewed in place, and runs out, while a worker, a sink and a gateway use it.

librdkafka 2.16 never reads `ssl.certificate.location` again: a client shows the certificate that it was made with. So
only a new client takes up another one: a worker and a sink ask for a new process, a gateway makes one by itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scorer.local.ports import free_ports
from tests.harness.claims import scored_at_least_once
from tests.harness.gateways import Gateway, Site, gateway
from tests.harness.lock import Lock, lock
from tests.harness.secure_kafka import Right, SecureKafka
from tests.harness.sinks import sink
from tests.harness.workers import Worker, worker

pytestmark = pytest.mark.timeout(240)

COUNT = 200
LIFE_S = 30.0
"""Of the first certificate: long enough for all three processes to be ready."""
FOUND_S_MAX = 30.0


@dataclass(frozen=True, slots=True)
class Processes:
    """One of each kind, connected by the same certificate."""

    worker: Worker
    sink: Worker
    gateway: Gateway


@pytest.mark.parametrize("way", ["location", "pem"])
def test_once_a_certificate_that_was_renewed_runs_out_a_worker_and_a_sink_want_a_new_process_and_a_gateway_goes_on(
    locked: SecureKafka, tmp_path: Path, way: str
) -> None:
    with lock(locked, tmp_path) as mine:
        certificate = locked.authority.issue(mine.name, days=LIFE_S / 86_400)
        lapses_s = time.monotonic() + LIFE_S
        config = _settings(mine, certificate, way)
        with _processes(mine, config, "first") as first:
            sent = mine.leads.send(COUNT, seed=1)
            mine.leads.predictions(sent)
            locked.authority.issue(mine.name)  # into the same file
            time.sleep(max(0.0, lapses_s - time.monotonic()) + 1)
            assert first.worker.ready()
            assert first.sink.ready()
            locked.way.cut()  # open connections live on, whatever becomes of the certificate
            locked.way.open()
            for each in (first.worker, first.sink):
                assert each.wait(FOUND_S_MAX) == 4, "a supervisor starts it again"
                assert "the credentials for Kafka have changed: a new process takes them up" in each.text()
            serving = first.gateway.process
            serving.until(lambda: serving.events("neighbour.waiting"), "refused", FOUND_S_MAX)
            serving.until(serving.ready, "ready with the new one", FOUND_S_MAX)
            assert "no trusted connection to Kafka" in serving.events("neighbour.waiting")[-1]["why"]
        with _processes(mine, config, "next"):
            sent += mine.leads.send(COUNT, seed=2)
            predictions, sources = mine.leads.predictions(sent), mine.leads.sources(sent)
        scored_at_least_once(predictions, sources)
        assert mine.leads.letters() == []


@contextmanager
def _processes(mine: Lock, config: Path, name: str) -> Iterator[Processes]:
    (port,) = free_ports(1)
    site = Site("", "", {"lead-scores": mine.leads.topics}, config, _port(), {}, {})
    with (
        worker(config, name=f"{name}-worker") as scoring,
        sink(config, "lead", port=port, name=f"{name}-sink") as writing,
        gateway(site, name=f"{name}-gateway") as serving,
    ):
        yield Processes(scoring.wait_ready(), writing.wait_ready(), serving)


def _port() -> int:
    (port,) = free_ports(1)
    return port


def _settings(mine: Lock, certificate: Path, way: str) -> Path:
    topics, group = mine.leads.topics, f"{mine.leads.group}.sink-sql.lead"
    readers = [Right("topic", name, "Read") for name in (topics.predictions, topics.letters)]
    rights = [*mine.rights, *readers, Right("group", group, "Read", "prefixed")]
    mine.kafka.allow(f"User:CN={mine.name}", rights)
    properties: dict[str, Any] = mine.mutual(certificate)
    if way == "pem":
        del properties["ssl.certificate.location"], properties["ssl.key.location"]
        properties |= {name: {"file": str(certificate)} for name in ("ssl.certificate.pem", "ssl.key.pem")}
    return mine.settings(properties, gateway={"store": str(mine.leads.folder / "gateway.sqlite3")})
