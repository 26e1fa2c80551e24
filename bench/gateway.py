"""`python -m bench.gateway`: how soon a login has its answer through the gateway, and how many answers it gives.

Login to answer: from just before the client's `produce` of the login until the HTTP answer for that very event is there
whole, with a real broker, a real worker and a real gateway between; one process, not a measured one, sends and asks.
Cached GET: the gateway on one core, its clients on the others. Exit code 0 if every demand is met, else 1; with
--quick if every answer was the right one; 2 if a run could not be made.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop
from confluent_kafka import Producer

from bench.account import MiscountError
from bench.contenders import Batches, Contender, running, scorer
from bench.http_load import Connection
from bench.load import Load, fill, make_load
from bench.machine import BROKER, machine, prepare
from bench.measure import cpu_s, load_average, memory_peak_mb
from bench.stage import Stage, new_stage, silent
from scorer.core.errors import ScorerError
from scorer.edges.kafka.messages import librdkafka_log
from scorer.local.kafka import running_kafka
from scorer.local.ports import free_ports

CLIENTS = 50
WAIT_MS = 5_000
ANSWER_S_MAX = 30.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much is done: logins a second for so long after a warm-up, GETs for so long, so often."""

    per_s: int = 100
    paced_s: float = 12.0
    warm_s: float = 3.0
    get_s: float = 6.0
    runs: int = 5


QUICK = Size(paced_s=3.0, warm_s=1.0, get_s=1.5, runs=1)


@dataclass(frozen=True, slots=True)
class Figures:
    """One run; milliseconds, requests a second, microseconds of the gateway's CPU per GET, MB."""

    login_p50_ms: float
    login_p99_ms: float
    login_max_ms: float
    get_per_s: float
    get_p50_ms: float
    get_p99_ms: float
    get_cpu_us: float
    memory_mb: float


def main() -> int:
    """Runs the benchmark and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.gateway", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="a smoke of half a minute: no figure to rely on")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON too")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    prepare()
    size = QUICK if args.quick else Size()
    try:
        found = measure(size)
    except (MiscountError, RuntimeError, ScorerError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    if args.json:
        print(json.dumps([{name: getattr(each, name) for name in Figures.__slots__} for each in found]))
    passed = report(found)
    return 0 if args.quick or passed else 1


def measure(size: Size) -> list[Figures]:
    """All runs, on one broker.

    Raises:
        MiscountError: an answer was not the one for its event.
        RuntimeError, ScorerError: a run could not be made.
    """
    logins = make_load("login", round(size.per_s * (size.warm_s + size.paced_s)))
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as name,
        running_kafka(Path(name) / "kafka", jvm=BROKER) as server,
    ):
        return [_run(server.address, logins, Path(name), size, number) for number in range(1, size.runs + 1)]


def report(found: list[Figures]) -> bool:
    """Prints medians against demands. Returns whether all are met."""

    def median(name: str) -> float:
        return statistics.median(getattr(each, name) for each in found)

    demands = [
        ("login to answer, p50", median("login_p50_ms"), "<=", 25.0, "ms"),
        ("login to answer, p99", median("login_p99_ms"), "<=", 75.0, "ms"),
        ("cached GET", median("get_per_s"), ">=", 3_000.0, "/s on one core"),
        ("cached GET, p99", median("get_p99_ms"), "<=", 20.0, "ms"),
    ]
    print(f"medians of {len(found)} runs; {machine()}; load {load_average():.1f}; {CLIENTS} clients")
    met = []
    for label, value, sign, demand, unit in demands:
        met.append(value <= demand if sign == "<=" else value >= demand)
        print(f"{'pass' if met[-1] else 'FAIL'}  {label:<24} {value:>9,.1f} {unit} (demand {sign} {demand:,.0f})")
    cpu_us = median("get_cpu_us")
    print(f"      {cpu_us:.0f} us of CPU per GET, so {1e6 / cpu_us:,.0f}/s of a core that nobody else uses")
    print(f"      peak memory of the gateway {median('memory_mb'):.0f} MB")
    return all(met)


def _run(bootstrap: str, logins: Load, work: Path, size: Size, number: int) -> Figures:
    (port,) = free_ports(1)
    with new_stage(bootstrap, "login", work) as stage, running(scorer("eager"), stage), _gateway(stage, port) as pid:
        fill(bootstrap, stage.source, logins.warm)
        with _quiet(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            delays_ms = runner.run(_logins(stage, port, logins, size))
            with _alone(pid):
                before_s = cpu_s(pid)
                per_s, gets_ms = runner.run(_gets(stage, port, logins, size))
                cpu_us = (cpu_s(pid) - before_s) / len(gets_ms) * 1e6
        memory_mb = memory_peak_mb(pid)
    found = Figures(
        *(_quantile(delays_ms, q) for q in (0.5, 0.99, 1.0)),
        per_s,
        *(_quantile(gets_ms, q) for q in (0.5, 0.99)),
        cpu_us,
        memory_mb,
    )
    print(
        f"run {number}: login to answer p50 {found.login_p50_ms:.1f} p99 {found.login_p99_ms:.1f} max "
        f"{found.login_max_ms:.1f} ms; GET {per_s:,.0f}/s p50 {found.get_p50_ms:.1f} p99 {found.get_p99_ms:.1f} ms",
        file=sys.stderr,
        flush=True,
    )
    return found


async def _logins(stage: Stage, port: int, logins: Load, size: Size) -> list[float]:
    """Sends logins at a steady rate, asks for the answer to each. Returns the delays after the warm-up, ms."""
    options = {"bootstrap.servers": stage.bootstrap, "partitioner": "murmur2_random", "linger.ms": 0}
    producer = Producer(options, logger=librdkafka_log(silent))
    producer.list_topics(stage.source, timeout=10)
    idle: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(CLIENTS):
        idle.put_nowait(await Connection(port).open())
    path, delays_ms = _path(stage), [0.0] * len(logins.messages)
    await _warm(path, port, logins)

    async def login(at: int) -> None:
        key, value = logins.messages[at]
        connection = await idle.get()
        started_s = time.perf_counter()
        producer.produce(stage.source, value, key)
        producer.poll(0)
        reply = await connection.get(f"{path}/{key.decode()}?after={logins.ids[at]}&wait_ms={WAIT_MS}")
        delays_ms[at] = (time.perf_counter() - started_s) * 1000
        idle.put_nowait(connection)
        answer = json.loads(reply.body)
        if reply.status != 200 or answer["event_id"] != logins.ids[at] or answer["stale"]:
            raise MiscountError(f"login {at}: {reply.status}, event {answer.get('event_id')}")

    begin_s, tasks = time.perf_counter() + 0.2, []
    for at in range(len(logins.messages)):
        await asyncio.sleep(max(0.0, begin_s + at / size.per_s - time.perf_counter()))
        tasks.append(asyncio.create_task(login(at)))
    await asyncio.wait_for(asyncio.gather(*tasks), ANSWER_S_MAX)
    producer.flush(10)
    while not idle.empty():
        idle.get_nowait().close()
    return delays_ms[round(size.warm_s * size.per_s) :]


async def _warm(path: str, port: int, logins: Load) -> None:
    """Waits until what was sent first has its answers: imports, schemas and caches are none of the cost."""
    connection, deadline_s = await Connection(port).open(), time.perf_counter() + ANSWER_S_MAX
    for key, _ in logins.warm:
        while (await connection.get(f"{path}/{key.decode()}")).status != 200:
            if time.perf_counter() > deadline_s:
                raise RuntimeError("the first logins have no answers")
            await asyncio.sleep(0.05)
    connection.close()


async def _gets(stage: Stage, port: int, logins: Load, size: Size) -> tuple[float, list[float]]:
    """Asks for known customers as fast as answers come. Returns answers a second and how long each took, ms."""
    targets = [f"{_path(stage)}/{key.decode()}" for key, _ in logins.messages[:1_000]]
    connections = [await Connection(port).open() for _ in range(CLIENTS)]
    for target in targets:  # into the cache
        await connections[0].get(target)
    took_ms: list[float] = []
    until_s = time.perf_counter() + size.get_s

    async def ask(number: int, connection: Connection) -> None:
        at = number * 7
        while (started_s := time.perf_counter()) < until_s:
            reply = await connection.get(targets[at % len(targets)])
            took_ms.append((time.perf_counter() - started_s) * 1000)
            if reply.status != 200:
                raise MiscountError(f"GET answers {reply.status}")
            at += 1

    await asyncio.gather(*(ask(number, connection) for number, connection in enumerate(connections)))
    for connection in connections:
        connection.close()
    return len(took_ms) / size.get_s, took_ms


@contextmanager
def _gateway(stage: Stage, port: int) -> Iterator[int]:
    """A gateway for the stage; yields its process id."""
    settings = stage.folder / "gateway.toml"

    def command(_: Stage) -> list[str]:
        worker = (stage.folder / "scorer.toml").read_text(encoding="utf-8")
        own = f'[gateway]\nport = {port}\nrate_per_s = 0\nstore = "{stage.folder}/gateway.sqlite3"\n'
        settings.write_text(worker.replace(f"port = {stage.port}\n", "port = 0\n") + own, encoding="utf-8")
        return [sys.executable, "-m", "scorer", "gateway", "--config", str(settings)]

    contender = Contender(
        "gateway",
        "",
        "",
        command,
        ready='"stream": "gateway", "event": "stream.running"',
        running_batches=lambda _: Batches(0, 0),
    )
    with running(contender, stage) as started:
        yield started.pid


@contextmanager
def _alone(pid: int) -> Iterator[None]:
    """Gives the gateway one core of its own, where there are several."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), cores[:1])
        os.sched_setaffinity(0, cores[1:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


@contextmanager
def _quiet() -> Iterator[None]:
    """No collection pauses in the clock's own process."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def _path(stage: Stage) -> str:
    return f"/v1/{stage.target.rpartition('.')[2]}s"


def _quantile(values: list[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


if __name__ == "__main__":
    sys.exit(main())
