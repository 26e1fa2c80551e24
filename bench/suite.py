"""Everything that one run of the benchmark measures, in its order."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.account import Sample, agree
from bench.bare import bare_recommender
from bench.contenders import BYTEWAX, CAREFUL, FAUST, QUIX, RAW_COPY, Contender, kafka_streams, scorer
from bench.latency import Delay, delay
from bench.load import Load, make_load
from bench.machine import BROKER
from bench.measure import load_average
from bench.plan import Plan
from bench.results import Results, drained
from bench.stage import Shape
from bench.steps import SIZES, step_costs
from bench.throughput import Drain, drain
from scorer.local.kafka import running_kafka

PACED, ONCE, EAGER = scorer("paced"), scorer("paced", "exactly_once"), scorer("eager")
BY_NAME = {"eager": EAGER, "paced": PACED, "careful": CAREFUL, "raw": RAW_COPY}
SLOW = (QUIX, FAUST)
STEPS_ROWS = 1000
LIMIT_MARGIN = 1.2
"""Who is by so much faster on a backlog is measured at a steady rate: nearer to the limit the queue alone counts."""

Say = Callable[[str], None]


def measure(plan: Plan, say: Say) -> Results:
    """Runs everything in turn.

    Raises:
        MiscountError: a run did not add up.
        RuntimeError, ScorerError: a run could not be made.
    """
    started_s, results = time.monotonic(), Results(plan)
    at_start = load_average()
    leads_max = max(plan.drain_events, round(_fastest(plan) * plan.paced_s))
    logins_max = max(plan.login_events, round(plan.logins_per_s * plan.paced_s))
    say(f"making {leads_max:,} leads and {logins_max:,} logins")
    leads, logins = make_load("lead", leads_max), make_load("login", logins_max)
    results.event_bytes = {load.kind: load.bytes_mean for load in (leads, logins)}
    say("the core's steps without Kafka")
    results.steps = [step_costs(load, rows, plan.step_s) for load in (leads, logins) for rows in SIZES]
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        work = Path(name)
        peers = (BYTEWAX, kafka_streams(work), QUIX, FAUST) if plan.peers else ()
        results.contenders = [PACED, ONCE, EAGER, CAREFUL, RAW_COPY, *peers]
        with running_kafka(work / "kafka", jvm=BROKER, say=say) as server:
            run = Suite(results, server.address, work, leads, logins, say)
            run.backlogs((PACED, ONCE, CAREFUL, RAW_COPY, *peers))
            run.long_backlog()
            run.delays(peers)
    results.took_s, results.loads = time.monotonic() - started_s, (at_start, load_average())
    return results


def _fastest(plan: Plan) -> int:
    return max(*(rate for rate, _ in plan.leads_per_s), *plan.peers_per_s, plan.half_per_s_max, 0)


@dataclass(frozen=True, slots=True)
class Suite:
    """One run of the benchmark on one broker.

    Attributes:
        results: where figures go.
        bootstrap, work: the broker, and a folder.
        leads, logins: the load.
        say: told of each run.
    """

    results: Results
    bootstrap: str
    work: Path
    leads: Load
    logins: Load
    say: Say

    def backlogs(self, contenders: tuple[Contender, ...]) -> None:
        """Everybody drains the same backlog, in turn, again and again."""
        plan = self.results.plan
        first: Sample = {}
        bare = Shape()
        if plan.login_events:
            bare = Shape(bundle=bare_recommender(self.work))
            self.results.bare_infer_us = step_costs(self.logins, STEPS_ROWS, plan.step_s, bare.bundle).us["infer"]
        for number in range(1, plan.drain_runs + 1):
            label = f"backlog, run {number} of {plan.drain_runs}"
            for contender in contenders:
                events = plan.slow_events if contender in SLOW else plan.drain_events
                run, sample = self._drained(contender, self.leads.first(events), label)
                self.results.drains.append(run)
                first = _agreed(first, sample)
            if plan.login_events:
                run, _ = self._drained(PACED, self.logins.first(plan.login_events), f"{label}, logins")
                self.results.login_drains.append(run)
                run, _ = self._drained(PACED, self.logins.first(plan.login_events), f"{label}, logins, bare", bare)
                self.results.bare_drains.append(run)

    def long_backlog(self) -> None:
        """A backlog by which memory is measured: the same events again and again, each with an id of its own."""
        if self.results.plan.long_events:
            load = self.leads.repeated(self.results.plan.long_events)
            self.results.long_drain, _ = self._drained(PACED, load, "long backlog")

    def delays(self, peers: tuple[Contender, ...]) -> None:
        """Steady rates."""
        plan = self.results.plan
        if plan.broker_warm_s:
            self.say("warming the broker up")
            rate = max(rate for rate, _ in plan.leads_per_s)
            warm = self.leads.first(round(rate * plan.broker_warm_s))
            for contender in (EAGER, PACED, CAREFUL):
                delay(contender, self.bootstrap, warm, self.work, per_s=rate, paced_s=plan.broker_warm_s, dropped_s=0)
        for rate, _ in plan.leads_per_s:
            self.results.floors.append(self._delay(None, self.leads, rate, "nobody between"))
        for number in range(1, plan.paced_runs + 1):
            label = f"run {number} of {plan.paced_runs}"
            for rate, names in plan.leads_per_s:
                for name in names:
                    self.results.leads.append(self._delay(BY_NAME[name], self.leads, rate, label))
            self.results.logins.append(self._delay(EAGER, self.logins, plan.logins_per_s, label))
        for number in range(1, plan.peer_runs + 1):
            label = f"run {number} of {plan.peer_runs}"
            for contender, rate in self._further((EAGER, PACED, CAREFUL, RAW_COPY, *peers)):
                self.results.leads.append(self._delay(contender, self.leads, rate, label))
            for contender in (PACED, CAREFUL, RAW_COPY, *peers):
                half = drained(self.results, contender.name, lambda run: run.per_s).middle / 2
                rate = round(min(half, plan.half_per_s_max), -2)
                self.results.halves.append(self._delay(contender, self.leads, int(rate), f"half its limit, {label}"))

    def _further(self, contenders: tuple[Contender, ...]) -> Iterator[tuple[Contender, int]]:
        """Who is measured at which rate besides: whoever can, and has not been."""
        plan = self.results.plan
        done = {(BY_NAME[name].name, rate) for rate, names in plan.leads_per_s for name in names}
        for rate in plan.peers_per_s:
            for contender in contenders:
                drains = PACED.name if contender is EAGER else contender.name
                limit = drained(self.results, drains, lambda run: run.per_s).middle
                if (contender.name, rate) not in done and limit > LIMIT_MARGIN * rate:
                    yield contender, rate

    def _drained(
        self,
        contender: Contender,
        load: Load,
        label: str,
        shape: Shape = Shape(),  # noqa: B008 -- frozen
    ) -> tuple[Drain, Sample]:
        run, sample = drain(contender, self.bootstrap, load, self.work, shape)
        self.say(
            f"{label}: {run.contender}, {run.per_s:,.0f} events/s, {run.cpu_us:.1f} us of CPU per event, "
            f"{run.memory_mb:.0f} MB"
        )
        return run, sample

    def _delay(self, contender: Contender | None, load: Load, per_s: int, label: str) -> Delay:
        plan = self.results.plan
        found = delay(
            contender, self.bootstrap, load, self.work, per_s=per_s, paced_s=plan.paced_s, dropped_s=plan.dropped_s
        )
        self.say(
            f"{per_s:,} {load.kind}s/s, {label}: {found.contender}, "
            f"p50 {found.p50_ms:.1f} ms, p99 {found.p99_ms:.1f} ms, {found.cpu_us:.0f} us of CPU per event"
        )
        return found


def _agreed(first: Sample, sample: Sample) -> Sample:
    """The sample that others are held against; of those who had a shorter backlog, against that part."""
    if first and sample:
        agree({place: each for place, each in first.items() if place in sample}, sample)
    return first or sample
