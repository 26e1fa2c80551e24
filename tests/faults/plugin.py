"""The rig's options, fixtures and table.

    pytest tests/faults [--level smoke|faults|qualify] [--seed N] [--table docs/qualification.md]

At `smoke`, the default, only the tests marked `smoke` run. The seed fixes the schedule of the faults and the events;
real processes are not deterministic, so the same seed need not give the same run.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.faults.levels import LEVELS, Counts
from tests.faults.table import Row, write_table
from tests.harness.fault_kafka import FaultKafka, fault_kafka
from tests.harness.kafka import emptied, required

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run of the rig is: how much, and by which chance. Rows of the table are collected in it."""

    level: str
    seed: int
    counts: Counts
    rows: list[Row] = field(default_factory=list)

    def chance(self, *more: object) -> random.Random:
        """Chance of its own for one test, the same at every run with this seed."""
        return random.Random(f"{self.seed}:{more}")


KEY = pytest.StashKey[Plan]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults", "the fault rig")
    group.addoption("--level", choices=list(LEVELS), default="smoke", help="how much of each fault")
    group.addoption("--seed", type=int, default=None, help="repeats the schedule of an earlier run")
    group.addoption("--table", type=Path, default=None, help="where the table of the run is written")


def pytest_configure(config: pytest.Config) -> None:
    level, given = config.getoption("--level"), config.getoption("--seed")
    seed = random.SystemRandom().randrange(1_000_000) if given is None else given
    config.stash[KEY] = Plan(level, seed, LEVELS[level])


def pytest_report_header(config: pytest.Config) -> str:
    plan = config.stash[KEY]
    return f"faults: --level {plan.level} --seed {plan.seed}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if FOLDER in item.path.parents:  # kafka-python leaves sockets behind when brokers go
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))
    if config.stash[KEY].level != "smoke":
        return
    left_out = [item for item in items if FOLDER in item.path.parents and not item.get_closest_marker("smoke")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed and "tests/faults" in report.nodeid:
        _failed.append(f"{report.nodeid.rpartition('/')[2]} ({report.when})")


_failed: list[str] = []


def pytest_sessionfinish(session: pytest.Session) -> None:
    path, plan = session.config.getoption("--table"), session.config.stash[KEY]
    if path is not None and plan.rows:
        write_table(path, plan.rows, plan.level, plan.seed, _failed)


@pytest.fixture(scope="session")
def plan(pytestconfig: pytest.Config) -> Plan:
    return pytestconfig.stash[KEY]


@pytest.fixture(scope="session")
def one_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultKafka]:
    """A broker that fault tests share, and may kill as long as they start it again."""
    with emptied(tmp_path_factory.mktemp("one-node")) as folder, required(), fault_kafka(folder) as made:
        yield made


@pytest.fixture(scope="module")
def three_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultKafka]:
    """Three brokers, three copies, of which two have to be in sync."""
    with emptied(tmp_path_factory.mktemp("three-nodes")) as folder, required(), fault_kafka(folder, 3) as made:
        yield made
