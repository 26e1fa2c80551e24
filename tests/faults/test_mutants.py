"""The rig itself is tested: each of eight known bugs, put into the workers, makes the test named for it fail."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults import scenarios
from tests.faults.levels import MUTANTS as COUNTS
from tests.faults.outages import rebalanced_while_waiting, registry_away
from tests.faults.plugin import Plan
from tests.faults.results import Row
from tests.faults.scene import Vacuous
from tests.faults.stage import AT_LEAST, EXACTLY
from tests.harness.fault_kafka import FaultKafka
from tests.harness.topics import ROOT
from tests.oracle.judge import Broken

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1_200)]

Scenario = Callable[[Plan, FaultKafka, Path, str, Mapping[str, str]], object]
MUTANTS: dict[str, tuple[str, Scenario, str, str, str]] = {
    "M1": ("commits the client's position", scenarios.killed_at_random, AT_LEAST, "T1", "O1"),
    "M2": ("commits before producing", scenarios.killed_at_points, AT_LEAST, "T2", "O1"),
    "M3": ("does not rewind after an abort", scenarios.aborted_again_and_again, EXACTLY, "T6", "O1"),
    "M4": ("commits as no member of the group", scenarios.frozen_and_woken, EXACTLY, "T4", "O2"),
    "M5": ("scores records of partitions that are gone", rebalanced_while_waiting, EXACTLY, "T7", "O2"),
    "M6": ("sends dead letters outside the transaction", scenarios.poisoned, EXACTLY, "T16", "O2"),
    "M7": ("takes an outage of the registry for a verdict", registry_away, EXACTLY, "T19", "O1"),
    "M8": ("does not wait for deliveries", scenarios.killed_at_random, AT_LEAST, "T1", "O1"),
}
"""What the bug is, the test that has to catch it, and by which promise it must be found broken."""


def mutant(name: str) -> dict[str, str]:
    """The environment of workers that have a bug."""
    return {"RIG_MUTANT": name, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent / "mutants"), str(ROOT)])}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_known_bug_is_caught_by_the_test_named_for_it(
    plan: Plan, one_node: FaultKafka, tmp_path: Path, name: str
) -> None:
    what, scenario, delivery, test, promise = MUTANTS[name]
    for attempt in range(plan.counts.tries):
        own = replace(plan, level="smoke", seed=plan.seed + attempt, counts=COUNTS, rows=[])
        try:
            scenario(own, one_node, tmp_path / str(attempt), delivery, mutant(name))
        except Vacuous:
            continue
        except Broken as error:
            told = [finding for finding in error.findings if finding.startswith(promise)]
            print(f"{name}: {error.findings}")
            if not told:
                continue
            came = error.figures
            row = Row(name, f"a worker that {what}", delivery, f"caught by {test}", came.records, came.missing)
            plan.rows.append(replace(row, repeats=came.repeats, aborted=came.aborted, note=told[0]))
            return
    pytest.fail(f"{name}: a worker that {what} passed {test}")
