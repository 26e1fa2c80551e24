"""How much of each fault there is, in one place: `smoke` for every run of the tests, `faults` for `make faults`,
`qualify` for the published table. Smoke runs on whatever machine, beside whatever else: its bounds on time are wide.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts by test; seconds where the name says so. `tries` is how often a mutant may escape.

    `gap_s_max` is for how long a partition may give nothing while workers are killed or come and go.
    """

    rate: float
    kills: int
    point_kills: int
    zombies: int
    abort_s: float
    storm_s: float
    held: int
    poison_kills: int
    outage_s: float
    broker_kills: int
    soak_s: float
    fuzzed: int
    gap_s_max: float = 30.0
    tries: int = 3


LEVELS = {
    "smoke": Counts(1_000, 2, 1, 1, 10, 40, 2, 1, 6, 1, 40, 20_000, 90.0),
    "faults": Counts(1_000, 6, 5, 1, 12, 20, 10, 1, 60, 2, 300, 1_000_000),
    "qualify": Counts(1_000, 30, 20, 3, 120, 120, 50, 10, 60, 5, 1_800, 1_000_000),
}
MUTANTS = replace(LEVELS["smoke"], kills=4)
"""What a known bug is put through."""
