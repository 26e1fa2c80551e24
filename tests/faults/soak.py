"""T25: faults of all sorts by chance for a long time, while one worker that is never ended is watched for growth."""

from __future__ import annotations

import random
import signal
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from pathlib import Path

from tests.faults.brokers import rss_mb
from tests.faults.plugin import Plan
from tests.faults.scene import Scene, scene
from tests.harness.fault_kafka import FaultKafka
from tests.harness.kafka_proxy import END_TXN
from tests.oracle.judge import Broken, Figures

EVERY_S = 10.0
WARM_SHARE = 0.25
SLOPE_MB_MAX = 1.0
LONG_S = 1_200
"""From this length on the slope means something; a shorter soak still takes its memory for the first time."""
SHORT_SHARE = 20
"""How much more a shorter one may show: a producer that is never let go shows more."""
BACKLOG_PER_S, BACKLOG_S, BACKLOGS = 6_000.0, 3.0, 3
"""A part of the warm-up: three times a backlog that is scored in batches as large as they get. What a worker needs for
those it keeps, 197 MB in all at full load; by chance the first such batch came after an outage in the 18th minute."""
MORE_MAX = 3
SETTLE_S = 120.0
RECORDS_MAX = 360_000
"""The oracle keeps all of them in memory."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a process held at a moment of the monotonic clock."""

    at_s: float
    rss_mb: float
    descriptors: int
    threads: int


def soaked(plan: Plan, kafka: FaultKafka, folder: Path, delivery: str) -> Figures:
    """Runs the soak and judges it."""
    chance = plan.chance("T25", delivery)
    rate = min(500.0, RECORDS_MAX / plan.counts.soak_s)
    with scene(plan, "T25", delivery, kafka, folder, poison_every=200, rate=rate) as here:
        _fill(here)
        samples, hits, recovered = _weather(here, plan, chance)
        kafka.way.heal()
        here.registry.up()
        here.moves(60)
        warm = samples[int(len(samples) * WARM_SHARE) :]
        _settle(here, warm)
        floor = floor_of(warm)
        slope_mb = 600 * slope_of(floor)
        grown = {
            "descriptors": _growth([each.descriptors for each in warm]),
            "threads": _growth([each.threads for each in warm]),
        }
        figures = here.finish(
            f"faults by chance for {plan.counts.soak_s / 60:.0f} min: " + ", ".join(sorted(hits)),
            hits.total(), int(plan.counts.soak_s / EVERY_S / 3), unit="faults",
            recovery_s=max(recovered), note=f"memory {slope_mb:+.2f} MB in 10 min after warm-up, "
            f"{_quarters(floor)} MB; descriptors {grown['descriptors']:+.0f}, threads {grown['threads']:+.0f}",
        )  # fmt: skip
        bound_mb = SLOPE_MB_MAX if plan.counts.soak_s >= LONG_S else SHORT_SHARE * SLOPE_MB_MAX
        findings = [f"T25: memory grows by {slope_mb:.2f} MB in 10 min"] if slope_mb > bound_mb else []
        findings += [f"T25: {what} grow by {more:.0f}" for what, more in grown.items() if more > MORE_MAX]
        if findings:
            raise Broken(findings, figures)
        return figures


def _fill(here: Scene) -> None:
    usual = here.load.rate
    for _ in range(BACKLOGS):
        for worker in here.fleet.workers.values():
            worker.signal(signal.SIGSTOP)
        here.load.rate = BACKLOG_PER_S
        time.sleep(BACKLOG_S)
        here.load.rate = usual
        for worker in here.fleet.workers.values():
            worker.signal(signal.SIGCONT)
        here.moves(60)
        print(f"T25 {here.load.number} records sent, {rss_mb(here.fleet.workers['a'].pid):.0f} MB")


def _weather(here: Scene, plan: Plan, chance: random.Random) -> tuple[list[Sample], Counter[str], list[float]]:
    """Returns samples of the worker `a`, the faults that hit, and how long each kept the stream beyond its pause."""
    hits: Counter[str] = Counter()
    recovered: list[float] = []
    samples: list[Sample] = []
    until_s = time.monotonic() + plan.counts.soak_s
    while time.monotonic() < until_s:
        name = chance.choice([*sorted(NEMESES), "quiet"])
        print(f"T25 {until_s - time.monotonic():.0f} s left: {name}")
        if name != "quiet":
            NEMESES[name](here, chance)
            hits[name] += 1
        ends_s = time.monotonic() + EVERY_S
        while time.monotonic() < ends_s:
            samples.append(_sample(here.fleet.workers["a"].pid))
            time.sleep(2.0)
        recovered.append(here.moves(60))
    return samples, hits, recovered


def _settle(here: Scene, samples: list[Sample]) -> None:
    """Waits for what the last faults have left on its way out: clients whose calls hang are let go of meanwhile."""
    pid, until_s = here.fleet.workers["a"].pid, time.monotonic() + SETTLE_S
    first = samples[: max(1, len(samples) // 4)]
    descriptors = statistics.median(each.descriptors for each in first) + MORE_MAX
    threads = statistics.median(each.threads for each in first) + MORE_MAX
    while time.monotonic() < until_s:
        samples.append(_sample(pid))
        if samples[-1].descriptors <= descriptors and samples[-1].threads <= threads:
            return
        time.sleep(2.0)


def _sample(pid: int) -> Sample:
    process = Path(f"/proc/{pid}")
    count = [sum(1 for _ in (process / part).iterdir()) for part in ("fd", "task")]
    return Sample(time.monotonic(), rss_mb(pid), *count)


def _kill(here: Scene, _: random.Random) -> None:
    here.fleet.kill("b")


def _sleep(here: Scene, chance: random.Random) -> None:
    worker = here.fleet.workers["b"]
    worker.signal(signal.SIGSTOP)
    time.sleep(chance.uniform(2.0, 12.0))
    worker.signal(signal.SIGCONT)


def _freeze(here: Scene, chance: random.Random) -> None:
    here.kafka.way.freeze(*chance.choice([(), ("up",), ("down",)]))
    time.sleep(chance.uniform(1.0, 5.0))
    here.kafka.way.heal()


def _deafen(here: Scene, chance: random.Random) -> None:
    here.kafka.way.deafen(chance.choice(["up", "down"]))
    time.sleep(chance.uniform(1.0, 5.0))
    here.kafka.way.heal()


def _cut(here: Scene, chance: random.Random) -> None:
    here.kafka.way.cut()
    time.sleep(chance.uniform(0.5, 4.0))
    here.kafka.way.heal()


def _slow(here: Scene, chance: random.Random) -> None:
    here.kafka.way.delay_s = chance.uniform(0.02, 0.1)
    time.sleep(5.0)
    here.kafka.way.heal()


def _late(here: Scene, chance: random.Random) -> None:
    held = here.kafka.way.hold(END_TXN)
    if held.taken.wait(5):
        time.sleep(chance.uniform(1.0, 6.0))
        here.kafka.way.release(held)
    else:
        here.kafka.way.let_go()


def _registry(here: Scene, chance: random.Random) -> None:
    here.registry.down()
    time.sleep(chance.uniform(1.0, 5.0))
    here.registry.up()


NEMESES: dict[str, Callable[[Scene, random.Random], None]] = {
    "a worker killed": _kill,
    "a worker asleep": _sleep,
    "the way frozen": _freeze,
    "the way deaf": _deafen,
    "the way cut": _cut,
    "the way slow": _slow,
    "EndTxn late": _late,
    "the registry down": _registry,
}


def floor_of(samples: Sequence[Sample]) -> list[tuple[float, float]]:
    """The least memory of each twentieth of the time, and when: what is in flight comes and goes on top of it."""
    since_s, took_s = samples[0].at_s, samples[-1].at_s - samples[0].at_s
    parts = groupby(samples, lambda each: int(20 * (each.at_s - since_s) / took_s))
    return [min((each.rss_mb, each.at_s) for each in part)[::-1] for _, part in parts]


def slope_of(points: Sequence[tuple[float, float]]) -> float:
    """Theil and Sen's: the median slope of all pairs, which a few minutes out of the way do not turn."""
    pairs = combinations(points, 2)
    return statistics.median((later - earlier) / (until - since) for (since, earlier), (until, later) in pairs)


def _quarters(points: Sequence[tuple[float, float]]) -> str:
    """The memory at the beginning, at each quarter and at the end: growth that ends looks otherwise than a leak."""
    last = len(points) - 1
    return ", ".join(f"{points[last * quarter // 4][1]:.0f}" for quarter in range(5))


def _growth(counts: Sequence[int]) -> float:
    """The last count over the median of the first quarter: what is left once all is quiet."""
    return counts[-1] - statistics.median(counts[: max(1, len(counts) // 4)])
