"""A broker or a registry that is away is waited for: nothing is lost, nothing becomes a dead letter, and it is said."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scorer.local.kafka import running_kafka
from scorer.local.process import send as send_signal
from scorer.local.server import Server
from tests.harness.claims import scored_once
from tests.harness.kafka import emptied, required
from tests.harness.lead_stream import LeadStream, lead_stream
from tests.harness.workers import Worker, worker

pytestmark = pytest.mark.timeout(180)

AWAY_S = 10.0
RECOVER_S_MAX = 10.0


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A broker of these tests' own, as they stop it."""
    with emptied(tmp_path_factory.mktemp("broker")) as folder, required(), running_kafka(folder) as server:
        yield server


def test_a_broker_that_is_away_is_waited_for_and_nothing_is_lost(broker: Server, registry: str, tmp_path: Path) -> None:
    with lead_stream(broker.address, registry, tmp_path, delete=False) as leads, worker(leads.settings()) as running:
        running.wait_ready()
        leads.send(2_000, seed=1)
        running.until(lambda: running.metric("scorer_records_consumed_total") > 0, "at work")
        broker.stop()
        running.until(lambda: running.health("ready")[1]["state"] == "waiting", "saying that it waits", 30)
        time.sleep(AWAY_S)
        status, said = running.health("ready")
        assert (status, said["state"]) == (503, "waiting")
        assert said["detail"]
        assert running.health("live")[0] == 200
        broker.start()
        leads.send(2_000, seed=2)
        running.until(running.ready, "ready again", 30)
        scored_once(leads.predictions(4_000), leads.sources(4_000))
        assert leads.letters() == []
        assert len(running.events("stream.serving")) == 1
        _ends_well(running, leads)


def test_a_second_signal_ends_a_worker_at_once_that_waits_for_a_broker(
    broker: Server, registry: str, tmp_path: Path
) -> None:
    with lead_stream(broker.address, registry, tmp_path, delete=False) as leads, worker(leads.settings()) as running:
        running.wait_ready()
        leads.send(20_000)
        running.until(lambda: running.metric("scorer_records_consumed_total") > 1_000, "at work")
        assert broker.mark is not None
        send_signal(broker.mark, signal.SIGSTOP)
        try:
            running.signal(signal.SIGTERM)
            time.sleep(2.0)
            assert running.running, "nothing was left to drain: the test shows nothing"
            running.signal(signal.SIGTERM)
            assert running.wait(2.0) == 128 + signal.SIGTERM
        finally:
            send_signal(broker.mark, signal.SIGCONT)
        with worker(leads.settings(kafka_consumer={"session.timeout.ms": 6_000}), name="next") as again:
            again.wait_ready()
            predictions = leads.predictions(20_000)
        assert len({record["value"]["prediction_id"] for record in predictions if record["value"]}) == 20_000


def _ends_well(running: Worker, leads: LeadStream) -> None:
    running.signal(signal.SIGTERM)
    assert running.wait() == 0
    assert leads.committed() == leads.ends()
