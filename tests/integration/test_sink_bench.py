"""The sinks' benchmark measures what it says, on a small load."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.harness.postgres import available, running
from tests.harness.topics import ROOT
from tests.harness.workers import environment

pytestmark = pytest.mark.timeout(240)


def test_the_quick_run_prints_a_ratio_for_each_demand() -> None:
    with available(), running():
        pass
    command = [sys.executable, "-m", "bench.sinks", "--quick", "--json"]
    ended = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=220, check=False
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    found = json.loads(ended.stdout)
    assert (found["rows"], len(found["demands"]), len(found["rates"])) == (20_000, 3, 6)
    assert all(rate > 0 for rates in found["rates"].values() for rate in rates)
