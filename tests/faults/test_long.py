"""What takes long: the soak, and a million mutated payloads."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.faults.plugin import Plan
from tests.faults.results import Row
from tests.faults.soak import soaked
from tests.faults.stage import EXACTLY
from tests.harness.fault_kafka import FaultKafka
from tests.harness.topics import ROOT
from tests.harness.workers import environment

pytestmark = [pytest.mark.faults, pytest.mark.timeout(7_200)]

SILENT_S_MAX = 60.0
PAYLOAD_S_MAX = 1.0
CHILDREN = 2


def test_t25_faults_by_chance_for_a_long_time_lose_nothing_and_leak_nothing(
    plan: Plan, one_node: FaultKafka, tmp_path: Path
) -> None:
    soaked(plan, one_node, tmp_path, EXACTLY)


def test_t30_no_mutated_payload_hangs_crashes_or_escapes_the_decode_step(plan: Plan) -> None:
    count = plan.counts.fuzzed // CHILDREN
    ends = [_fuzz(plan.seed + number, count) for number in range(CHILDREN)]
    said = [end() for end in ends]
    done, worst_s = sum(each["done"] for each in said), max(each["worst_s"] for each in said)
    kinds = {name for each in said for name in each["verdicts"]}
    note = f"slowest batch of up to 64: {1000 * worst_s:.0f} ms of CPU; verdicts: {', '.join(sorted(kinds))}"
    plan.rows.append(Row("T30", "mutated Avro payloads", "", f"{done:,} payloads", done, note=note))
    assert done >= count * CHILDREN
    assert worst_s < PAYLOAD_S_MAX
    assert {"decoded", "malformed", "trailing_bytes", "bad_frame", "unknown_schema"} <= kinds, "too tame"


def _fuzz(seed: int, count: int):  # type: ignore[no-untyped-def]
    command = [sys.executable, "-m", "tests.faults.fuzz", str(seed), str(count)]
    child = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True)
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert child.stdout is not None
        with child.stdout:
            for line in child.stdout:
                lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()

    def end() -> dict[str, object]:
        latest: dict[str, object] = {}
        try:
            while (line := lines.get(timeout=SILENT_S_MAX)) is not None:
                latest = json.loads(line)
        except queue.Empty:
            pytest.fail(f"the child with seed {seed} hangs after {latest}")
        finally:
            child.kill()
        code = child.wait()
        assert code == 0, f"the child with seed {seed} ended with {code} after {latest}"
        return latest

    return end
