"""How much a run of the benchmark does."""

from __future__ import annotations

from dataclasses import dataclass

SEED = 7
PARTITIONS = 4
FULL_COMPILER = "-XX:TieredStopAtLevel=4"
"""scorer.local starts its servers with Java's quick compiler alone, for short lives. Here the broker runs for minutes:
at 1,000 events/s the full one brings it from 700 us of CPU an event to 400, which is what a real broker has."""
WARM_EVENTS = 500
"""Sent before each measurement, so that imports, schemas, connections and caches are none of its cost."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes and repeats.

    Attributes:
        drain_events: leads in the backlog that each contender drains.
        drain_runs: interleaved runs of each contender.
        paced_s: how long events are sent at a steady rate, seconds.
        dropped_s: how much of that is dropped at the start, seconds.
        paced_runs: interleaved runs of each contender.
        broker_warm_s: how long the broker is first given the leads' rate, until its compiler is done, seconds.
        leads_per_s, logins_per_s: the rates.
        step_s: how long each batch size of the core's steps is measured, seconds.
    """

    drain_events: int = 200_000
    drain_runs: int = 5
    paced_s: float = 17.0
    dropped_s: float = 3.0
    paced_runs: int = 5
    broker_warm_s: float = 15.0
    leads_per_s: int = 1000
    logins_per_s: int = 200
    step_s: float = 1.5


QUICK = Plan(drain_events=20_000, drain_runs=1, paced_s=3.0, dropped_s=0.5, paced_runs=1, broker_warm_s=0.0, step_s=0.2)
"""A smoke of about a minute: shows that everything runs and counts, and no figure to rely on."""
