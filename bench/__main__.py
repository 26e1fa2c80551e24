"""`python -m bench`: measures the scorer and its peers on a real Kafka, prints the tables, writes docs/performance.md.

Exit code 0 if every demand is met (with --quick: if every event was accounted for), 1 if one is not, 2 if a run did not
add up or could not be made.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bench.account import MiscountError, Sample, agree
from bench.contenders import CAREFUL, RAW_COPY, Contender, scorer
from bench.latency import delay
from bench.load import Load, make_load
from bench.machine import machine, versions
from bench.measure import load_average
from bench.plan import FULL_COMPILER, QUICK, Plan
from bench.report import report
from bench.results import Results, verdicts
from bench.steps import SIZES, step_costs
from bench.throughput import drain
from scorer.core.errors import ScorerError
from scorer.local.kafka import running_kafka

REPORT = Path(__file__).parents[1] / "docs" / "performance.md"
PACED, ONCE, EAGER = scorer("paced"), scorer("paced", "exactly_once"), scorer("eager")
Say = Callable[[str], None]


def main() -> int:
    """Runs the benchmark and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="a smoke of a minute: small, one run each, no report file")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON instead of tables")
    parser.add_argument("--report", type=Path, help="where to write the report; docs/performance.md by default")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # cleans up as Ctrl+C does
    for name in [name for name in os.environ if name.startswith("SCORER_")]:
        del os.environ[name]  # the worker's settings are those of this benchmark, nobody's own
    try:
        results = measure(QUICK if args.quick else Plan(), _progress())
    except (MiscountError, RuntimeError, ScorerError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    lines = verdicts(results, PACED.name, ONCE.name, EAGER.name, CAREFUL.name)
    text = report(results, lines, [PACED, ONCE, EAGER, CAREFUL, RAW_COPY], _about(results))
    where = args.report or (None if args.quick else REPORT)
    if where is not None:
        where.write_text(text, encoding="utf-8")
    if args.json:
        print(json.dumps({**asdict(results), "verdicts": [asdict(line) for line in lines]}, indent=2))
    else:
        print(text)
    return 0 if args.quick or all(line.passed for line in lines) else 1


def measure(plan: Plan, say: Say) -> Results:
    """Runs everything in turn.

    Raises:
        MiscountError: a run did not add up.
        RuntimeError, ScorerError: a run could not be made.
    """
    started_s, results = time.monotonic(), Results(plan)
    at_start = load_average()
    say(f"making {plan.drain_events:,} leads and {plan.logins_per_s * plan.paced_s:,.0f} logins")
    leads = make_load("lead", max(plan.drain_events, round(plan.leads_per_s * plan.paced_s)))
    logins = make_load("login", round(plan.logins_per_s * plan.paced_s))
    results.event_bytes = {load.kind: load.bytes_mean for load in (leads, logins)}
    say("the core's steps without Kafka")
    results.steps = [step_costs(load, rows, plan.step_s) for load in (leads, logins) for rows in SIZES]
    os.environ["_JAVA_OPTIONS"] = FULL_COMPILER
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        work = Path(name)
        with running_kafka(work / "kafka", say=say) as server:
            _drain_all(results, server.address, leads, work, say)
            _delay_all(results, server.address, (leads, logins), work, say)
    results.took_s, results.loads = time.monotonic() - started_s, (at_start, load_average())
    return results


def _drain_all(results: Results, bootstrap: str, leads: Load, work: Path, say: Say) -> None:
    plan = results.plan
    first: Sample = {}
    for number in range(1, plan.drain_runs + 1):
        for contender in (PACED, ONCE, CAREFUL, RAW_COPY):
            run, sample = drain(contender, bootstrap, leads, work, scored=contender is not RAW_COPY)
            results.drains.append(run)
            say(
                f"backlog, run {number} of {plan.drain_runs}: {run.contender}, {run.per_s:,.0f} events/s, "
                f"{run.cpu_us:.1f} us of CPU per event, {run.memory_mb:.0f} MB"
            )
            if sample:
                first = first or sample
                agree(first, sample)


def _delay_all(results: Results, bootstrap: str, loads: tuple[Load, Load], work: Path, say: Say) -> None:
    plan, (leads, logins) = results.plan, loads

    if plan.broker_warm_s:
        say("warming the broker up")
        delay(CAREFUL, bootstrap, leads, work, per_s=plan.leads_per_s, paced_s=plan.broker_warm_s, dropped_s=0)

    def run(contender: Contender | None, load: Load, per_s: int, label: str) -> None:
        found = delay(contender, bootstrap, load, work, per_s=per_s, paced_s=plan.paced_s, dropped_s=plan.dropped_s)
        into = results.floors if contender is None else results.leads if load is leads else results.logins
        into.append(found)
        say(
            f"{per_s:,} {load.kind}s/s, {label}: {found.contender}, "
            f"p50 {found.p50_ms:.1f} ms, p99 {found.p99_ms:.1f} ms, {found.cpu_us:.0f} us of CPU per event"
        )

    run(None, leads, plan.leads_per_s, "nobody between")
    for number in range(1, plan.paced_runs + 1):
        label = f"run {number} of {plan.paced_runs}"
        for contender in (EAGER, CAREFUL):
            run(contender, leads, plan.leads_per_s, label)
        run(EAGER, logins, plan.logins_per_s, label)


def _about(results: Results) -> dict[str, str]:
    return {
        "machine": machine(),
        "versions": versions(),
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "command": f"python -m bench {shlex.join(sys.argv[1:])}".strip(),
        "took": f"{results.took_s / 60:.1f} min",
        "load average": f"{results.loads[0]:.1f} at the start (others' work), {results.loads[1]:.1f} at the end",
    }


def _progress() -> Say:
    started_s = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - started_s:5.0f} s  {text}", file=sys.stderr, flush=True)

    return say


if __name__ == "__main__":
    sys.exit(main())
