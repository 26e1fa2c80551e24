"""`python -m bench.guard`: the core's CPU time per event against a yardstick in the same run, held against what is
written down here. So a change that makes the hot path dearer is seen on any machine, however fast or busy it is.

The yardstick is a loop of plain Python, numpy and hashing over the same events, which nobody may make faster. Both take
turns in slices of some milliseconds; the median of the slices' ratios counts, and what is too much is measured again
before it is said. Exit code 1 if a ratio is more than 25 % above what is written.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from bench.load import make_load
from bench.steps import stepper

WRITTEN = {("lead", 1000): 4.4, ("lead", 32): 26.0, ("login", 1000): 15.5}
"""The core's CPU time per event in yardsticks, by kind of event and rows of a batch. Whoever changes one says why in
docs/why.md."""
RATIO_MAX = 1.25
SLICES, WARM = 41, 3
SLICE_EVENTS = 2000


@dataclass(frozen=True, slots=True)
class Found:
    """One line: how many yardsticks an event costs now, and by what is written."""

    kind: str
    rows: int
    now: float
    written: float

    @property
    def passed(self) -> bool:
        """Whether it is not much dearer than written."""
        return self.now <= RATIO_MAX * self.written

    def __str__(self) -> str:
        verdict, times = "pass" if self.passed else "FAIL", self.now / self.written
        return f"{verdict}: {self.kind}, {self.rows:,} rows: {self.now:.2f} yardsticks, {times:.2f}x of what is written"


def measured() -> list[Found]:
    """Every line."""
    found = []
    for (kind, rows), written in WRITTEN.items():
        line = Found(kind, rows, _ratio(kind, rows), written)
        found.append(line if line.passed else replace(line, now=min(line.now, _ratio(kind, rows))))
    return found


def _ratio(kind: str, rows: int) -> float:
    load = make_load(kind, 20_000)
    run, values = stepper(load, rows), [value for _, value in load.messages]
    found = []
    turns = max(1, SLICE_EVENTS // rows)
    for number in range(SLICES):
        began_s = time.process_time()
        for turn in range(turns):
            run(number * turns + turn)
        between_s = time.process_time()
        yardstick(values[:SLICE_EVENTS])
        ended_s = time.process_time()
        found.append((between_s - began_s) / (turns * rows) / ((ended_s - between_s) / SLICE_EVENTS))
    return median(found[WARM:])


def yardstick(values: Sequence[bytes]) -> float:
    """A fixed amount of work per value, of the kinds of which scoring is made."""
    total = 0.0
    for at, value in enumerate(values):
        digest = hashlib.blake2b(value, digest_size=8).hexdigest()
        fields = {"id": f"lead/1/events/{at % 4}/{at}", "digest": digest, "length": len(value)}
        total += len(fields["id"]) + int.from_bytes(value[:4], "big") % 7
    numbers = np.arange(len(values) * 8, dtype=np.float32).reshape(len(values), 8)
    return total + float(np.sqrt(numbers * 1.5 + 2.0).sum())


def main() -> int:
    """Prints each line and returns the exit code."""
    lines = measured()
    print(*lines, sep="\n")
    return 0 if all(line.passed for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
