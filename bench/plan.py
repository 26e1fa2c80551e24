"""How much a run of the benchmark does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SEED = 7
PARTITIONS = 4
WARM_EVENTS = 500
"""Sent before each measurement, so that imports, schemas, connections and caches are none of its cost."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes and repeats. Runs are interleaved.

    Attributes:
        drain_events: leads in the backlog that each contender drains.
        drain_runs: how often.
        paced_s: how long events are sent at a steady rate, seconds.
        dropped_s: how much of that is dropped at the start, seconds.
        paced_runs: how often.
        broker_warm_s: how long three contenders each first give the broker the highest of the leads' rates, until its
            compiler is done, seconds.
        leads_per_s: the rates, each with those it is measured for by name.
        logins_per_s: the rate.
        step_s: how long each batch size of the core's steps is measured, seconds.
        peers: whether other frameworks are measured.
        slow_events: leads in the backlog of peers that take long.
        peer_runs: how often peers are measured at a steady rate.
        peers_per_s: rates for them and us.
        login_events: logins in a backlog; none if 0.
        long_events: leads in the backlog by which memory is measured; none if 0.
        half_per_s_max: the greatest rate at half of one's own limit; above it the load generator itself is late.
    """

    drain_events: int = 200_000
    drain_runs: int = 5
    paced_s: float = 17.0
    dropped_s: float = 3.0
    paced_runs: int = 5
    broker_warm_s: float = 15.0
    leads_per_s: Sequence[tuple[int, Sequence[str]]] = ((1000, ("eager", "careful")),)
    logins_per_s: int = 200
    step_s: float = 1.5
    peers: bool = False
    slow_events: int = 60_000
    peer_runs: int = 0
    peers_per_s: Sequence[int] = ()
    login_events: int = 0
    long_events: int = 0
    half_per_s_max: int = 0


QUICK = Plan(drain_events=20_000, drain_runs=1, paced_s=3.0, dropped_s=0.5, paced_runs=1, broker_warm_s=0.0, step_s=0.2)
"""A smoke of about a minute: shows that everything runs and counts, and no figure to rely on."""

FULL = Plan(
    drain_events=400_000,
    paced_s=13.0,
    leads_per_s=(
        (1000, ("eager", "paced", "careful", "raw")),
        (3000, ("eager", "paced", "careful")),
        (6000, ("eager", "paced", "careful")),
    ),
    peers=True,
    peer_runs=2,
    peers_per_s=(1000, 3000, 10_000),
    login_events=50_000,
    long_events=3_000_000,
    half_per_s_max=15_000,
)
"""Everything, the other frameworks included, in less than an hour. Our worker takes 0.9 s for a backlog of 200,000,
which is short: five pairs of exactly and at least once, in turn, differed by 0.85x to 1.03x."""
