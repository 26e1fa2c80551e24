"""All figures of one run of the benchmark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.contenders import Contender
from bench.latency import Delay
from bench.plan import Plan
from bench.steps import StepCosts
from bench.throughput import Drain


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and greatest of some runs."""

    middle: float
    least: float
    greatest: float


@dataclass(slots=True)
class Results:
    """What was measured, in the order in which it was.

    Attributes:
        plan: sizes and repeats.
        contenders: who was measured.
        event_bytes: mean size of a lead and of a login.
        drains, login_drains: backlog runs of leads and of logins.
        bare_drains: of logins with a model that does nothing.
        bare_infer_us: what the runtime takes on such a model per event, its copying of 200 texts, in a quiet loop.
        long_drain: the one by which memory is measured.
        leads, logins: steady runs; `floors` are the same without a contender.
        halves: steady runs at half of the contender's own limit.
        steps: the core without Kafka.
        took_s: the whole benchmark.
        loads: the machine's load average at the start and at the end.
    """

    plan: Plan
    contenders: list[Contender] = field(default_factory=list)
    event_bytes: dict[str, float] = field(default_factory=dict)
    drains: list[Drain] = field(default_factory=list)
    login_drains: list[Drain] = field(default_factory=list)
    bare_drains: list[Drain] = field(default_factory=list)
    bare_infer_us: float = 0.0
    long_drain: Drain | None = None
    leads: list[Delay] = field(default_factory=list)
    logins: list[Delay] = field(default_factory=list)
    halves: list[Delay] = field(default_factory=list)
    floors: list[Delay] = field(default_factory=list)
    steps: list[StepCosts] = field(default_factory=list)
    took_s: float = 0.0
    loads: tuple[float, float] = (0.0, 0.0)


def names(runs: Sequence[Drain] | Sequence[Delay]) -> list[str]:
    """The contenders of some runs, in the order of their first."""
    return list(dict.fromkeys(run.contender for run in runs))


def drained(results: Results, contender: str, figure: Callable[[Drain], float]) -> Spread:
    """A figure over a contender's backlog runs."""
    return spread([figure(run) for run in results.drains if run.contender == contender])


def delayed(runs: Sequence[Delay], contender: str, figure: Callable[[Delay], float], per_s: int = 0) -> Spread:
    """A figure over a contender's steady runs, at one rate if one is given."""
    return spread([figure(run) for run in runs if run.contender == contender and run.per_s == (per_s or run.per_s)])


def spread(values: Sequence[float]) -> Spread:
    """Of some figures, at least one."""
    return Spread(median(values), min(values), max(values))


def ratio(one: Spread, other: Spread) -> Spread:
    """Of medians; as little and as much as their runs allow."""
    return Spread(one.middle / other.middle, one.least / other.greatest, one.greatest / other.least)
