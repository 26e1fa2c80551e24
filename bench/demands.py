"""What is demanded of the scorer, held against the figures of one run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.contenders import BYTEWAX, CAREFUL, FAUST, QUIX, RAW_COPY, STREAMS
from bench.latency import Delay
from bench.results import Results, delayed, drained, names, spread
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
    """

    demand: str
    figure: str
    passed: bool


def verdicts(results: Results) -> list[Verdict]:
    """Line by line, as far as it was measured."""
    return [*_backlog(results), *_logins(results), *_memory(results), *_delays(results)]


def _backlog(results: Results) -> Iterator[Verdict]:
    def rate(name: str) -> float:
        return drained(results, name, lambda run: run.per_s).middle

    def at_least(what: str, mine: float, other: float, ratio: float) -> Verdict:
        figure = f"{mine:,.0f} events/s against {other:,.0f}: {mine / other:.2f}x"
        return Verdict(f"{what} at least {ratio:g}x", figure, mine >= ratio * other)

    ours = rate(PACED.name)
    yield at_least("at least once to the raw copy's events/s:", ours, rate(RAW_COPY.name), RAW_RATIO_MIN)
    cpu, theirs = (drained(results, each.name, lambda run: run.cpu_us).middle for each in (PACED, CAREFUL))
    yield Verdict(
        f"CPU per lead event at most {CPU_RATIO_MAX}x the careful loop's (goal {CPU_RATIO_GOAL}x)",
        f"{cpu:.1f} us against {theirs:.1f}: {cpu / theirs:.2f}x",
        cpu <= CPU_RATIO_MAX * theirs,
    )
    for name, ratio in PEERS.items():
        if name in names(results.drains):
            yield at_least(f"events/s to {name}:", ours, rate(name), ratio)
    yield at_least("exactly once to at least once:", rate(ONCE.name), ours, ONCE_RATIO_MIN)


def _logins(results: Results) -> Iterator[Verdict]:
    if results.login_drains:
        runs = (results.login_drains, results.bare_drains)
        cpu, bare = (spread([run.cpu_us for run in each]).middle for each in runs)
        outside = bare - results.bare_infer_us
        yield Verdict(
            f"recommendations: the worker's share outside the model at most {LOGIN_OUTSIDE_US_MAX:.0f} us per event",
            f"{cpu:.1f} us, {bare:.1f} with a model that does nothing, {results.bare_infer_us:.1f} of them in the "
            f"runtime all the same: {outside:.1f} us",
            outside <= LOGIN_OUTSIDE_US_MAX,
        )
    found_ms = delayed(results.logins, EAGER.name, lambda run: run.p99_ms).middle
    yield Verdict(
        f"{results.plan.logins_per_s} logins/s, send to receipt: p99 at most {LOGIN_P99_MS_MAX:.0f} ms",
        f"{found_ms:.1f} ms",
        found_ms <= LOGIN_P99_MS_MAX,
    )


def _memory(results: Results) -> Iterator[Verdict]:
    runs = [run for run in results.drains if run.contender == PACED.name]
    longest = "full load"
    if results.long_drain is not None:
        runs.append(results.long_drain)
        longest += f" and with a backlog of {results.long_drain.events:,}"
    found_mb = max(run.memory_mb for run in runs)
    yield Verdict(
        f"resident memory at {longest} under {MEMORY_MB_MAX:.0f} MB", f"{found_mb:.0f} MB", found_mb < MEMORY_MB_MAX
    )


def _delays(results: Results) -> Iterator[Verdict]:
    measured = {(run.contender, run.per_s) for run in results.leads}

    def p99(run: Delay) -> float:
        return run.p99_ms

    def p50(run: Delay) -> float:
        return run.p50_ms

    for mine, other, per_s, label, figure, ratio in (
        (EAGER, CAREFUL, 1000, "p99", p99, EAGER_P99_RATIO_MAX),
        (PACED, CAREFUL, 3000, "p99", p99, PACED_P99_RATIO_MAX),
        (PACED, CAREFUL, 6000, "p99", p99, PACED_P99_RATIO_MAX),
        (EAGER, RAW_COPY, 1000, "p50", p50, RAW_P50_RATIO_MAX),
    ):
        if {(mine.name, per_s), (other.name, per_s)} <= measured:
            ours, theirs = (delayed(results.leads, each.name, figure, per_s).middle for each in (mine, other))
            yield Verdict(
                f"{per_s:,} leads/s, {mine.name}: {label} at most {ratio:g}x the {other.name}'s",
                f"{ours:.1f} ms against {theirs:.1f}: {ours / theirs:.2f}x",
                ours <= ratio * theirs,
            )
