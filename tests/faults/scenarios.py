"""What is done to a stream, as functions: the tests run them on the product, the mutants' tests on broken copies."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.faults.plugin import Plan
from tests.faults.scene import Scene, Vacuous, scene
from tests.faults.stage import AT_LEAST
from tests.harness.fault_kafka import FaultKafka
from tests.harness.fleet import FENCED
from tests.harness.kafka_proxy import ADD_OFFSETS_TO_TXN
from tests.harness.poison import kinds_of
from tests.harness.topics import PARTITIONS
from tests.harness.workers import Worker
from tests.oracle.judge import Broken, Figures

POINTS = ("consumed", "scored", "produced", "flushed", "offsets_sent", "before_commit", "after_commit")
FAILPOINT = "SCORER_FAILPOINT"
FROZEN_S = 20
WORKS_S = 2.0
"""A worker that has just been given its partitions has nothing in hand."""
RECORDS_MAX = 100_000
"""About so many are sent in a long run: the oracle keeps all of them in memory."""
KILL_S = 5.0
"""What a kill takes, with the session that has to time out."""
REFUSALS = (
    "ILLEGAL_GENERATION",
    "UNKNOWN_MEMBER_ID",
    "FENCED",
    "INVALID_PRODUCER_EPOCH",
    "STALE_MEMBER_EPOCH",
    "_ASSIGNMENT_LOST",
    "REBALANCE_IN_PROGRESS",
)
Variables = Mapping[str, str]


def killed_at_random(
    plan: Plan, kafka: FaultKafka, folder: Path, delivery: str, variables: Variables | None = None
) -> Figures:
    """T1: SIGKILL at random; each time the stream has to move again before the next."""
    chance = plan.chance("T1", delivery)
    with scene(plan, "T1", delivery, kafka, folder, variables=variables) as here:
        recovered = []
        for _ in range(plan.counts.kills):
            time.sleep(chance.uniform(0.2, 3.0))
            victim = chance.choice(sorted(here.fleet.wanted))
            here.fleet.kill(victim)
            recovered.append(recovers(here))
        return here.finish(
            "SIGKILL at random", here.fleet.killed, plan.counts.kills, unit="kills",
            gap_s_max=plan.counts.gap_s_max, recovery_s=max(recovered),
        )  # fmt: skip


def killed_at_points(
    plan: Plan, kafka: FaultKafka, folder: Path, delivery: str, variables: Variables | None = None
) -> Figures:
    """T2: SIGKILL of itself at each point; two workers at once, each armed anew at every start."""
    chance = plan.chance("T2", delivery)
    points = [point for point in POINTS if delivery != AT_LEAST or point != "offsets_sent"]
    queue = points * plan.counts.point_kills
    chance.shuffle(queue)
    wanted = len(queue)

    def armed(_: str) -> Variables:
        mine = {FAILPOINT: f"{queue.pop()}:kill:{chance.randrange(5, 30)}"} if queue else {}
        return {**(variables or {}), **mine}

    rate = min(plan.counts.rate, RECORDS_MAX / (KILL_S * wanted))
    with scene(plan, "T2", delivery, kafka, folder, variables=armed, rate=rate) as here:
        here.until(lambda: here.fleet.killed >= wanted, "killed at every point", 60 + 15 * wanted)
        recovered = recovers(here)
        return here.finish(
            f"SIGKILL at each of {len(points)} points", here.fleet.killed, wanted, unit="kills",
            gap_s_max=2 * plan.counts.gap_s_max, recovery_s=recovered,
        )  # fmt: skip


def recovers(here: Scene) -> float:
    """How long from a kill until every partition moves: what was on its way still comes for a moment."""
    time.sleep(1.0)
    return 1.0 + here.moves()


def frozen_and_woken(
    plan: Plan, kafka: FaultKafka, folder: Path, delivery: str, variables: Variables | None = None,
    *, timeout_ms: int = 40_000,
) -> Figures:  # fmt: skip
    """T4: a worker sleeps through its session in the middle of a transaction, wakes, and wants to commit."""
    transaction = {"timeout_ms": timeout_ms, "every_ms": 1_000}
    own = timeout_ms < 1_000 * FROZEN_S  # then it need not ask: it knows that its transaction is over
    with scene(plan, "T4", delivery, kafka, folder, variables=variables, transaction=transaction) as here:
        zombie, other = here.fleet.workers["a"], here.fleet.workers["b"]

        def noticed() -> list[dict[str, Any]]:
            """Log lines that say that somebody else has them; at least once it may hear so before it would commit."""
            lost = zombie.events("partitions.lost") if delivery == AT_LEAST else []
            return _refusals(zombie, own) + lost

        woken = refused = 0
        recovered = []
        for _ in range(plan.counts.zombies):
            here.until(zombie.owned, "an owner")
            before = len(noticed())
            if delivery == AT_LEAST:
                time.sleep(WORKS_S)
                zombie.signal(signal.SIGSTOP)
            else:
                _freeze_in_commit(here, "a")
            stopped_s = time.monotonic()
            here.until(lambda: len(other.owned()) == PARTITIONS, "the owner of all")
            time.sleep(max(0.0, FROZEN_S - (time.monotonic() - stopped_s)))
            zombie.signal(signal.SIGCONT)
            woken += 1
            recovered.append(here.moves())
            refused += len(noticed()) > before
        told = sorted({_code(line) for line in noticed()})
        return here.finish(
            f"SIGSTOP {FROZEN_S} s, transactions of up to {timeout_ms // 1000} s", refused, woken,
            unit="zombies refused", recovery_s=max(recovered), note=f"its log says {', '.join(told)}",
        )  # fmt: skip


def twins(plan: Plan, kafka: FaultKafka, folder: Path, delivery: str) -> Figures:
    """T5: a second worker is started with the transactional id of the first."""
    with scene(plan, "T5", delivery, kafka, folder, workers=1) as here:
        here.fleet.expected = {FENCED}
        here.fleet.start("a2")
        waited_s = here.until(lambda: here.fleet.deaths, "fenced", 60)
        here.moves()
        time.sleep(10.0)  # long enough for the other to be fenced in turn
        fenced = [death.name for death in here.fleet.deaths]
        if fenced != ["a"]:
            raise Broken([f"T5: the first worker alone should have been fenced, fenced were {fenced}"], Figures())
        return here.finish(
            "two workers with one transactional id", len(fenced), 1, unit="fenced",
            note=f"the older ended with {FENCED} after {waited_s:.1f} s, the younger goes on",
        )  # fmt: skip


def aborted_again_and_again(
    plan: Plan, kafka: FaultKafka, folder: Path, delivery: str, variables: Variables | None = None
) -> Figures:
    """T6: every tenth transaction is given up right before its commit."""
    armed = {**(variables or {}), FAILPOINT: "before_commit:abort:10"}
    with scene(plan, "T6", delivery, kafka, folder, variables=armed) as here:
        wanted = int(plan.counts.abort_s / 2)
        time.sleep(plan.counts.abort_s)
        here.until(lambda: len(here.events("transaction.aborted")) >= wanted, "aborted often enough", 120)
        aborted = len(here.events("transaction.aborted"))
        figures = here.finish("every 10th transaction aborted", aborted, wanted, unit="aborts")
        if not figures.aborted:
            raise Vacuous("O7: a reader of read_uncommitted sees nothing that was aborted")
        return figures


def rebalanced_again_and_again(
    plan: Plan, kafka: FaultKafka, folder: Path, delivery: str, *, protocol: str, variables: Variables | None = None
) -> Figures:
    """T7: workers come and go every 3 s."""
    chance = plan.chance("T7", delivery, protocol)
    chosen: dict[str, object] = {"partition.assignment.strategy": protocol}
    if protocol == "consumer":
        chosen = {"group.protocol": "consumer", "session.timeout.ms": None}
    with scene(plan, "T7", delivery, kafka, folder, variables=variables, kafka_consumer=chosen, rate=2_000) as here:
        until_s = time.monotonic() + plan.counts.storm_s
        while time.monotonic() < until_s:
            owners = [name for name in "cdef" if name in here.fleet.wanted and here.fleet.workers[name].owned()]
            gone = [name for name in "cdef" if not here.fleet.running(name)]
            if owners and (not gone or chance.random() < 0.5):
                here.fleet.dismiss(chance.choice(owners))
            elif gone:
                here.fleet.start(chance.choice(gone))
            time.sleep(chance.uniform(0.5, 3.0))
        taken = sum(bool(line["positions"]) for line in here.events("partitions.assigned"))
        return here.finish(
            f"workers come and go, {protocol}", taken, max(4, int(plan.counts.storm_s / 6)), unit="assignments",
            gap_s_max=plan.counts.gap_s_max,
        )  # fmt: skip


def poisoned(plan: Plan, kafka: FaultKafka, folder: Path, delivery: str, variables: Variables | None = None) -> Figures:
    """T16: every kind of bad record among good ones, and kills in the middle of it, right before commits."""
    chance = plan.chance("T16", delivery)
    queue = ["before_commit", "produced"] * plan.counts.poison_kills
    wanted = len(queue)

    def armed(_: str) -> Variables:
        mine = {FAILPOINT: f"{queue.pop()}:kill:{chance.randrange(10, 30)}"} if queue else {}
        return {**(variables or {}), **mine}

    with scene(plan, "T16", delivery, kafka, folder, variables=armed, poison_every=20) as here:
        here.until(lambda: here.fleet.killed >= wanted, "killed", 60 + 20 * wanted)
        recovered = recovers(here)
        kinds = {each.kind for each in dict(here.load.sent).values() if each.kind}
        lacking = kinds_of("lead").keys() - kinds
        if lacking:
            raise Vacuous(f"O7: these kinds of poison were not sent: {sorted(lacking)}")
        return here.finish(
            f"{len(kinds)} kinds of poison, SIGKILL in the middle", here.fleet.killed, wanted, unit="kills",
            recovery_s=recovered,
        )  # fmt: skip


def _freeze_in_commit(here: Scene, name: str) -> None:
    """Stops a worker when it has begun to commit and has not sent its offsets yet."""
    frozen = threading.Event()

    def look(api_key: int, client: str) -> None:
        if api_key == ADD_OFFSETS_TO_TXN and client == name and not frozen.is_set():
            here.fleet.workers[name].signal(signal.SIGSTOP)
            frozen.set()

    here.kafka.way.on_request = look
    assert frozen.wait(30), f"{name} commits nothing"


def _refusals(worker: Worker, own: bool) -> list[dict[str, Any]]:
    """A worker's log lines of commits that the broker or the client refused because somebody else has the partitions.

    With `own` also of those that the worker itself gave up, since their time was over.
    """
    names = ("transaction.call_failed", "kafka.commit_failed")
    found = [line for name in names for line in worker.events(name) if any(code in str(line) for code in REFUSALS)]
    return found + (worker.events("transaction.aborted") if own else [])


def _code(line: dict[str, Any]) -> str:
    if line["event"] == "partitions.lost":
        return line["event"]
    return next((code for code in REFUSALS if code in str(line)), "its time was over")
