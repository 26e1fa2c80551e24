"""`python -m bench`: measures the scorer and its peers on a real Kafka and prints the tables; --full writes them to
docs/performance.md.

Exit code 0 if every demand is met (with --quick: if every event was accounted for), 1 if one is not, 2 if a run did not
add up or could not be made.
"""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sys
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from bench.account import MiscountError
from bench.demands import verdicts
from bench.history import day, keep_day, load_days
from bench.machine import machine, prepare, versions
from bench.plan import FULL, QUICK, Plan
from bench.plots import plot_backlog, plot_delays
from bench.report import BACKLOG, DELAYS, report
from bench.results import Results
from bench.suite import Say, measure
from scorer.core.errors import ScorerError

REPORT = Path(__file__).parents[1] / "docs" / "performance.md"


def main() -> int:
    """Runs the benchmark and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="a smoke of a minute: small, one run each")
    parser.add_argument("--full", action="store_true", help="other frameworks too, at more rates: up to an hour")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON instead of tables")
    parser.add_argument("--report", type=Path, help="where to write the report; docs/performance.md with --full")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # cleans up as Ctrl+C does
    prepare()
    try:
        results = measure(QUICK if args.quick else FULL if args.full else Plan(), _progress())
    except (MiscountError, RuntimeError, ScorerError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    lines = verdicts(results)
    about, where = _about(results), args.report or (REPORT if args.full else None)
    days = [day(about, lines)]
    if where is not None:
        kept = where.with_suffix(".jsonl")
        keep_day(kept, days[0])
        days = load_days(kept)
    text = report(results, lines, about, days)
    if where is not None:
        where.write_text(text, encoding="utf-8")
        plot_backlog(results, where.with_name(BACKLOG))
        plot_delays(results, where.with_name(DELAYS))
    if args.json:
        named = replace(results, contenders=[])  # they hold functions
        print(json.dumps({**asdict(named), "verdicts": [asdict(line) for line in lines]}, indent=2))
    else:
        print(text)
    return 0 if args.quick or all(line.passed for line in lines) else 1


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
