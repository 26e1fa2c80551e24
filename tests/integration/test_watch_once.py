"""`scorer watch --once` ends at the end of a topic, also where a transaction's marker stands behind the last record."""

from __future__ import annotations

import json
from pathlib import Path

from confluent_kafka import Producer

from tests.harness.events import sampled
from tests.harness.lead_stream import lead_stream
from tests.harness.workers import scorer


def test_watch_once_ends_behind_a_transactions_marker(kafka: str, registry: str, tmp_path: Path) -> None:
    with lead_stream(kafka, registry, tmp_path) as leads:
        config = leads.settings()
        producer = Producer({"bootstrap.servers": kafka, "transactional.id": leads.group})
        producer.init_transactions(20)
        producer.begin_transaction()
        for event in sampled("lead", 5):
            producer.produce(leads.topics.predictions, leads.encode(event), key="k")
        producer.commit_transaction(20)
        ended = scorer("watch", "lead", "--once", "--json", "--config", str(config), cwd=tmp_path, wait_s_max=60)
    assert ended.returncode == 0, ended.stderr
    assert len([json.loads(line) for line in ended.stdout.splitlines()]) == 5
