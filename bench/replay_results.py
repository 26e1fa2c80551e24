"""What bench.replay found, what is demanded of it, and both for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.machine import machine

RATE_RATIO_MIN, DELAY_RATIO_MAX, MEMORY_RATIO_MAX, LINEAR_MAX = 0.9, 1.5, 1.15, 1.2
EXPLAIN_S_MAX = 2.0


@dataclass(frozen=True, slots=True)
class Run:
    """One pass over one history. `cpu_us` is per event, `memory_mb` the peak."""

    who: str
    events: int
    per_s: float
    cpu_us: float
    memory_mb: float


@dataclass(frozen=True, slots=True)
class Beside:
    """Delays of live predictions, milliseconds, with a replay beside them or without."""

    replay: bool
    p50_ms: float
    p99_ms: float


@dataclass(slots=True)
class Found:
    """All that was measured."""

    runs: list[Run] = field(default_factory=list)
    delays: list[Beside] = field(default_factory=list)
    explained_s: list[float] = field(default_factory=list)

    def of(self, who: str, events: int, what: str) -> float:
        """The median of one figure."""
        return median(getattr(each, what) for each in self.runs if (each.who, each.events) == (who, events))

    def p99(self, *, replay: bool) -> float:
        """The median of the 99th percentiles."""
        return median(each.p99_ms for each in self.delays if each.replay is replay)

    @property
    def p99_ratio(self) -> float:
        """The median over the pairs, each measured in the same minute: what others do on the machine is in both."""
        alone, beside = ([each.p99_ms for each in self.delays if each.replay is replay] for replay in (False, True))
        return median(b / a for a, b in zip(alone, beside, strict=True))


def demands_of(found: Found, sizes: Sequence[int]) -> list[tuple[str, str, bool]]:
    """Each demand, its figure, and whether it is met."""
    middle, largest, smallest = sizes[len(sizes) // 2], sizes[-1], sizes[0]
    ratio = found.of("replay", middle, "per_s") / found.of("live", middle, "per_s")
    memory = found.of("replay", largest, "memory_mb") / found.of("replay", middle, "memory_mb")
    cost = found.of("replay", largest, "cpu_us") / found.of("replay", smallest, "cpu_us")
    delay = found.p99_ratio
    return [
        (
            f"replay of {middle:,} at least {RATE_RATIO_MIN}x the worker's rate",
            f"{ratio:.2f}x",
            ratio >= RATE_RATIO_MIN,
        ),
        (
            f"memory flat: {largest:,} at most {MEMORY_RATIO_MAX}x {middle:,}",
            f"{memory:.2f}x",
            memory <= MEMORY_RATIO_MAX,
        ),
        (
            f"linear: CPU per event of {largest:,} at most {LINEAR_MAX}x {smallest:,}",
            f"{cost:.2f}x",
            cost <= LINEAR_MAX,
        ),
        (f"live p99 beside a yielding replay at most {DELAY_RATIO_MAX}x", f"{delay:.2f}x", delay <= DELAY_RATIO_MAX),
        (
            f"explain on {largest:,} records under {EXPLAIN_S_MAX:.0f} s",
            f"{max(found.explained_s):.2f} s",
            max(found.explained_s) < EXPLAIN_S_MAX,
        ),
    ]


def table(found: Found, sizes: Sequence[int], demands: list[tuple[str, str, bool]]) -> str:
    """All figures and demands as Markdown."""
    lines = [machine(), "", "| events | who | events/s | CPU us/event | memory MB |", "|---|---|---|---|---|"]
    for size in sizes:
        for who in ("live", "replay"):
            figures = [found.of(who, size, each) for each in ("per_s", "cpu_us", "memory_mb")]
            lines.append(f"| {size:,} | {who} | {figures[0]:,.0f} | {figures[1]:.1f} | {figures[2]:.0f} |")
    lines += [
        "",
        f"live p99 alone {found.p99(replay=False):.1f} ms, beside a replay {found.p99(replay=True):.1f} ms",
        "",
    ]
    lines += [f"{'pass' if passed else 'FAIL'}: {demand}: {text}" for demand, text, passed in demands]
    return "\n".join(lines)
