"""T31: a replay that is killed again and again, judged by the oracle: its lane is the whole live run once more."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from tests.faults.canaries import SECRET, USER
from tests.faults.plugin import Plan
from tests.faults.results import Row
from tests.faults.scenarios import FAILPOINT, POINTS
from tests.faults.scene import LOOK_S, READ_S_MAX, Scene, Vacuous, scene
from tests.faults.stage import EXACTLY
from tests.harness.fault_kafka import FaultKafka
from tests.harness.plain_scorer import PlainScorer
from tests.harness.topics import ROOT, Topics, committed, register
from tests.harness.workers import environment
from tests.oracle.judge import Broken, Figures, Judge, Seen
from tests.oracle.watcher import Watcher, read_to_end, watching

LANE = "again"
LIVE_S = 5.0
KILLS_MIN = 3
RUN_S_MAX = 180.0
SMALL = {"rows_max": 100}
"""So that a replay of some thousand records has batches and transactions enough to be killed in."""


def replayed(plan: Plan, kafka: FaultKafka, folder: Path) -> Figures:
    """T31: SIGKILL of the replay of a whole live run, poison included, at points by chance; then it is let through."""
    chance = plan.chance("T31", EXACTLY)
    with scene(plan, "T31", EXACTLY, kafka, folder, poison_every=50, batch=SMALL) as here, ExitStack() as stack:
        here.moves()
        time.sleep(LIVE_S)
        here.finish("live, before it is replayed", 0, 0)
        lane = Topics(
            here.topics.events, f"{here.topics.predictions}.lane.{LANE}", f"{here.topics.letters}.lane.{LANE}"
        )
        killed, watchers = 0, list[Watcher]()
        for _ in range(max(KILLS_MIN, plan.counts.kills)):
            ended = _replay(here, f"{chance.choice(POINTS)}:kill:{chance.randrange(1, 8)}")
            if not watchers:
                watchers = [
                    stack.enter_context(watching(kafka.direct, name)) for name in (lane.predictions, lane.letters)
                ]
            if ended != -signal.SIGKILL:
                break
            killed += 1
        findings = [f"O8: the replay ended with {code}" for code in [_replay(here)] if code]
        return _judged(here, lane, watchers, killed, findings)


def _replay(here: Scene, failpoint: str = "") -> int:
    """Runs it to whatever end, and returns the exit code; negative is the signal that ended it."""
    command = [sys.executable, "-m", "scorer", "replay", "lead", "--lane", LANE, "--since", "2020-01-01"]
    config = here.folder / "a" / "scorer.toml"
    variables = {"SCORER_REGISTRY__USERNAME": USER, "SCORER_REGISTRY__PASSWORD": SECRET, FAILPOINT: failpoint}
    with (here.folder / "replay.log").open("ab") as log:
        return subprocess.run(
            [*command, "--config", str(config)],
            env={**environment(), **{name: value for name, value in variables.items() if value}},
            stdout=log, stderr=log, timeout=RUN_S_MAX, check=False,
        ).returncode  # fmt: skip


def _judged(here: Scene, lane: Topics, watchers: list[Watcher], killed: int, findings: list[str]) -> Figures:
    last = [read_to_end(here.kafka.direct, name, "read_committed") for name in (lane.predictions, lane.letters)]
    deadline_s = time.monotonic() + READ_S_MAX
    while any(len(each.records) < len(found) for each, found in zip(watchers, last, strict=True)):
        if time.monotonic() > deadline_s:
            findings.append("O5: the watching reader did not come to the end")
            break
        time.sleep(LOOK_S)
    seen = Seen(
        last[0], list(watchers[0].records), read_to_end(here.kafka.direct, lane.predictions, "read_uncommitted"),
        last[1], list(watchers[1].records),
        committed(here.kafka.direct, f"{here.stream_group}.replay.{LANE}", lane.events),
    )  # fmt: skip
    plain = PlainScorer(ROOT / "models" / "lead" / "1")
    plain.constants["lane"] = LANE
    predictions = next(each for each in here.registered.values() if each["name"] == "LeadScore")
    own = register(here.registry.direct, lane.predictions, predictions)  # again: what the replay has registered
    judge = Judge(True, plain, {**here.registered, own: predictions})
    judge.findings += findings
    try:
        figures, broken = judge.judge(dict(here.load.sent), seen), None
    except Broken as error:
        figures, broken = error.figures, error
    told = f"BROKEN: {broken.findings[0]}" if broken else ""
    what = "the replay of it killed at points by chance"
    here.plan.rows.append(
        Row(
            "T31", what, EXACTLY, f"{killed} kills", figures.records, figures.missing,
            figures.repeats, figures.aborted, 0.0, None, told,
        )
    )  # fmt: skip
    if broken is not None:
        raise broken
    if killed < KILLS_MIN:
        raise Vacuous(f"O7: {killed} kills of {KILLS_MIN}: proves nothing")
    return figures
