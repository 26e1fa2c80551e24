"""`python -m bench.growth`: how the cost of an event grows with partitions, event size, backlog and trees.

One dimension is varied at a time, each point a backlog drained by the worker at least once; points are interleaved, and
medians count. Prints the page, and writes docs/growth.md and docs/growth.png unless --quick is given.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np

from bench.contenders import scorer
from bench.load import Load, make_load
from bench.machine import BROKER, machine, prepare, versions
from bench.plots import plot_growth
from bench.stage import Shape
from bench.throughput import Drain, drain
from bench.trees import bundle_of_trees
from scorer.local.kafka import running_kafka

PAGE = Path(__file__).parents[1] / "docs" / "growth.md"
RUNS = 3
SIZE = "bytes of an event"
PICTURE = "growth.png"
EVENTS, BYTES_MAX = 200_000, 400_000_000
PACED = scorer("paced")


@dataclass(slots=True)
class Point:
    """One value of one dimension.

    Attributes:
        dimension, value: which.
        events: in the backlog.
        notes_bytes, shape: what differs from the others.
        filled: whether its partitions have held as many before.
        runs: what was measured.
    """

    dimension: str
    value: int
    events: int
    notes_bytes: int = 0
    shape: Shape = field(default_factory=Shape)
    filled: bool = False
    runs: list[Drain] = field(default_factory=list)

    @property
    def cpu_us(self) -> float:
        """CPU microseconds per event."""
        return median(run.cpu_us for run in self.runs)

    @property
    def per_s(self) -> float:
        """Events a second."""
        return median(run.per_s for run in self.runs)

    @property
    def memory_mb(self) -> float:
        """Peak of resident memory."""
        return max(run.memory_mb for run in self.runs)


def points(folder: Path, *, quick: bool) -> list[Point]:
    """What is measured."""
    events = 5_000 if quick else EVENTS
    partitions, sizes = ((1, 8), (0, 1000)) if quick else ((1, 4, 16, 64), (0, 400, 2_000, 9_900))
    backlogs = (5_000, 10_000) if quick else (100_000, 300_000, 1_000_000, 3_000_000)
    trees = (10, 100) if quick else (10, 40, 100, 300, 1000)
    return [
        *(Point("partitions", count, events, shape=Shape(partitions=count), filled=True) for count in partitions),
        *(Point(SIZE, 0, min(events, BYTES_MAX // (200 + size)), size) for size in sizes),
        *(Point("backlog", count, count) for count in backlogs),
        *(Point("trees", count, events, shape=Shape(bundle=bundle_of_trees(count, folder))) for count in trees),
    ]


def measure(found: Sequence[Point], runs: int, work: Path) -> None:
    """Fills the points in.

    Raises:
        MiscountError: a run did not add up.
        RuntimeError, ScorerError: a run could not be made.
    """
    loads: dict[int, Load] = {}
    with running_kafka(work / "kafka", jvm=BROKER, say=_say) as server:
        for number in range(1, runs + 1):
            for point in found:
                if point.notes_bytes not in loads:
                    wanted = max(each.events for each in found if each.notes_bytes == point.notes_bytes)
                    loads = {0: loads[0]} if loads else {}
                    loads[point.notes_bytes] = make_load("lead", min(wanted, EVENTS), point.notes_bytes)
                load = loads[point.notes_bytes]
                shape = Shape(point.shape.partitions, point.shape.bundle, load.schema)
                sent = load.repeated(point.events)
                run, _ = drain(PACED, server.address, sent.twice() if point.filled else sent, work, shape)
                point.runs.append(run)
                if point.dimension == SIZE:
                    point.value = round(load.bytes_mean)
                told = f"{point.value:,} {point.dimension}: {run.cpu_us:.1f} us, {run.per_s:,.0f}/s"
                _say(f"run {number} of {runs}: {told}")


@dataclass(frozen=True, slots=True)
class Line:
    """The straight line that fits the points of a dimension: cost = at_none + per_one x value.

    Attributes:
        at_none: CPU microseconds per event.
        per_one: the same for each one of the dimension.
        off: how far the worst point lies from the line, as a part of the point.
    """

    at_none: float
    per_one: float
    off: float


def line(values: Sequence[float], costs: Sequence[float]) -> Line:
    """Fits by least squares of the relative distance, as values and costs span orders of magnitude."""
    cost = np.asarray(costs)
    sides = np.column_stack([np.ones(len(cost)), np.asarray(values)]) / cost[:, None]
    found, *_ = np.linalg.lstsq(sides, np.ones(len(cost)), rcond=None)
    return Line(float(found[0]), float(found[1]), float(np.abs(sides @ found - 1).max()))


def page(found: Sequence[Point], runs: int) -> str:
    """The figures as Markdown."""
    lines = [
        "# How cost grows",
        "",
        f"Written by `python -m bench.growth` on {datetime.now(UTC):%Y-%m-%d}; do not edit. One worker drains a",
        f"backlog, at least once: {EVENTS:,} leads unless the table says otherwise, medians of {runs} runs.",
        f"Machine: {machine()}. Versions: {versions()}.",
        "",
        f"![CPU per event]({PICTURE})",
    ]
    for dimension, why in WHY.items():
        own = [each for each in found if each.dimension == dimension]
        lines += ["", f"| {dimension} | events | CPU us/event | events/s | memory MB |", "|---|---|---|---|---|"]
        for each in own:
            figures = f"{each.cpu_us:.1f} | {each.per_s:,.0f} | {each.memory_mb:.0f}"
            lines.append(f"| {each.value:,} | {each.events:,} | {figures} |")
        fit = line([each.value for each in own], [each.cpu_us for each in own])
        count, unit = UNITS[dimension]
        straight = (
            f"The line that fits best: {fit.at_none:.1f} us, {fit.per_one * count:+.2f} us for each {count:,} {unit}"
        )
        lines += ["", f"{straight}; the worst point lies {fit.off:.0%} off it.", "", why]
    return "\n".join(lines) + "\n"


UNITS = {
    "partitions": (10, "partitions"),
    SIZE: (1_000, "bytes"),
    "backlog": (1_000_000, "events in it"),
    "trees": (100, "trees"),
}
WHY = {
    "partitions": """\
Nearly flat. Each partition has held as many records before, which counts: with new partitions 23 of 35 runs at 64
cost 7.8 to 10.1 us an event, and the others 4.6 to 5.7; 12 runs of 12 at 16 and 64 cost 4.7 to 5.5 with partitions
that were filled once (2026-11-30, by hand, settings the same). The work is the broker's, which touches a new
partition's files for the first time: in a costly run its request threads took 2.2 s of CPU in place of 0.5, 1.8 of
them to clear pages. While it is that slow, librdkafka's producer looks at all its partitions again and again: the
client threads of the worker took 1.0 s in place of 0.2, two thirds of it the producer's, most of that in
`rd_kafka_toppar_producer_serve` and its locks. Requests are the same in both: some 180, of 1,100 records each.""",
    SIZE: """\
A straight line, 5 ns a byte: what is added is one text of the event. Runs of 10 kB differ, 44 to 56 us; on 2026-11-29,
beside a broker with less memory, they took 35.""",
    "backlog": """\
Flat, in cost and in memory.""",
    "trees": """\
A curve that flattens: a tree more costs a lead 23 ns between 10 and 40 trees, 18 and 9 up to 300, and 6 up to
1,000 (2026-11-30). From 40 on they are the shipped model's 40 trees again (bench/trees.py), which may be kinder to
a processor than 1,000 different ones; that was not measured.""",
}
"""What is to be said of each line."""


def main() -> int:
    """Runs the benchmark and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="a smoke: small, one run each, writes nothing")
    args = parser.parse_args()
    prepare()
    runs = 1 if args.quick else RUNS
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        found = points(Path(name), quick=args.quick)
        measure(found, runs, Path(name))
    text = page(found, runs)
    print(text)
    if not args.quick:
        PAGE.write_text(text, encoding="utf-8")
        plot_growth([(each.dimension, each.value, each.cpu_us) for each in found], PAGE.with_name(PICTURE))
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
