"""The figures as text: one table a question, the same on the terminal and in docs/performance.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.demands import Verdict
from bench.history import Day, compared
from bench.latency import Delay
from bench.load import GATHERED_PER_S
from bench.results import Results, Spread, delayed, drained, names, spread
from bench.steps import STEPS
from bench.throughput import Drain

Row = Sequence[str]
BACKLOG, DELAYS = "performance-backlog.png", "performance-delay.png"
"""The pictures beside the page."""


def report(results: Results, lines: Sequence[Verdict], about: dict[str, str], days: Sequence[Day] = ()) -> str:
    """The whole report in Markdown.

    Args:
        results: the figures.
        lines: the verdicts.
        about: machine, versions, date, command and so on, by name.
        days: what this and earlier runs have found, this one last.
    """
    parts = [
        "# Performance",
        "Written by `make bench-full`; do not edit. Medians of interleaved runs, (least to greatest) beside them.",
        _table(("", ""), ((name, text) for name, text in about.items())),
        "## What is demanded",
        _table(
            ("", "demand", "found"), (("pass" if line.passed else "FAIL", line.demand, line.figure) for line in lines)
        ),
        *_days(days, lines),
        f"## A backlog of {results.plan.drain_events:,} leads",
        _drains(results),
        f"![Events a second and CPU per event]({BACKLOG})",
        *_other_backlogs(results),
        _floor_of_filling(results),
        "## Delay at steady rates",
        _delays(results),
        f"![The delay's 99th percentile against the rate]({DELAYS})",
        "The floor is the load generator alone: its subscriber reads the events themselves. One process sends and "
        f"receives; the sender hands over events one by one, evenly spaced: each at once (`linger.ms` 0), from "
        f"{GATHERED_PER_S:,}/s on with `linger.ms` 1, since one request an event would choke the broker by itself.",
        "## The core's steps without Kafka",
        _steps(results),
        "## Who is measured",
        _table(
            ("", "delivery", "Kafka clients"),
            ((each.name, each.delivery, each.clients) for each in results.contenders),
        ),
        HOW,
    ]
    return "\n\n".join(parts) + "\n"


def _days(days: Sequence[Day], lines: Sequence[Verdict]) -> list[str]:
    if len(days) < 2:
        return []
    head, *rows = compared(days, lines)
    return [
        "## The same on other days",
        "Behind each figure what its repeats allow: of a ratio, the least of one side to the greatest of the other and "
        "the other way round. Absolute figures change with the machine's other work, by a factor of two and more.",
        _table(head, rows),
    ]


HOW = """## How it is measured

One broker serves the whole run, with the Java options of Kafka's own start scripts (1 GB of heap, G1), on the same
cores as everybody else. Each run has topics of its own (4 partitions), the same bytes in the same order, and a process
of its own. Repeats are interleaved (A B C A B C). Every run ends with an account: each event has exactly one
prediction, and every 97th offset's prediction is the same, field by field, from every contender that scores. A run that
does not add up ends the benchmark.

- Backlog: the contender warms up on 500 events and is stopped (SIGSTOP) while the backlog is sent. The clock runs from
  SIGCONT until the output topic's end offsets, looked at every 20 ms, say that the last prediction is there. CPU is
  user and system time of its whole process tree for that work, the last commit included; memory is the peak since its
  start (VmHWM).
- Delay: from just before the client's `produce` until the prediction is in a subscriber's hands, both in one process
  with one clock that is not the measured process.
- Peers are in bench/peers/; what the careful loop leaves out stands in its docstring."""


def _drains(results: Results) -> str:
    head = ("", "events/s", "CPU us/event", "memory MB", "mean batch", "CPU to first")
    rows = []
    first = drained(results, names(results.drains)[0], lambda run: run.cpu_us).middle
    for name in names(results.drains):
        cpu = drained(results, name, lambda run: run.cpu_us)
        rows.append(
            (
                name,
                _shown(drained(results, name, lambda run: run.per_s), ",.0f"),
                _shown(cpu, ".1f"),
                f"{drained(results, name, lambda run: run.memory_mb).greatest:.0f}",
                f"{drained(results, name, lambda run: run.rows_mean).middle:.0f}",
                f"{cpu.middle / first:.2f}x",
            )
        )
    return _table(head, rows)


def _other_backlogs(results: Results) -> list[str]:
    plan, found = results.plan, []
    if any(run.events < plan.drain_events for run in results.drains):
        found.append(f"Peers that take long have a backlog of {plan.slow_events:,}.")
    if results.login_drains:
        cpu, rate = (spread([figure(run) for run in results.login_drains]) for figure in (_cpu_us, _per_s))
        shown = f"{_shown(rate, ',.0f')} events/s, {_shown(cpu, '.1f')} us of CPU per event"
        outside = _shown(spread([run.cpu_us for run in results.bare_drains]), ".1f")
        found.append(
            f"A backlog of {plan.login_events:,} logins, {results.login_drains[0].contender}: {shown}; "
            f"{outside} us with a model that does nothing (bench/bare.py)."
        )
    if (run := results.long_drain) is not None:
        shown = f"{run.per_s:,.0f} events/s, {run.cpu_us:.1f} us of CPU per event, {run.memory_mb:.0f} MB"
        found.append(f"A backlog of {run.events:,} leads, {run.contender}: {shown}.")
    return found


def _per_s(run: Drain) -> float:
    return run.per_s


def _cpu_us(run: Drain) -> float:
    return run.cpu_us


def _floor_of_filling(results: Results) -> str:
    per_s = sorted(run.events / run.fill_s for run in results.drains)
    size = results.event_bytes["lead"]
    middle = per_s[len(per_s) // 2]
    return f"The load generator sends such a backlog at {middle:,.0f} events/s; a lead has {size:.0f} bytes."


def _delays(results: Results) -> str:
    head = ("", "events/s", "p50 ms", "p99 ms", "greatest ms", "sender late ms", "CPU us/event", "mean batch")
    leads = sorted(results.leads, key=lambda run: run.per_s)
    rows = [row for rate in dict.fromkeys(run.per_s for run in leads) for row in _at("leads", leads, rate)]
    rows += _at("logins", results.logins, results.plan.logins_per_s)
    for name, rate in dict.fromkeys((run.contender, run.per_s) for run in results.halves):
        rows += _at("half its limit:", results.halves, rate, name)
    for run in results.floors:
        rows += _at("", results.floors, run.per_s)
    return _table(head, rows)


def _at(label: str, runs: Sequence[Delay], per_s: int, only: str = "") -> list[tuple[str, ...]]:
    """A row for each contender that was measured at a rate."""
    return [
        (
            f"{label} {name}".strip(),
            f"{per_s:,}",
            _shown(delayed(runs, name, lambda run: run.p50_ms, per_s), ".1f"),
            _shown(delayed(runs, name, lambda run: run.p99_ms, per_s), ".1f"),
            f"{delayed(runs, name, lambda run: run.max_ms, per_s).middle:.0f}",
            f"{delayed(runs, name, lambda run: run.late_ms, per_s).middle:.0f}",
            f"{delayed(runs, name, lambda run: run.cpu_us, per_s).middle:.0f}" if label else "",
            f"{delayed(runs, name, lambda run: run.rows_mean, per_s).middle:.1f}" if label else "",
        )
        for name in names([run for run in runs if run.per_s == per_s])
        if only in ("", name)
    ]


def _steps(results: Results) -> str:
    head = ("microseconds per event", "rows", *STEPS, "all")
    return _table(
        head,
        (
            (each.kind, f"{each.rows:,}", *(f"{each.us[step]:.2f}" for step in STEPS), f"{each.total_us:.2f}")
            for each in results.steps
        ),
    )


def _shown(spread: Spread, form: str) -> str:
    if spread.least == spread.greatest:
        return f"{spread.middle:{form}}"
    return f"{spread.middle:{form}} ({spread.least:{form}} to {spread.greatest:{form}})"


def _table(head: Row, rows: Iterable[Row]) -> str:
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    shown = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    return "\n".join([shown[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *shown[1:]])
