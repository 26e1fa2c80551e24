"""What is demanded of the scorer, held against the figures of one run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.contenders import BYTEWAX, CAREFUL, FAUST, QUIX, RAW_COPY, STREAMS
from bench.latency import Delay
from bench.results import Results, Spread, delayed, drained, names, ratio, spread
from bench.suite import EAGER, ONCE, PACED

RAW_RATIO_MIN = 0.55
CPU_RATIO_MAX, CPU_RATIO_GOAL = 0.33, 0.27
ONCE_RATIO_MIN = 0.85
PEERS = {BYTEWAX.name: 1.6, STREAMS: 3.0, QUIX.name: 9.0, FAUST.name: 15.0}
"""How many times a peer's events a second are at least ours."""
LOGIN_OUTSIDE_US_MAX = 10.0
MEMORY_MB_MAX = 250.0
LOGIN_P99_MS_MAX = 50.0
EAGER_P99_RATIO_MAX, PACED_P99_RATIO_MAX, RAW_P50_RATIO_MAX = 1.15, 0.5, 2.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line of what is demanded.

    Attributes:
        demand: in words, with its limit.
        figure: what was found, in words.
        passed: whether it holds.
        found: the median, which the limit is for (of memory it is for the greatest); least and greatest are what the
            repeats allow, of a ratio the least of one side to the greatest of the other.
        unit: of that number.
    """

    demand: str
    figure: str
    passed: bool
    found: Spread
    unit: str = "x"


def verdicts(results: Results) -> list[Verdict]:
    """Line by line, as far as it was measured."""
    return [*_backlog(results), *_logins(results), *_memory(results), *_delays(results)]


def _backlog(results: Results) -> Iterator[Verdict]:
    def rate(name: str) -> Spread:
        return drained(results, name, lambda run: run.per_s)

    def at_least(what: str, mine: Spread, other: Spread, limit: float) -> Verdict:
        found = ratio(mine, other)
        figure = f"{mine.middle:,.0f} events/s against {other.middle:,.0f}: {found.middle:.2f}x"
        return Verdict(f"{what} at least {limit:g}x", figure, found.middle >= limit, found)

    ours = rate(PACED.name)
    yield at_least("at least once to the raw copy's events/s:", ours, rate(RAW_COPY.name), RAW_RATIO_MIN)
    cpu, theirs = (drained(results, each.name, lambda run: run.cpu_us) for each in (PACED, CAREFUL))
    found = ratio(cpu, theirs)
    yield Verdict(
        f"CPU per lead event at most {CPU_RATIO_MAX}x the careful loop's (goal {CPU_RATIO_GOAL}x)",
        f"{cpu.middle:.1f} us against {theirs.middle:.1f}: {found.middle:.2f}x",
        found.middle <= CPU_RATIO_MAX,
        found,
    )
    for name, limit in PEERS.items():
        if name in names(results.drains):
            yield at_least(f"events/s to {name}:", ours, rate(name), limit)
    yield at_least("exactly once to at least once:", rate(ONCE.name), ours, ONCE_RATIO_MIN)


def _logins(results: Results) -> Iterator[Verdict]:
    if results.login_drains:
        runs = (results.login_drains, results.bare_drains)
        cpu, bare = (spread([run.cpu_us for run in each]) for each in runs)
        outside = Spread(*(each - results.bare_infer_us for each in (bare.middle, bare.least, bare.greatest)))
        yield Verdict(
            f"recommendations: the worker's share outside the model at most {LOGIN_OUTSIDE_US_MAX:.0f} us per event",
            f"{cpu.middle:.1f} us, {bare.middle:.1f} with a model that does nothing, {results.bare_infer_us:.1f} of "
            f"them in the runtime all the same: {outside.middle:.1f} us",
            outside.middle <= LOGIN_OUTSIDE_US_MAX,
            outside,
            "us",
        )
    found_ms = delayed(results.logins, EAGER.name, lambda run: run.p99_ms)
    yield Verdict(
        f"{results.plan.logins_per_s} logins/s, send to receipt: p99 at most {LOGIN_P99_MS_MAX:.0f} ms",
        f"{found_ms.middle:.1f} ms",
        found_ms.middle <= LOGIN_P99_MS_MAX,
        found_ms,
        "ms",
    )


def _memory(results: Results) -> Iterator[Verdict]:
    runs = [run for run in results.drains if run.contender == PACED.name]
    longest = "full load"
    if results.long_drain is not None:
        runs.append(results.long_drain)
        longest += f" and with a backlog of {results.long_drain.events:,}"
    found = spread([run.memory_mb for run in runs])
    yield Verdict(
        f"resident memory at {longest} under {MEMORY_MB_MAX:.0f} MB",
        f"{found.greatest:.0f} MB",
        found.greatest < MEMORY_MB_MAX,
        found,
        "MB",
    )


def _delays(results: Results) -> Iterator[Verdict]:
    measured = {(run.contender, run.per_s) for run in results.leads}

    def p99(run: Delay) -> float:
        return run.p99_ms

    def p50(run: Delay) -> float:
        return run.p50_ms

    for mine, other, per_s, label, figure, limit in (
        (EAGER, CAREFUL, 1000, "p99", p99, EAGER_P99_RATIO_MAX),
        (PACED, CAREFUL, 3000, "p99", p99, PACED_P99_RATIO_MAX),
        (PACED, CAREFUL, 6000, "p99", p99, PACED_P99_RATIO_MAX),
        (EAGER, RAW_COPY, 1000, "p50", p50, RAW_P50_RATIO_MAX),
    ):
        if {(mine.name, per_s), (other.name, per_s)} <= measured:
            ours, theirs = (delayed(results.leads, each.name, figure, per_s) for each in (mine, other))
            found = ratio(ours, theirs)
            yield Verdict(
                f"{per_s:,} leads/s, {mine.name}: {label} at most {limit:g}x the {other.name}'s",
                f"{ours.middle:.1f} ms against {theirs.middle:.1f}: {found.middle:.2f}x",
                found.middle <= limit,
                found,
            )
