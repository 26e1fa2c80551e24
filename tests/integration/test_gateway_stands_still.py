"""Nobody depends on a gateway: one that stands still (SIGSTOP) slows neither worker nor other readers."""

from __future__ import annotations

import os
import signal
import sqlite3
import statistics
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.harness.events import announce, sampled
from tests.harness.gateways import gateway, gateway_site
from tests.harness.sinks import sink
from tests.harness.topics import send, sending
from tests.harness.workers import worker
from tests.oracle import python_reader

STOPPED_S = float(os.environ.get("GATEWAY_STOPPED_S", "8"))
RATE = 200
SINK_LATE_S = 3.0


@pytest.mark.timeout(400)
def test_worker_and_sink_go_on_as_before_while_a_gateway_is_stopped_and_the_gateway_catches_up(
    kafka: str, registry: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    database = tmp_path / "scores.db"
    with (
        gateway_site(kafka, registry, tmp_path) as site,
        worker(site.config, "lead") as scoring,
        sink(site.config, "lead", "--url", f"sqlite:///{database}") as writing,
    ):
        scoring.wait_ready()
        topics, encode = site.topics["lead-scores"], site.encode_event["lead-scores"]
        leads = sampled("lead", int(RATE * (2 * STOPPED_S + 20)))
        messages = [{"key": lead["lead_id"], "value": encode(lead)} for lead in leads]
        with gateway(site) as asked:
            send(kafka, topics.events, messages[:200])
            asked.wait_for(f"/v1/lead-scores/{leads[199]['lead_id']}")
            with sending(kafka, topics.events, messages[200:], RATE) as stop:
                time.sleep(STOPPED_S)
                asked.process.signal(signal.SIGSTOP)
                stopped_ms = time.time() * 1000
                time.sleep(STOPPED_S)
                gone_on_ms = time.time() * 1000
                assert scoring.ready()
                assert _written(database) >= 200 + RATE * (2 * STOPPED_S - SINK_LATE_S)
                asked.process.signal(signal.SIGCONT)
                sent = 200 + stop()
            answered = asked.wait_for(f"/v1/lead-scores/{leads[sent - 1]['lead_id']}")
            assert answered.json()["event_id"] == leads[sent - 1]["event_id"]
            assert asked.process.ready()
        published = python_reader.read_all(kafka, topics.predictions, registry, at_least=sent)
        writing.until(lambda: _written(database) == sent, "done")
    assert len({record["value"]["event_id"] for record in published if record["value"]}) == len(published) == sent
    before, meanwhile = [], []
    for record in published:
        assert record["value"] is not None
        at_ms = record["value"]["source_timestamp"]
        delay_ms = record["timestamp"] - at_ms
        if at_ms < stopped_ms:
            before.append(delay_ms)
        elif at_ms < gone_on_ms:
            meanwhile.append(delay_ms)
    assert len(meanwhile) > RATE * STOPPED_S / 2
    medians = [statistics.median(each) for each in (before, meanwhile)]
    announce(request, f"event to prediction, median before {medians[0]:.0f} ms, while stopped {medians[1]:.0f} ms")
    assert medians[1] <= 2 * medians[0] + 20


def _written(database: Path) -> int:
    """How many predictions the sink has written."""
    with closing(sqlite3.connect(database)) as connection:
        (table,) = connection.execute("SELECT name FROM sqlite_master WHERE name LIKE '%_history'").fetchone()
        return int(connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0])
