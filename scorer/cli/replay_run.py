"""Runs a replay: makes or finds its plan, opens its lane, and scores, here or in several processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from threading import Event
from typing import Any

from scorer.cli.lanes import Lane, begin_group, has_records, lane_of, open_lane
from scorer.cli.progress import progress
from scorer.cli.replay_plan import Plan, Wish, plan_of, understood, write_down
from scorer.cli.replay_view import plan_document
from scorer.cli.replay_wiring import Told, live_lag, measured_per_s, run
from scorer.cli.rollout_wiring import publish_entry, read_entries, whoami
from scorer.cli.settings import Settings, Stream
from scorer.cli.stopping import stopped_by_signals
from scorer.cli.wiring import open_registry
from scorer.cli.worker import SUPERVISED, supervised_by
from scorer.core.errors import ConfigError, TransientError
from scorer.core.ports import Report
from scorer.core.replays import REPLAY_DONE, noted
from scorer.edges.clock import SystemClock
from scorer.edges.kafka.groups import KafkaGroups
from scorer.edges.machine import end_with_parent
from scorer.services.patience import StoppedError
from scorer.services.replay import Pace

SHARE_BESIDE_LIVE = 0.2
"""How much of the time a replay that yields works: the broker, and often the processors, are live's as well."""
LOOK_S = 0.5
LEAVE_S_MAX = 40.0


@dataclass(frozen=True, slots=True)
class Job:
    """One `scorer replay`.

    Attributes:
        settings, stream: of what.
        lane: the lane's name.
        wish: what is meant.
        delivery, processes, rate, yield_to_live, dry_run: as the command's options.
        flags: settings of the command line, for further processes.
        joins: whether another process has begun it and speaks for it.
    """

    settings: Settings
    stream: Stream
    lane: str
    wish: Wish
    delivery: str
    processes: int
    rate: int
    yield_to_live: int
    dry_run: bool
    flags: Sequence[str]
    joins: bool

    @property
    def yields(self) -> bool:
        """Whether live comes first."""
        return self.yield_to_live >= 0

    @property
    def share(self) -> float:
        """How much of the time it may work."""
        return SHARE_BESIDE_LIVE if self.yields else 1.0


def run_job(job: Job, announce: Callable[[dict[str, Any]], None], report: Report) -> dict[str, Any]:
    """Runs it to its end. `announce` is told what it comes to before anything is scored.

    Returns:
        how it went, or would go.

    Raises:
        ConfigError, ContractError: it cannot be done like this.
        HaltError: it cannot go on; what is committed stays.
        TransientError: a neighbour does not answer.
        KeyboardInterrupt: told to stop.
    """
    if (parent := supervised_by()) is not None:
        end_with_parent(parent)
    settings, clock, stop = job.settings, SystemClock(), stopped_by_signals()
    lane = lane_of(settings, job.stream, job.lane, job.delivery)
    request = understood(job.wish, job.stream.from_topic)
    registry = open_registry(settings, report)
    entries = read_entries(settings, registry, stop, report)
    _unless(stop)
    plan = plan_of(settings, lane, request, entries, registry, report)
    document = plan_document(lane, plan)
    announce(document)
    if job.dry_run:
        return document | _expected(job, lane, plan, registry, stop, report)
    if not plan.begun and not plan.piece.records:
        raise ConfigError("no record is meant: nothing was begun")
    plan = write_down(settings, lane, request, plan, registry, stop, report)
    if plan_document(lane, plan)["ranges"] != document["ranges"]:
        document = plan_document(lane, plan)
        announce(document)
    open_lane(settings, lane, registry, report)
    filled = partial(has_records, settings, lane.stream.to_topic, report)
    done = noted(entries, REPLAY_DONE, lane.group) is not None
    topic = job.stream.from_topic
    left = begin_group(settings, lane.group, topic, plan.piece, report, filled=filled, done=done)
    told, began_ms = progress(clock, "offsets"), clock.ticks_ms()
    if left and job.processes > 1:
        _spread(job, lane, plan, told, stop)
    elif left:
        _score(job, lane, plan, (lambda *_: None) if job.joins else told, stop, report)
    seconds = (clock.ticks_ms() - began_ms) / 1000
    if not done and not job.joins:  # Kafka forgets its group's positions after some days
        ended = replace(plan.replay, kind=REPLAY_DONE, who=whoami(), said_ms=clock.now_ms(), number=-1)
        publish_entry(settings, ended, registry, report)
    rejected = has_records(settings, lane.stream.dead_letters, report)
    went = {"complete": True, "offsets_now": left, "seconds": seconds, "rate_per_s": left / max(seconds, 0.001)}
    return document | went | {"rejected": rejected}


def _score(job: Job, lane: Lane, plan: Plan, told: Told, stop: Event, report: Report) -> None:
    lag = live_lag(job.settings, job.stream, report) if job.yields else lambda: 0
    pace = Pace(job.rate, lag, job.yield_to_live, job.share)
    try:
        complete = run(job.settings, lane, plan.piece, plan.planner, pace, told, stop, report)
    except StoppedError:
        complete = False
    if not complete:
        raise KeyboardInterrupt


def _spread(job: Job, lane: Lane, plan: Plan, told: Told, stop: Event) -> None:
    """Scores in processes of their own, which share the group; those that die leave their partitions to the others.

    Raises:
        TransientError: all have ended before all was done.
        KeyboardInterrupt: told to stop.
    """
    groups = KafkaGroups(job.settings.kafka_for("admin"), lambda *_: None)
    slot = job.settings.transaction.slot
    own = ["--delivery", job.delivery, "--yield-to-live", str(job.yield_to_live), *job.flags]
    command = [sys.executable, "-m", "scorer", "replay", job.stream.name, "--lane", job.lane, *own]
    rates = [["--rate", str(max(1, job.rate // job.processes))] if job.rate else []] * job.processes
    started = [
        _start([*command, *rate, "--set", f"transaction.slot={slot}.{number}"]) for number, rate in enumerate(rates)
    ]
    try:
        while any(each.poll() is None for each in started) and not stop.wait(LOOK_S):
            try:
                left = plan.piece.left(groups.committed(lane.group, job.stream.from_topic))
            except TransientError:
                continue  # the processes wait for it, and say so
            told(plan.piece.offsets - left, plan.piece.offsets)
    finally:
        _end(started)
    _unless(stop)
    left = plan.piece.left(groups.committed(lane.group, job.stream.from_topic))
    if left:
        codes = sorted({each.returncode for each in started})
        raise TransientError(f"the processes have ended with {codes}, {left:,} offsets before the end")


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    # In a group of its own: Ctrl+C goes to us alone, and we tell it.
    return subprocess.Popen(command, process_group=0, env={**os.environ, SUPERVISED: str(os.getpid())})


def _end(started: Sequence[subprocess.Popen[bytes]]) -> None:
    for each in started:
        if each.poll() is None:
            each.terminate()
    for each in started:
        try:
            each.wait(LEAVE_S_MAX)
        except subprocess.TimeoutExpired:
            each.kill()
            each.wait()


def _expected(job: Job, lane: Lane, plan: Plan, registry: Any, stop: Event, report: Report) -> dict[str, Any]:
    found = measured_per_s(job.settings, lane, plan.piece, plan.planner, registry, stop, report)
    _unless(stop)
    rate = None if found is None else min(found * job.processes * job.share, job.rate or float("inf"))
    expected_s = None if rate is None else plan.piece.records / rate
    return {"dry_run": True, "rate_per_s": rate, "expected_s": expected_s}


def _unless(stop: Event) -> None:
    if stop.is_set():
        raise KeyboardInterrupt
