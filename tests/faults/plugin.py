"""The rig's options, fixtures and table.

    pytest tests/faults [--level smoke|faults|qualify] [--seed N] [--only T1,T13,M5]
        [--table docs/qualification.md [--resume] [--minutes N]]

At `smoke`, the default, only the tests marked `smoke` run. The seed fixes the schedule of the faults and the events;
real processes are not deterministic, so the same seed need not give the same run.

With --table each result is kept at once, in a file beside the page, and the page is written anew. --resume leaves out
what has passed at this level with the same sources; --minutes begins no further test after that time. So a run of
hours can be done in pieces.
"""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.faults.levels import LEVELS, Counts
from tests.faults.results import Result, Row, keep_result, load_results, source, versions
from tests.faults.table import write_table
from tests.harness.fault_kafka import FaultKafka, fault_kafka
from tests.harness.kafka import emptied, required

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run of the rig is: how much, and by which chance. A test leaves in it its rows of the table, and how much
    it has searched for canaries."""

    level: str
    seed: int
    counts: Counts
    rows: list[Row] = field(default_factory=list)
    searched: Counter[str] = field(default_factory=Counter)

    def chance(self, *more: object) -> random.Random:
        """Chance of its own for one test, the same at every run with this seed."""
        return random.Random(f"{self.seed}:{more}")


@dataclass(slots=True)
class Keeper:
    """Keeps what each test found, and writes the page."""

    table: Path
    plan: Plan
    minutes: float
    known: set[str] = field(default_factory=set)
    began_s: float = field(default_factory=time.monotonic)
    source: str = field(default_factory=source)
    _took_s: float = 0.0
    _why: str = ""
    _skipped: bool = False

    @property
    def results(self) -> Path:
        """Where results are kept."""
        return self.table.with_suffix(".jsonl")

    def passed(self) -> set[str]:
        """The tests that have passed at this level with these sources."""
        kept = load_results(self.results)
        return {
            each.test for each in kept if each.passed and (each.level, each.source) == (self.plan.level, self.source)
        }

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if FOLDER in item.path.parents and time.monotonic() - self.began_s > 60 * self.minutes:
            pytest.skip(f"{self.minutes:.0f} minutes are over; --resume goes on from here")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "setup":
            self._took_s, self._why, self._skipped = 0.0, "", False
        self._took_s += report.duration
        self._skipped |= report.skipped
        if report.failed and not self._why:
            crash = getattr(report.longrepr, "reprcrash", None)
            self._why = str(crash.message if crash else report.longrepr).partition("\n")[0][:WHY_MAX]
        if report.when == "teardown" and _name(report.nodeid) in self.known and not self._skipped:
            self._keep(_name(report.nodeid))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if session.config.getoption("--resume") and session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            session.exitstatus = pytest.ExitCode.OK  # all of them have passed before

    def _keep(self, test: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        plan = self.plan
        keep_result(
            self.results,
            Result(
                test, plan.level, plan.seed, not self._why, round(self._took_s, 1), now, versions(), self.source,
                tuple(plan.rows), self._why, dict(plan.searched),
            ),
        )  # fmt: skip
        plan.rows.clear()
        plan.searched.clear()
        write_table(self.table, load_results(self.results), self.known)


KEY = pytest.StashKey[Plan]()
WHY_MAX = 400


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults", "the fault rig")
    group.addoption("--level", choices=list(LEVELS), default="smoke", help="how much of each fault")
    group.addoption("--seed", type=int, default=None, help="repeats the schedule of an earlier run")
    group.addoption("--only", default="", help="these tests of the rig alone: T1,T13,M5")
    group.addoption("--table", type=Path, default=None, help="the page that is written; results are kept beside it")
    group.addoption("--resume", action="store_true", help="leave out what has passed, by the results kept")
    group.addoption("--minutes", type=float, default=1e9, help="begin no further test after so many")


def pytest_configure(config: pytest.Config) -> None:
    level, given, table = (config.getoption(name) for name in ("--level", "--seed", "--table"))
    seed = random.SystemRandom().randrange(1_000_000) if given is None else given
    config.stash[KEY] = Plan(level, seed, LEVELS[level])
    if table is not None:
        config.pluginmanager.register(Keeper(table, config.stash[KEY], config.getoption("--minutes")), KEEPER)


KEEPER = "faults-keeper"


def pytest_report_header(config: pytest.Config) -> str:
    plan = config.stash[KEY]
    return f"faults: --level {plan.level} --seed {plan.seed}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ours = [item for item in items if FOLDER in item.path.parents]
    for item in ours:  # kafka-python leaves sockets behind when brokers go
        item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))
    left_out = set()
    if config.stash[KEY].level == "smoke":
        left_out |= {item for item in ours if not item.get_closest_marker("smoke")}
        left_out |= {item for item in items if item.get_closest_marker("thorough")}
    if only := {name.strip().upper() for name in config.getoption("--only").split(",") if name.strip()}:
        left_out |= {item for item in ours if not only & _numbers(item)}
    keeper = config.pluginmanager.get_plugin(KEEPER)
    if keeper is not None:
        keeper.known |= {_name(item.nodeid) for item in ours}
        if config.getoption("--resume"):
            passed = keeper.passed()
            left_out |= {item for item in ours if _name(item.nodeid) in passed}
    config.hook.pytest_deselected(items=[item for item in items if item in left_out])
    items[:] = [item for item in items if item not in left_out]


def _name(nodeid: str) -> str:
    return nodeid.rpartition("/")[2]


def _numbers(item: pytest.Item) -> set[str]:
    """What the plan calls a test, T1 or M5."""
    return {found.upper() for pair in re.findall(r"test_(t\d+)_|\[(M\d)\]", item.name) for found in pair if found}


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
