"""Who is measured, and how each is started: our worker by its real command line, peers as scripts of their own.

To add a peer: a program that takes the stage's topics and group, prints a line when its group has its assignment, and
ends on SIGTERM; and a Contender here that starts it.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

from bench.stage import Stage
from scorer.edges.bundles import read_bundle
from scorer.edges.machine import cpu_class, scorer_version
from scorer.local import process
from scorer.local.java import fetch, java

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
        scores: whether what it publishes are predictions; else they are the events themselves.
        running_batches: asks it while it runs; None if it prints them at its end.
    """

    name: str
    delivery: str
    clients: str
    command: Callable[[Stage], list[str]]
    ready: str = "ready"
    transactions: bool = False
    scores: bool = True
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
        told = json.loads(re.findall(r'\{"batches".*\}', found.text())[-1])
        found.batches = Batches(told["batches"], told["events"])


def scorer(profile: str, delivery: str = "at_least_once") -> Contender:
    """Our worker with a latency profile and a delivery, all other settings as shipped."""
    clients = {
        "eager": "fetch.min.bytes 1, linger.ms 1, small batches at once, uncompressed, idempotent",
        "paced": "fetch.min.bytes 1000000, fetch.wait.max.ms 2, linger.ms 1, small batches at once, lz4, idempotent",
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


def _script(name: str, python: Path = Path(sys.executable)) -> Callable[[Stage], list[str]]:
    return lambda stage: [str(python), str(PEERS / name), *_flags(stage)]


def _flags(stage: Stage) -> list[str]:
    """What every peer is started with."""
    bundle = read_bundle(stage.bundle)
    constants = {
        "model_name": bundle.contract.name,
        "model_version": bundle.contract.version,
        "model_sha256": bundle.sha256,
        "source_topic": stage.source,
        "source_schema_id": stage.schema(stage.source)[0],
        "lane": "live",
        "scorer_version": scorer_version(),
        "cpu_class": cpu_class(),
    }
    places = {
        "bootstrap": stage.bootstrap,
        "source": stage.source,
        "target": stage.target,
        "group": stage.group,
        "bundle": str(stage.bundle),
        "schemas": str(stage.schemas),
        "constants": json.dumps(constants),
    }
    return [part for key, value in places.items() for part in (f"--{key}", value)]


PEERS_PYTHON = Path(__file__).parents[1] / ".venv-peers" / "bin" / "python"
"""Other frameworks pin clients that the product does not: they have an environment of their own."""
CAREFUL = Contender(
    "careful loop",
    "at least once",
    "librdkafka's defaults: fetch.min.bytes 1, linger.ms 5, uncompressed, not idempotent",
    _script("careful.py"),
)
RAW_COPY = Contender(
    "raw copy",
    "at most once",
    "librdkafka's defaults, but linger.ms 0; uncompressed",
    _script("raw_copy.py"),
    scores=False,
)
BYTEWAX = Contender(
    "Bytewax", "at least once, by a store of its own", "librdkafka's defaults", _script("bytewax_flow.py", PEERS_PYTHON)
)
QUIX = Contender("Quix Streams", "at least once", "its own defaults (librdkafka)", _script("quix.py", PEERS_PYTHON))
FAUST = Contender("Faust", "at least once", "its own defaults (aiokafka)", _script("faust_agent.py", PEERS_PYTHON))
STREAMS = "Kafka Streams"


def kafka_streams(work: Path) -> Contender:
    """Kafka Streams, compiled into a folder.

    Raises:
        RuntimeError: there is no javac here, or it does not compile.
        ConfigError: its jars cannot be had.
    """
    source, classes = PEERS / "LeadScorer.java", work / "classes"
    classes.mkdir()
    jars = fetch(PEERS / "streams.lock.toml", lambda text: print(text, file=sys.stderr))
    path = ":".join(map(str, (classes, *jars)))
    javac = shutil.which("javac")
    if javac is None:
        raise RuntimeError("no javac here: install a JDK, 17 or later")
    command = [javac, "--release", "17", "-Xlint:all", "-Werror", "-proc:none", "-cp", path, "-d", str(classes)]
    ended = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"{source.name} does not compile: {ended.stderr}")
    flags = ["-Xmx512m", "--enable-native-access=ALL-UNNAMED", "-cp", path, source.stem]
    return Contender(
        STREAMS, "at least once", "its own defaults (Java), 2 threads",
        lambda stage: [str(java()), *flags, *_flags(stage)],
    )  # fmt: skip
