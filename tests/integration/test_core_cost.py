"""The hot path grows no dearer unseen."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest

from bench import guard
from tests.harness.topics import ROOT


@pytest.mark.timeout(300)
def test_the_cores_cpu_time_per_event_stays_within_a_quarter_of_what_is_written() -> None:
    # A process of its own, since measuring the tests' coverage makes each line of the core dearer.
    command = [sys.executable, "-m", "bench.guard"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout.count("pass: ")) == (0, len(guard.WRITTEN)), ended.stdout + ended.stderr


def test_a_hot_path_that_is_half_as_dear_again_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    written = {("lead", 1000): guard._ratio("lead", 1000)}
    monkeypatch.setattr(guard, "WRITTEN", written)
    monkeypatch.setattr(guard, "stepper", lambda load, rows: dearer(guard_stepper(load, rows)))
    assert not guard.measured()[0].passed


guard_stepper = guard.stepper


def dearer(run: Any) -> Any:
    """The same, and busy for more than half of that time again."""

    def spend(number: int) -> Any:
        began_s = time.process_time()
        done = run(number)
        until_s = time.process_time() + 0.6 * (time.process_time() - began_s)
        while time.process_time() < until_s:
            pass
        return done

    return spend
