"""A broker or a registry that is away is waited for: nothing is lost, nothing becomes a dead letter, and it is said."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from scorer.local.kafka import running_kafka
from scorer.local.process import send as send_signal
from scorer.local.server import Server
from tests.harness.claims import in_order, scored_at_least_once, scored_once, scored_right
from tests.harness.events import encoder, messages, sampled
from tests.harness.kafka import emptied, required
from tests.harness.lead_stream import LeadStream, lead_stream
from tests.harness.plain_scorer import PlainScorer
from tests.harness.proxy import Proxy, proxy
from tests.harness.topics import ROOT, Raw, register, sending, shipped_schema
from tests.harness.workers import Worker, worker

pytestmark = pytest.mark.timeout(180)

LOAD = 5_000
RECOVER_S_MAX = 10.0
BROKER_BACK_S_MAX = 60.0  # librdkafka's pause before it connects grows to 10 s; a session may have run out meanwhile
SESSION = {"session.timeout.ms": 6_000}
SLOWLY = {"linger.ms": 500}
"""So that some predictions are always on their way, whenever the broker freezes."""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A broker of these tests' own, as they stop it."""
    with emptied(tmp_path_factory.mktemp("broker")) as folder, required(), running_kafka(folder) as server:
        yield server


@contextmanager
def _away(broker: Server) -> Iterator[None]:
    """A broker that is stopped, and is there again for the next test whatever comes."""
    broker.stop()
    try:
        yield
    finally:
        broker.start()


@pytest.mark.parametrize(("rate", "away_s"), [(0.0, 3.0), (300.0, 10.0)], ids=["idle", "under load"])
def test_a_broker_that_is_away_is_waited_for_and_nothing_is_lost(
    broker: Server, registry: str, tmp_path: Path, rate: float, away_s: float
) -> None:
    with lead_stream(broker.address, registry, tmp_path, delete=False) as leads, worker(leads.settings()) as running:
        running.wait_ready()
        before = leads.send(500, seed=1)
        running.until(lambda: running.metric("scorer_records_consumed_total") == before, "at work")
        load = messages(sampled("lead", LOAD if rate else 0, seed=2), "lead_id", leads.encode)
        with sending(leads.kafka, leads.topics.events, load, rate) as stop:
            time.sleep(1.0)
            with _away(broker):
                running.until(lambda: running.health("ready")[1]["state"] == "waiting", "saying that it waits", 30)
                time.sleep(away_s)
                status, said = running.health("ready")
                assert (status, said["state"], said["ok"]) == (503, "waiting", False)
                assert "no broker of Kafka can be reached" in said["detail"] or "batches unconfirmed" in said["detail"]
                assert running.health("live")[0] == 200
            running.until(running.ready, "ready again", BROKER_BACK_S_MAX)
            count = before + stop() + leads.send(500, seed=3)
        predictions, sources = leads.predictions(count), leads.sources(count)
        scored_at_least_once(predictions, sources)
        assert len(sources) >= 1_000 + rate
        assert leads.letters() == []
        assert len(running.events("stream.serving")) == 1, "it was not started again"
        assert len(running.lines()) < 100, "an outage does not fill the log"
        _ends_well(running, leads, sources)


def test_a_second_signal_ends_a_worker_at_once_and_the_next_one_finishes_its_work(
    broker: Server, registry: str, tmp_path: Path
) -> None:
    with lead_stream(broker.address, registry, tmp_path, delete=False) as leads:
        config = leads.settings(kafka_consumer=SESSION, kafka_producer=SLOWLY)
        with worker(config) as running:
            running.wait_ready()
            leads.send(LOAD)
            running.until(lambda: running.metric("scorer_records_consumed_total") > 0, "at work")
            with _frozen(broker):
                running.signal(signal.SIGTERM)
                time.sleep(1.0)
                assert running.running, "nothing was left to drain: the test shows nothing"
                running.signal(signal.SIGTERM)
                assert running.wait(3.0) == 128 + signal.SIGTERM
        with worker(config, name="next") as following:
            following.wait_ready()
            predictions, sources = leads.predictions(LOAD), leads.sources(LOAD)
            scored_at_least_once(predictions, sources)
            _ends_well(following, leads, sources)


def test_a_stop_keeps_to_its_grace_even_if_the_broker_hangs(broker: Server, registry: str, tmp_path: Path) -> None:
    with lead_stream(broker.address, registry, tmp_path, delete=False) as leads:
        config = leads.settings(shutdown={"grace_ms_max": 2_000}, kafka_producer=SLOWLY)
        with worker(config) as running:
            running.wait_ready()
            leads.send(LOAD)
            running.until(lambda: running.metric("scorer_records_consumed_total") > 0, "at work")
            with _frozen(broker):
                running.signal(signal.SIGTERM)
                assert running.wait(6.0) == 0
            assert running.events("stop.overdue")


def test_a_new_schema_id_waits_for_a_registry_that_is_away_and_nothing_becomes_a_dead_letter(
    kafka: str, registry: str, tmp_path: Path
) -> None:
    with lead_stream(kafka, registry, tmp_path) as leads, _way_to(registry) as (way, url):
        config = leads.settings(registry_url=url, registry_more={"grace_ms_max": 1_000, "timeout_ms_max": 1_000})
        schema = shipped_schema("events.new-lead")
        schema["fields"].append({"name": "referrer", "type": "string", "default": ""})
        with worker(config) as running:
            running.wait_ready()
            known = leads.send(300, seed=1)
            leads.predictions(known)
            later = encoder(register(registry, leads.topics.events, schema), schema)
            way.cut()
            asked = way.accepted
            more = leads.send(200, seed=2)
            leads.predictions(known + more)
            assert running.ready(), "schemas that are known need no registry"
            unknown = leads.send_values(later({**event, "referrer": "ad"}) for event in sampled("lead", 300, seed=3))
            running.until(lambda: running.health("ready")[1]["state"] == "waiting", "saying that it waits", 20)
            time.sleep(3.0)
            status, said = running.health("ready")
            assert (status, said["state"]) == (503, "waiting")
            assert "registry" in said["detail"]
            assert running.health("live")[0] == 200
            assert leads.letters() == []
            assert len(leads.predictions()) < known + more + unknown
            way.open()
            running.until(running.ready, "ready again", RECOVER_S_MAX)
            count = known + more + unknown
            predictions, sources = leads.predictions(count), leads.sources(count)
            assert way.accepted > asked
            assert leads.letters() == []
            scored_once(predictions, sources)
            in_order(predictions)
            scored_right(predictions, sources, PlainScorer(ROOT / "models" / "lead" / "1"), registry)
            _ends_well(running, leads, sources)
        way.cut()
        with worker(config, name="next") as following:
            following.wait_ready()
            leads.predictions(count + leads.send(200, seed=4))
            assert following.events("registry.from_disk"), "it starts from what it has on disk"


def _ends_well(running: Worker, leads: LeadStream, sources: list[Raw]) -> None:
    running.signal(signal.SIGTERM)
    assert running.wait() == 0
    assert leads.committed() == leads.ends(sources)


@contextmanager
def _frozen(broker: Server) -> Iterator[None]:
    """A broker that takes connections and answers nothing."""
    assert broker.mark is not None
    send_signal(broker.mark, signal.SIGSTOP)
    try:
        yield
    finally:
        send_signal(broker.mark, signal.SIGCONT)


@contextmanager
def _way_to(registry: str) -> Iterator[tuple[Proxy, str]]:
    """A way to the registry that can be cut, and the URL that leads over it."""
    parts = urlsplit(registry)
    assert parts.port is not None
    with proxy(parts.port) as way:
        yield way, f"http://127.0.0.1:{way.port}{parts.path}"
