"""Neighbours that go away: the registry, and a stop while they are."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.faults.plugin import Plan
from tests.faults.scenarios import Variables, recovers
from tests.faults.scene import Scene, Stuck, scene
from tests.faults.stage import EXACTLY
from tests.harness.fault_kafka import FaultKafka
from tests.oracle.judge import Broken, Figures

GRACE_S = 20.0
RECOVER_S_MAX = 10.0
SAY_S_MAX = 15.0
STILL_S = 1.0


def registry_away(
    plan: Plan, kafka: FaultKafka, folder: Path, delivery: str, variables: Variables | None = None
) -> Figures:
    """T19: down, failing, silent, and not knowing a new schema id yet: cached ids flow, the new one waits."""
    away_s = plan.counts.outage_s
    patient = {"grace_ms_max": 60_000}
    with scene(plan, "T19", delivery, kafka, folder, variables=variables, registry_more=patient, rate=300) as here:
        recovered: dict[str, float] = {}
        with suppress(Stuck):  # then the oracle says why
            for name, fault, wait_s in (
                ("down", here.registry.down, away_s),
                ("answering 503", lambda: here.registry.failing(503), min(away_s, 10.0)),
                ("silent", here.registry.silent, min(away_s, 10.0)),
            ):
                fault()
                here.moves()  # ids that are known need no registry
                here.evolve()
                recovered[name] = _waits_and_recovers(here, wait_s, here.registry.up)
            new = here.evolve()
            here.registry.hide(new)
            recovered["not knowing the id"] = _waits_and_recovers(here, 5.0, lambda: here.registry.show(new))
            here.registry.down()
            here.fleet.kill("b")
            recovered["down at a start"] = recovers(here)  # it starts from what it has on disk
        here.registry.up()
        slowest = max(list(recovered)[:4], key=lambda name: recovered[name], default="")
        note = f"slowest with the registry {slowest}"
        figures = here.finish(
            f"registry away for {away_s:.0f} s, a new schema id in flight", len(recovered), 5,
            unit="outages", recovery_s=recovered.get(slowest, 0.0), note=note,
        )  # fmt: skip
        if recovered[slowest] > RECOVER_S_MAX:
            raise Broken([f"O8: {recovered[slowest]:.1f} s until it moved again, {note}"], figures)
        return figures


def rebalanced_while_waiting(
    plan: Plan, kafka: FaultKafka, folder: Path, delivery: str, variables: Variables | None = None
) -> Figures:
    """T7: batches in hand wait for a schema while some of their partitions go to two more workers.

    Both owners stand still for a moment first, so that what they then read at once is of all their partitions.
    """
    patient = {"grace_ms_max": 60_000}
    with scene(plan, "T7", delivery, kafka, folder, variables=variables, registry_more=patient) as here:
        owners = [here.fleet.workers[name] for name in "ab"]
        for each in owners:
            each.signal(signal.SIGSTOP)
        here.registry.hide(here.evolve())
        time.sleep(STILL_S)
        for each in owners:
            each.signal(signal.SIGCONT)
        here.until(
            lambda: all(each.health("ready")[1].get("state") == "waiting" for each in owners), "waiting", SAY_S_MAX
        )
        before = _revocations(here)
        more = [here.fleet.start(name) for name in "cd"]
        here.until(lambda: all(each.owned() for each in more), "owners")
        time.sleep(1.0)
        revoked = _revocations(here) - before
        here.registry.show(max(here.registered))
        recovered = here.moves()
        return here.finish(
            "partitions go while their batch waits for a schema", revoked, 2, unit="revocations", recovery_s=recovered
        )


def _revocations(here: Scene) -> int:
    return sum(bool(line["partitions"]) for line in here.events("partitions.revoked"))


def _waits_and_recovers(here: Scene, away_s: float, heal: Callable[[], object]) -> float:
    """The fault is on; returns how long after its end every partition moves.

    Raises:
        Stuck: nobody waits for it, or nothing moves again.
    """
    here.until(lambda: _waits(here), "waiting", SAY_S_MAX)
    time.sleep(away_s)
    heal()
    return here.moves(RECOVER_S_MAX + 20)


def stopped(plan: Plan, kafka: FaultKafka, folder: Path, delivery: str, variables: Variables | None = None) -> Figures:
    """T20: SIGTERM, and twice, in every state that a worker can be in."""
    few = SMOKE_STATES if plan.level == "smoke" else HARD_STATES
    all_of_them = plan.level == "qualify" or (plan.level == "faults" and delivery == EXACTLY)
    states = STATES if all_of_them else {name: STATES[name] for name in few}
    with scene(plan, "T20", delivery, kafka, folder, variables=variables) as here:
        slowest, overdue = ("", 0.0), 0
        findings = []
        for name, act in states.items():
            code, took_s, wanted, bound_s = act(here)
            hung = bool(here.fleet.workers["a"].events("stop.overdue"))
            print(f"T20 {delivery} {name}: exit {code} after {took_s:.1f} s{', its grace was over' * hung}")
            if code not in wanted or took_s > bound_s:
                findings.append(f"O8: told to stop {name}: exit {code} after {took_s:.1f} s")
            if hung and name not in UNANSWERED:
                findings.append(f"O8: told to stop {name}: it drained nothing until its grace was over")
            overdue += hung
            slowest = max(slowest, (name, took_s), key=lambda pair: pair[1])
            here.kafka.way.heal()
            here.load.rate = plan.counts.rate
            here.fleet.start("a")
            here.until(here.fleet.workers["a"].owned, "an owner again", 60)
            here.moves(60)
        note = f"slowest {slowest[0]}, {slowest[1]:.1f} s; ended by the end of their grace: {overdue}"
        figures = here.finish("SIGTERM in every state", len(states), len(states), unit="states", note=note)
        if findings:
            raise Broken(findings, figures)
        return figures


def _waits(here: Scene) -> bool:
    return any(worker.health("ready")[1].get("state") == "waiting" for worker in here.fleet.workers.values())


Stopped = tuple[int, float, set[int], float]


def _idle(here: Scene) -> Stopped:
    here.load.rate = 0
    time.sleep(2.0)
    return (*here.fleet.stop("a"), {0}, GRACE_S)


def _under_load(here: Scene) -> Stopped:
    return (*here.fleet.stop("a"), {0}, GRACE_S)


def _starting(here: Scene) -> Stopped:
    """While it loads its model: as soon as it says anything."""
    here.fleet.stop("a")
    said = len(here.fleet.workers["a"].text())
    here.fleet.start("a")
    here.until(lambda: len(here.fleet.workers["a"].text()) > said, "saying anything")
    return (*here.fleet.stop("a"), {0}, GRACE_S)


def _waiting(here: Scene) -> Stopped:
    """While a batch in hand waits for a schema."""
    here.registry.down()
    here.evolve()
    worker = here.fleet.workers["a"]
    here.until(lambda: worker.health("ready")[1].get("state") == "waiting", "waiting", SAY_S_MAX)
    found = here.fleet.stop("a")
    here.registry.up()
    return (*found, {0}, GRACE_S)


def _frozen_at_start(here: Scene) -> Stopped:
    """Where init_transactions and the first questions to the broker get no answer."""
    here.fleet.stop("a")
    here.fleet.dismiss("b")
    here.fleet.dismissed()
    here.kafka.way.freeze()
    here.fleet.start("a")
    time.sleep(5.0)
    found = here.fleet.stop("a")
    here.kafka.way.heal()
    here.fleet.start("b")
    return (*found, {0}, GRACE_S)


def _frozen_for_a_while(here: Scene) -> Stopped:
    here.kafka.way.freeze()
    time.sleep(0.5)
    started_s = time.monotonic()
    here.fleet.dismiss("a")
    time.sleep(5.0)
    here.kafka.way.heal()
    code = here.fleet.workers["a"].wait()
    return code, time.monotonic() - started_s, {0}, GRACE_S


def _frozen_for_good(here: Scene) -> Stopped:
    """It must not wait for ever; what was under way is read again if it was not committed."""
    here.kafka.way.freeze()
    time.sleep(0.5)
    return (*here.fleet.stop("a"), {0}, GRACE_S)


def _twice(here: Scene) -> Stopped:
    here.kafka.way.freeze()
    time.sleep(0.5)
    worker = here.fleet.workers["a"]
    here.fleet.wanted.discard("a")
    worker.signal(signal.SIGTERM)
    time.sleep(1.0)
    started_s = time.monotonic()
    if not worker.running:  # nothing was under way when the broker froze
        return worker.wait(), 0.0, {0}, GRACE_S
    worker.signal(signal.SIGTERM)
    by_itself_or_by_python = {128 + signal.SIGTERM, -signal.SIGTERM}  # which gives signals back when it is ending
    return worker.wait(), time.monotonic() - started_s, by_itself_or_by_python, 3.0


def _interrupted(here: Scene) -> Stopped:
    worker = here.fleet.workers["a"]
    here.fleet.wanted.discard("a")
    started_s = time.monotonic()
    worker.signal(signal.SIGINT)
    return worker.wait(), time.monotonic() - started_s, {0}, GRACE_S


STATES: dict[str, Callable[[Scene], Stopped]] = {
    "idle": _idle,
    "under load": _under_load,
    "by SIGINT": _interrupted,
    "starting": _starting,
    "waiting for a schema": _waiting,
    "the broker frozen at the start": _frozen_at_start,
    "the broker frozen for 5 s": _frozen_for_a_while,
    "the broker frozen for good": _frozen_for_good,
    "twice": _twice,
}
UNANSWERED = ("the broker frozen at the start", "the broker frozen for good", "twice")
"""States in which a drain cannot come to an end."""
SMOKE_STATES = ("under load", "the broker frozen for 5 s")
HARD_STATES = (*SMOKE_STATES, "the broker frozen at the start", "the broker frozen for good")
