"""All figures of one run of the benchmark, and the verdicts over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.latency import Delay
from bench.plan import Plan
from bench.steps import StepCosts
from bench.throughput import Drain

CPU_RATIO_MAX = 0.45
ONCE_RATIO_MIN = 0.85
MEMORY_MB_MAX = 300.0
LOGIN_P99_MS_MAX = 50.0
DELAY_RATIO_MAX = 1.15


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and greatest of some runs."""

    middle: float
    least: float
    greatest: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line of what is demanded.

    Attributes:
        demand: in words, with its limit.
        figure: what was found, in words.
        passed: whether it holds.
    """

    demand: str
    figure: str
    passed: bool


@dataclass(slots=True)
class Results:
    """What was measured, in the order in which it was.

    Attributes:
        plan: sizes and repeats.
        event_bytes: mean size of a lead and of a login.
        drains: backlog runs.
        leads, logins: steady runs; `floors` are the same without a contender.
        steps: the core without Kafka.
        took_s: the whole benchmark.
        loads: the machine's load average at the start and at the end.
    """

    plan: Plan
    event_bytes: dict[str, float] = field(default_factory=dict)
    drains: list[Drain] = field(default_factory=list)
    leads: list[Delay] = field(default_factory=list)
    logins: list[Delay] = field(default_factory=list)
    floors: list[Delay] = field(default_factory=list)
    steps: list[StepCosts] = field(default_factory=list)
    took_s: float = 0.0
    loads: tuple[float, float] = (0.0, 0.0)


def names(runs: Sequence[Drain] | Sequence[Delay]) -> list[str]:
    """The contenders of some runs, in the order of their first."""
    return list(dict.fromkeys(run.contender for run in runs))


def drained(results: Results, contender: str, figure: Callable[[Drain], float]) -> Spread:
    """A figure over a contender's backlog runs."""
    return _spread([figure(run) for run in results.drains if run.contender == contender])


def delayed(runs: Sequence[Delay], contender: str, figure: Callable[[Delay], float]) -> Spread:
    """A figure over a contender's steady runs."""
    return _spread([figure(run) for run in runs if run.contender == contender])


def verdicts(results: Results, ours: str, ours_once: str, ours_eager: str, careful: str) -> list[Verdict]:
    """What is demanded, line by line.

    Args:
        results: the figures.
        ours, ours_once: our worker's names in the backlog runs, delivering at least once and exactly once.
        ours_eager: its name in the steady runs.
        careful: the careful loop's name.
    """
    cpu, theirs = (drained(results, name, lambda run: run.cpu_us).middle for name in (ours, careful))
    rate, once = (drained(results, name, lambda run: run.per_s).middle for name in (ours, ours_once))
    memory_mb = max(run.memory_mb for run in results.drains if run.contender == ours)
    login_ms = delayed(results.logins, ours_eager, lambda run: run.p99_ms).middle
    lines = [
        Verdict(
            f"CPU per lead event at most {CPU_RATIO_MAX}x the careful loop's",
            f"{cpu:.1f} us against {theirs:.1f}: {cpu / theirs:.2f}x",
            cpu <= CPU_RATIO_MAX * theirs,
        ),
        Verdict(
            f"exactly once at least {ONCE_RATIO_MIN}x at least once",
            f"{once:,.0f} events/s against {rate:,.0f}: {once / rate:.2f}x",
            once >= ONCE_RATIO_MIN * rate,
        ),
        Verdict(
            f"resident memory at full load under {MEMORY_MB_MAX:.0f} MB",
            f"{memory_mb:.0f} MB",
            memory_mb < MEMORY_MB_MAX,
        ),
        Verdict(
            f"{results.plan.logins_per_s} logins/s, send to receipt: p99 at most {LOGIN_P99_MS_MAX:.0f} ms",
            f"{login_ms:.1f} ms",
            login_ms <= LOGIN_P99_MS_MAX,
        ),
    ]
    figures: dict[str, Callable[[Delay], float]] = {"p50": lambda run: run.p50_ms, "p99": lambda run: run.p99_ms}
    for label, figure in figures.items():
        mine, other = (delayed(results.leads, name, figure).middle for name in (ours_eager, careful))
        lines.append(
            Verdict(
                f"{results.plan.leads_per_s:,} leads/s: {label} at most {DELAY_RATIO_MAX}x the careful loop's",
                f"{mine:.1f} ms against {other:.1f}: {mine / other:.2f}x",
                mine <= DELAY_RATIO_MAX * other,
            )
        )
    return lines


def _spread(values: list[float]) -> Spread:
    return Spread(median(values), min(values), max(values))
