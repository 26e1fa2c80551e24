"""The demo without network: librdkafka's built-in cluster in the place of Kafka."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_the_demo_without_a_kafka_accounts_for_every_event(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scorer", "demo", "--broker", "mock", "--events", "500", "--json"]
    ended = subprocess.run(
        [*command, "--folder", str(tmp_path)], capture_output=True, text=True, timeout=110, check=False
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert told["events"] == told["predictions"] + sum(told["dead_letters"].values())
    assert told["events"] >= 500
