"""`python -m bench.replay`: what a replay costs beside the live worker on the same backlog, and what it costs live.

One history of events on a real Kafka is scored by the live worker and then by `scorer replay`, both exactly once, for
each size in turn. Both rates are between 5 and 100 % of the offsets committed, so nothing of a start is in them; CPU is
of the whole process tree for that work, memory the peak since its start. Then events are sent to the same stream at a
steady rate, with and without a replay that yields (`--yield-to-live`), interleaved, and the delays of live predictions
are compared. Last, `scorer explain` is timed for single predictions of the largest history. Medians of the runs.

Exit code 1 if a demand is not met (with --quick: only if not all was scored).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from threading import Event, Thread

import numpy as np

from bench.account import decoder
from bench.contenders import Contender, running, scorer
from bench.load import Load, fill, make_load, pace
from bench.machine import BROKER, machine, prepare
from bench.measure import cpu_s, memory_peak_mb
from bench.plan import PARTITIONS
from bench.readers import Progress, receive
from bench.replay_results import Beside, Found, Run, demands_of, table
from bench.stage import Stage, new_stage, silent
from scorer.edges.kafka.groups import KafkaGroups
from scorer.local import process
from scorer.local.kafka import running_kafka

LANE = "bench"
SIZES = (100_000, 1_000_000, 2_000_000)
FIRST_SHARE = 0.05
LOOK_S = 0.05
WORK_S_MAX = 600.0
LAG = 1_000
"""Records behind at which the replay yields: above what comes between two commits of live."""
POOL = 100_000
"""Different events; larger histories repeat them, since ids come from positions."""
HISTORY = scorer("paced", "exactly_once")
LIVE = scorer("eager")


def main() -> int:
    """Runs the benchmark and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.replay", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="a smoke of a minute")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    args = parser.parse_args()
    sizes, runs, pairs, paced_s = ((20_000,), 1, 1, 4.0) if args.quick else (SIZES, 3, 7, 12.0)
    prepare()
    found = Found()
    load = make_load("lead", min(POOL, max(sizes)))
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as name,
        running_kafka(Path(name) / "kafka", jvm=BROKER, say=_say) as server,
    ):
        for size in sizes:
            for number in range(1, runs + 1):
                last = size == sizes[-1] and number == runs
                with new_stage(server.address, "lead", Path(name)) as stage:
                    _pass(found, stage, load, size)
                    if last:
                        found.explained_s += _explained(stage, size)
                        _beside(found, stage, load, pairs, paced_s)
    demands = demands_of(found, sizes)
    if args.json:
        print(json.dumps({"machine": machine(), **asdict(found), "demands": demands}, indent=2))
    else:
        print(table(found, sizes, demands))
    return 0 if args.quick or all(passed for _, _, passed in demands) else 1


def _pass(found: Found, stage: Stage, load: Load, size: int) -> None:
    """Sends a history, and has it scored live and once more."""
    for at in range(0, size, len(load.messages)):
        fill(stage.bootstrap, stage.source, load.messages[: size - at])
    group = f"{stage.group}.lead"
    with _timed(HISTORY, stage) as live:
        found.runs.append(_measured("live", live, stage, group, size))
        _say(_told(found.runs[-1]))
    with _timed(_replay(stage, []), stage) as replay:
        found.runs.append(_measured("replay", replay, stage, f"{group}.replay.{LANE}", size))
        _say(_told(found.runs[-1]))


@contextmanager
def _timed(contender: Contender, stage: Stage) -> Iterator[process.Started]:
    """A process of ours that ends by itself, or when it is told to."""
    log = stage.folder / "contender.log"
    started = process.launch(contender.command(stage), log, keep=False)
    try:
        yield started
    except BaseException:
        _say(process.last_lines(log))
        raise
    finally:
        process.stop(started, 30.0)


def _replay(stage: Stage, more: Sequence[str]) -> Contender:
    lane = f"{LANE}{len(more)}{time.monotonic_ns()}" if more else LANE
    command = [sys.executable, "-m", "scorer", "replay", "lead", "--lane", lane, "--since", "2000-01-01"]
    return Contender(
        "replay",
        "",
        "",
        lambda _: [*command, "--config", str(stage.folder / "scorer.toml"), "--set", "metrics.port=-1", *more],
    )


def _measured(who: str, started: process.Started, stage: Stage, group: str, size: int) -> Run:
    """The figures of a pass, from its first twentieth to its end."""
    done = _done(stage, group)
    _until(lambda: done() >= size * FIRST_SHARE)
    first, began_s, before_s = done(), time.monotonic(), cpu_s(started.mark.pid)
    used_s = memory_mb = 0.0
    while (now := done()) < size:
        if time.monotonic() - began_s > WORK_S_MAX:
            raise RuntimeError(f"{who}: {now} of {size} records after {WORK_S_MAX:.0f} s")
        used_s, memory_mb = cpu_s(started.mark.pid) - before_s, memory_peak_mb(started.mark.pid)
        time.sleep(LOOK_S)
    took_s = time.monotonic() - began_s
    return Run(who, size, (size - first) / took_s, used_s / (size - first) * 1e6, memory_mb)


def _done(stage: Stage, group: str) -> Callable[[], int]:
    """How many records a group has committed."""
    groups = KafkaGroups({"bootstrap.servers": stage.bootstrap}, silent)
    return lambda: sum(groups.committed(group, stage.source).values())


def _until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WORK_S_MAX
    while not holds():
        if time.monotonic() > deadline_s:
            raise RuntimeError("nothing is scored")
        time.sleep(LOOK_S)


def _explained(stage: Stage, size: int) -> Iterator[float]:
    """Seconds that `scorer explain` takes from its start to its end, for predictions here and there."""
    each = size // PARTITIONS
    for partition, share in enumerate((0.0, 0.3, 0.6, 0.95)):
        place = f"{partition % PARTITIONS}/{int(each * share)}"
        command = [sys.executable, "-m", "scorer", "explain", f"lead/1/{stage.source}/{place}", "--json"]
        began_s = time.monotonic()
        ended = subprocess.run(
            [*command, "--config", str(stage.folder / "scorer.toml")], capture_output=True, text=True, check=False
        )
        took_s = time.monotonic() - began_s
        if ended.returncode or json.loads(ended.stdout)["verdict"]["level"] != "bit_equal":
            raise RuntimeError(f"{place} is not explained: {ended.stdout} {ended.stderr}")
        _say(f"explain {place}: {took_s:.2f} s")
        yield took_s


def _beside(found: Found, stage: Stage, load: Load, pairs: int, paced_s: float) -> None:
    """Live events at a steady rate on the stream whose history is there, with and without a replay of it."""
    per_s = 500
    with running(LIVE, stage):
        _delays(stage, load, 1_000, per_s, replaying=False)  # warms everybody up
        for number in range(pairs * 2):
            replaying = number % 2 == 1
            flags = ["--yield-to-live", str(LAG)]
            with _timed(_replay(stage, flags), stage) if replaying else nullcontext():
                if replaying:
                    time.sleep(6.0)  # until it scores
                found.delays.append(_delays(stage, load, round(per_s * paced_s), per_s, replaying=replaying))
            _say(f"{'beside a replay' if replaying else 'alone'}: p99 {found.delays[-1].p99_ms:.1f} ms")


def _delays(stage: Stage, load: Load, count: int, per_s: int, *, replaying: bool) -> Beside:
    progress = Progress(stage.bootstrap, stage.source, stage.target)
    starts, stop = progress.ends(), Event()
    received: list[tuple[float, bytes]] = []
    reader = Thread(
        target=receive, args=(stage.bootstrap, stage.target, count, stop, received), kwargs={"starts": starts}
    )
    reader.start()
    time.sleep(1.0)
    sent, _ = pace(stage.bootstrap, stage.source, load.messages[:count], per_s, stop)
    reader.join(30.0)
    stop.set()
    reader.join()
    if len(received) != count:
        raise RuntimeError(f"{len(received)} predictions of {count} events")
    decode = decoder(stage.schema(stage.target)[1])
    arrived = {decode(value)["event_id"]: at_s for at_s, value in received}
    delays_ms = (np.array([arrived[each] for each in load.ids[:count]]) - np.array(sent)) * 1000
    p50, p99 = (float(np.percentile(delays_ms, q, method="inverted_cdf")) for q in (50, 99))
    return Beside(replaying, p50, p99)


def _told(run: Run) -> str:
    return f"{run.who} of {run.events:,}: {run.per_s:,.0f}/s, {run.cpu_us:.1f} us/event, {run.memory_mb:.0f} MB"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
