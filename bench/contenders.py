"""Who is measured, and how each is started: our worker by its real command line, peers as scripts of their own.

To add a peer: a program that takes the stage's topics and group, prints a line when its group has its assignment, and
ends on SIGTERM; and a Contender here that starts it.
"""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

from bench.stage import Stage
from scorer.local import process

PEERS = Path(__file__).parent / "peers"
READY_S_MAX = 60.0
GRACE_S = 30.0


@dataclass(frozen=True, slots=True)
class Batches:
    """How many batches a contender has had, and how many events in them."""

    batches: int
    events: int

    @property
    def rows_mean(self) -> float:
        """Mean size of a batch."""
        return self.events / self.batches if self.batches else 0.0


@dataclass(frozen=True, slots=True)
class Contender:
    """Somebody who reads events and publishes predictions.

    Attributes:
        name: in the table.
        delivery: its guarantee, in words.
        clients: its Kafka settings that matter, in words.
        command: the program with its arguments for a stage; may write settings into the stage's folder.
        ready: what its log says once its group has its assignment.
        transactions: whether it publishes in transactions.
        running_batches: asks it while it runs; None if it prints them at its end.
    """

    name: str
    delivery: str
    clients: str
    command: Callable[[Stage], list[str]]
    ready: str = "ready"
    transactions: bool = False
    running_batches: Callable[[Stage], Batches] | None = None


@dataclass(slots=True)
class Running:
    """A contender's process."""

    contender: Contender
    started: process.Started
    log: Path
    stage: Stage
    batches: Batches = field(default=Batches(0, 0))

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.started.mark.pid

    def wait_ready(self) -> None:
        """Waits for its assignment.

        Raises:
            RuntimeError: it ended or took too long; the message has its log's last lines.
        """
        deadline_s = time.monotonic() + READY_S_MAX
        while self.contender.ready not in self.text():
            if not process.alive(self.started.mark) or time.monotonic() > deadline_s:
                raise RuntimeError(f"{self.contender.name} is not ready: {process.last_lines(self.log)}")
            time.sleep(0.02)

    def send(self, number: signal.Signals) -> None:
        """Signals the process itself."""
        if not process.send(self.started.mark, number):
            raise RuntimeError(f"{self.contender.name} has ended: {process.last_lines(self.log)}")

    def text(self) -> str:
        """All that it has printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")


@contextmanager
def running(contender: Contender, stage: Stage) -> Iterator[Running]:
    """Starts a contender, waits until it is ready, and ends it when the block is left; `batches` is known then.

    Raises:
        RuntimeError: it did not start, or did not end by itself when it was asked to.
    """
    log = stage.folder / "contender.log"
    log.touch()
    found = Running(contender, process.launch(contender.command(stage), log, keep=False), log, stage)
    try:
        found.wait_ready()
        yield found
        if contender.running_batches is not None:
            found.batches = contender.running_batches(stage)
    except BaseException:
        process.stop(found.started, 0)
        raise
    if not process.stop(found.started, GRACE_S):
        raise RuntimeError(f"{contender.name} did not end by itself: {process.last_lines(log)}")
    if contender.running_batches is None:
        told = json.loads(found.text().splitlines()[-1])
        found.batches = Batches(told["batches"], told["events"])


def scorer(profile: str, delivery: str = "at_least_once") -> Contender:
    """Our worker with a latency profile and a delivery, all other settings as shipped."""
    clients = {
        "eager": "fetch.min.bytes 1, linger.ms 0, lz4, idempotent",
        "paced": "fetch.min.bytes 1000000, fetch.wait.max.ms 2, linger.ms 1, lz4, idempotent",
    }
    once = delivery == "exactly_once"
    return Contender(
        f"scorer, {profile}, exactly once" if once else f"scorer, {profile}",
        "exactly once, transactions of 100 ms" if once else "at least once",
        clients[profile],
        lambda stage: _worker(stage, profile, delivery),
        transactions=once,
        ready='"event": "stream.running"',
        running_batches=_scraped,
    )


def _worker(stage: Stage, profile: str, delivery: str) -> list[str]:
    settings = stage.folder / "scorer.toml"
    settings.write_text(
        f'group = "{stage.group}"\n'
        f'[kafka]\n"bootstrap.servers" = "{stage.bootstrap}"\n'
        f'[registry]\nurl = "folder:{stage.schemas}"\n'
        f"[metrics]\nport = {stage.port}\n"
        f'[[streams]]\nname = "{stage.kind}"\nbundle = "{stage.bundle}"\n'
        f'from = "{stage.source}"\nto = "{stage.target}"\nprofile = "{profile}"\n'
        f'delivery = "{delivery}"\n',
        encoding="utf-8",
    )
    return [sys.executable, "-m", "scorer", "worker", stage.kind, "--config", str(settings)]


def _scraped(stage: Stage) -> Batches:
    with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{stage.port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    values = dict(re.findall(r"^scorer_batch_records_(sum|count)\{.*\} (\S+)$", text, re.MULTILINE))
    return Batches(int(float(values["count"])), int(float(values["sum"])))


def _script(name: str) -> Callable[[Stage], list[str]]:
    def command(stage: Stage) -> list[str]:
        places = {"bootstrap": stage.bootstrap, "source": stage.source, "target": stage.target, "group": stage.group}
        places |= {"bundle": str(stage.bundle), "schemas": str(stage.schemas)}
        flags = [part for key, value in places.items() for part in (f"--{key}", value)]
        return [sys.executable, str(PEERS / name), *flags]

    return command


CAREFUL = Contender(
    "careful loop",
    "at least once",
    "librdkafka's defaults: fetch.min.bytes 1, linger.ms 5, uncompressed, not idempotent",
    _script("careful.py"),
)
RAW_COPY = Contender(
    "raw copy", "at most once", "librdkafka's defaults, but linger.ms 0; uncompressed", _script("raw_copy.py")
)
