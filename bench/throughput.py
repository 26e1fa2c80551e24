"""Draining a backlog: events a second, CPU time per event and memory.

The contender is started on empty topics, scores a few events to warm up, and is stopped (SIGSTOP) while the backlog is
sent. Then it goes on, and an outside look at the output topic says when the last prediction is there. So nothing of its
start is in the figures, and the load generator does not run while it works.
"""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from pathlib import Path

from bench.account import Sample, count_copies, count_predictions, decoder
from bench.contenders import Contender, running
from bench.load import Load, fill
from bench.measure import cpu_s, memory_peak_mb
from bench.readers import Progress, read_all
from bench.stage import Shape, Stage, new_stage

LOOK_EVERY_S = 0.02
DRAIN_S_MAX = 300.0
SETTLE_S = 0.7
"""Until the last offsets are committed; belongs to the work."""


@dataclass(frozen=True, slots=True)
class Drain:
    """One run of one contender.

    Attributes:
        contender: its name.
        events: in the backlog.
        took_s: from its release until the last prediction was in the output topic.
        cpu_s: CPU time of its process tree for the backlog, commits included.
        memory_mb: its peak of resident memory since its start.
        rows_mean: mean size of its batches.
        fill_s: how long the load generator took to send the backlog.
    """

    contender: str
    events: int
    took_s: float
    cpu_s: float
    memory_mb: float
    rows_mean: float
    fill_s: float

    @property
    def per_s(self) -> float:
        """Events a second."""
        return self.events / self.took_s

    @property
    def cpu_us(self) -> float:
        """CPU microseconds per event."""
        return self.cpu_s / self.events * 1e6


def drain(
    contender: Contender,
    bootstrap: str,
    load: Load,
    work: Path,
    shape: Shape = Shape(),  # noqa: B008 -- frozen
) -> tuple[Drain, Sample]:
    """Runs one contender once; the account of its output is part of it.

    Raises:
        MiscountError: not every event came out exactly once.
        RuntimeError: it did not start, stalled, or did not end.
    """
    events = len(load.messages)
    with new_stage(bootstrap, load.kind, work, shape) as stage:
        group = f"{stage.group}.{stage.kind}" if contender.transactions else None
        progress = Progress(bootstrap, stage.source, stage.target, group, stage.partitions)
        with running(contender, stage) as worker:
            fill(bootstrap, stage.source, load.warm)
            progress.wait(len(load.warm), LOOK_EVERY_S, DRAIN_S_MAX)
            time.sleep(SETTLE_S)
            worker.send(signal.SIGSTOP)
            try:
                fill_s = fill(bootstrap, stage.source, load.messages)
                before_s = cpu_s(worker.pid)
            finally:
                started_s = time.monotonic()
                worker.send(signal.SIGCONT)
            ended_s = progress.wait(len(load.warm) + events, LOOK_EVERY_S, DRAIN_S_MAX)
            time.sleep(SETTLE_S)
            used_s, memory_mb = cpu_s(worker.pid) - before_s, memory_peak_mb(worker.pid)
        sample = _account(stage, len(load.warm) + events, contender)
    took_s, rows_mean = ended_s - started_s, worker.batches.rows_mean
    return Drain(contender.name, events, took_s, used_s, memory_mb, rows_mean, fill_s), sample


def _account(stage: Stage, expected: int, contender: Contender) -> Sample:
    values = read_all(stage.bootstrap, stage.target, expected, stage.partitions)
    if contender.scores:
        return count_predictions(values, expected, decoder(stage.schema(stage.target)[1]))
    count_copies(values, expected)
    return {}
