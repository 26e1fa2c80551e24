"""The delay from send to a subscriber's receipt, at a steady rate.

One process, not the measured one, both sends and receives, so there is one clock (monotonic) and no rounding: an event
is on its way from just before the client's `produce` until the subscriber has its prediction in hand.
"""

from __future__ import annotations

import gc
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np

from bench.account import MiscountError, decoder
from bench.contenders import Contender, Running, running
from bench.load import Load, fill, pace
from bench.measure import cpu_s
from bench.readers import Progress, receive
from bench.stage import Stage, new_stage

LAST_S_MAX = 20.0
LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class Delay:
    """One run at one rate.

    Attributes:
        contender: its name; "floor" where the subscriber reads the events themselves.
        per_s: events a second.
        events: how many were measured, after those dropped at the start.
        p50_ms, p99_ms, max_ms: delays.
        late_ms: how late the sender itself was at worst.
        cpu_us: CPU microseconds per event of the contender's process tree.
        rows_mean: mean size of its batches.
    """

    contender: str
    per_s: int
    events: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    late_ms: float
    cpu_us: float
    rows_mean: float


def delay(
    contender: Contender | None, bootstrap: str, load: Load, work: Path, *, per_s: int, paced_s: float, dropped_s: float
) -> Delay:
    """Runs one contender once, or none for the floor.

    Raises:
        MiscountError: not every event came out exactly once.
        RuntimeError: it did not start or did not end.
    """
    count = round(per_s * paced_s)
    with new_stage(bootstrap, load.kind, work) as stage:
        target = stage.target if contender else stage.source
        content = target if contender is None or contender.scores else stage.source
        with running(contender, stage) if contender else nullcontext() as worker:
            fill(bootstrap, stage.source, load.warm)
            Progress(bootstrap, stage.source, target).wait(len(load.warm), LOOK_EVERY_S, LAST_S_MAX)
            sent, received, late_s, cpu_us = _exchange(stage, target, load, count=count, per_s=per_s, worker=worker)
        ids, decode = load.ids[:count], decoder(stage.schema(content)[1])
        there = Progress(bootstrap, stage.source, target).count()
        if there != len(load.warm) + count:
            raise MiscountError(f"{there} predictions of {len(load.warm) + count} events")
    arrived = _arrivals([(at_s, decode(value)) for at_s, value in received[len(load.warm) :]], ids)
    delays_ms = (np.array([arrived[each] for each in ids]) - np.array(sent)) * 1000
    delays_ms = delays_ms[round(dropped_s * per_s) :]
    p50, p99 = (float(np.percentile(delays_ms, q, method="inverted_cdf")) for q in (50, 99))
    rows_mean = worker.batches.rows_mean if worker else 1.0
    name = contender.name if contender else "floor"
    return Delay(name, per_s, len(delays_ms), p50, p99, float(delays_ms.max()), late_s * 1000, cpu_us, rows_mean)


def _exchange(
    stage: Stage, target: str, load: Load, *, count: int, per_s: int, worker: Running | None
) -> tuple[list[float], list[tuple[float, bytes]], float, float]:
    """Sends and receives. Returns send times, receipts, the sender's worst lateness (s) and CPU per event (us)."""
    received: list[tuple[float, bytes]] = []
    stop = Event()
    expected = len(load.warm) + count
    reader = Thread(target=receive, args=(stage.bootstrap, target, expected, stop, received), name="subscriber")
    gc.collect()
    gc.freeze()
    gc.disable()  # a collection over the whole load would be a pause in the clock's own process
    reader.start()
    try:
        deadline_s = time.monotonic() + LAST_S_MAX
        while len(received) < len(load.warm) and time.monotonic() < deadline_s:
            time.sleep(LOOK_EVERY_S)
        before_s = cpu_s(worker.pid) if worker else 0.0
        sent, late_s = pace(stage.bootstrap, stage.source, load.messages[:count], per_s, stop)
        reader.join(LAST_S_MAX)
        used_s = cpu_s(worker.pid) - before_s if worker else 0.0
    finally:
        stop.set()
        reader.join()
        gc.enable()
        gc.unfreeze()
    return sent, received, late_s, used_s / count * 1e6


def _arrivals(received: list[tuple[float, Any]], ids: list[str]) -> dict[str, float]:
    arrived = {record["event_id"]: at_s for at_s, record in received}
    if len(received) != len(ids) or arrived.keys() != set(ids):
        raise MiscountError(f"{len(received)} predictions, {len(arrived)} different ones, of {len(ids)} events")
    return arrived
