"""The figures as two pictures: events a second with their cost, and delay against rate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

from bench.results import Results, delayed, drained, names

mpl.use("Agg")
from matplotlib import pyplot as plt

WIDTH, ROW, HEIGHT = 8.0, 0.42, 4.2
DPI = 110
OURS, OTHERS = "#1b6ca8", "#b8c4ce"


def plot_backlog(results: Results, path: Path) -> None:
    """Bars: events a second and CPU per event of each contender, its runs' spread as whiskers. Writes a PNG."""
    shown = sorted(names(results.drains), key=lambda name: drained(results, name, lambda run: run.per_s).middle)
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 1.2 + ROW * len(shown)), sharey=True)
    figures = (("events/s", lambda run: run.per_s), ("CPU us per event", lambda run: run.cpu_us))
    for axis, (label, of) in zip(axes, figures, strict=True):
        spreads = [drained(results, name, of) for name in shown]
        middles = [each.middle for each in spreads]
        whiskers = [[m - each.least for m, each in zip(middles, spreads, strict=True)]]
        whiskers += [[each.greatest - m for m, each in zip(middles, spreads, strict=True)]]
        colours = [OURS if name.startswith("scorer") else OTHERS for name in shown]
        axis.barh(shown, middles, xerr=whiskers, color=colours, ecolor="#444444", capsize=2)
        axis.set_xlabel(label)
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=DPI)
    plt.close(figure)


def plot_delays(results: Results, path: Path) -> None:
    """Lines: the 99th percentile of each contender's delay against the rate, both logarithmic. Writes a PNG."""
    figure, axis = plt.subplots(figsize=(WIDTH, HEIGHT))
    for name in names(results.leads):
        rates = sorted({run.per_s for run in results.leads if run.contender == name})
        p99 = [delayed(results.leads, name, lambda run: run.p99_ms, rate).middle for rate in rates]
        wide = 2.2 if name.startswith("scorer") else 1.2
        axis.plot(rates, p99, marker="o", label=name, linewidth=wide)
    axis.set(xscale="log", yscale="log", xlabel="leads/s", ylabel="p99 of the delay, ms")
    axis.set_xticks(rates := sorted({run.per_s for run in results.leads}), [f"{each:,}" for each in rates], minor=False)
    axis.minorticks_off()
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize="small")
    figure.tight_layout()
    figure.savefig(path, dpi=DPI)
    plt.close(figure)


def plot_growth(points: Sequence[tuple[str, int, float]], path: Path) -> None:
    """One panel for each dimension: CPU per event against its value. Writes a PNG.

    Args:
        points: dimension, value, CPU microseconds per event.
        path: the picture.
    """
    dimensions = list(dict.fromkeys(dimension for dimension, _, _ in points))
    figure, axes = plt.subplots(2, 2, figsize=(WIDTH, 1.5 * HEIGHT))
    for axis, dimension in zip(axes.flat, dimensions, strict=True):
        values, costs = zip(*((value, cost) for each, value, cost in points if each == dimension), strict=True)
        axis.plot(values, costs, marker="o", color=OURS)
        axis.set(xscale="log", xlabel=dimension, ylabel="CPU us per event", ylim=(0, None))
        axis.set_xticks(values, [f"{each:,}" for each in values], fontsize="small")
        axis.minorticks_off()
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=DPI)
    plt.close(figure)
