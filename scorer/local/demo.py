"""The demo: a real surrounding, events, worker processes and a plain subscriber, from nothing to an account of all.

It ends well only if every event that was sent came out, as a prediction or as a dead letter.
"""

from __future__ import annotations

import fcntl
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from scorer.core.errors import ConfigError, ScorerError, TransientError
from scorer.core.schema import WriterSchema, writer_schema
from scorer.edges.clock import SystemClock
from scorer.edges.kafka.admin import KafkaAdmin, Topic
from scorer.edges.kafka.mock import MockBroker
from scorer.edges.kafka.producer import KafkaPublisher
from scorer.edges.kafka.reader import KafkaReader
from scorer.edges.kafka.settings import producer_properties
from scorer.edges.schema_folder import SchemaFolder
from scorer.local import process
from scorer.local.demo_load import Outcome, send_all
from scorer.local.events import MODELS, OUTPUTS, TOPICS, Events, from_file, samples
from scorer.local.kafka import running_kafka
from scorer.local.places import shipped
from scorer.local.ports import free_ports
from scorer.local.tally import Tally

PARTITIONS = 4
READY_S_MAX = 60.0
GRACE_S = 25.0
BYTES_MAX = 1_000_000

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the demo does.

    Attributes:
        folder: where broker, settings and logs live; the broker's data is made anew each time.
        csv: a real file to stream, or None for samples.
        leads, logins: how many samples of each.
        broker: "kafka" for a real one, "mock" for librdkafka's built-in cluster.
        seed: of the samples.
    """

    folder: Path
    csv: Path | None = None
    leads: int = 20_000
    logins: int = 5_000
    broker: str = "kafka"
    seed: int = 1


def run_demo(plan: Plan, say: Say, progress: Callable[[int, int], None]) -> Outcome:
    """Runs the demo and cleans up after itself, however it ends.

    Args:
        plan: what to do.
        say: told of each step, in lines for a person.
        progress: told events accounted for and sent so far.

    Raises:
        LocalUnavailable: a real Kafka cannot be had here.
        ScorerError: something did not start.
    """
    plan.folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        _hold_alone(plan.folder, stack)
        bootstrap = _broker(plan, stack, say)
        schemas = _schemas()
        kinds = [from_file(plan.csv, _now).kind] if plan.csv else list(TOPICS)
        ports = _start_workers(plan, bootstrap, kinds, stack)
        tally = Tally({OUTPUTS[kind]: schemas[OUTPUTS[kind]] for kind in kinds})
        outcome = Outcome(tally)
        topics = [*(OUTPUTS[kind] for kind in kinds), *(f"{TOPICS[kind]}.dead-letter" for kind in kinds)]
        stop = Event()
        reader = Thread(target=_subscribe, args=(bootstrap, topics, tally, stop), name="subscriber")
        reader.start()
        stack.callback(reader.join)
        stack.callback(stop.set)
        _wait_ready(ports, kinds, say)
        say("sending events, as fast as they are taken; then some at a steady pace, to measure the delay")
        publisher = KafkaPublisher(producer_properties({"bootstrap.servers": bootstrap}, "paced", BYTES_MAX), _silent)
        send_all(_streams(plan), schemas, publisher, outcome, progress)
        say("stopping the workers: they drain, commit and leave")
    return outcome


def _streams(plan: Plan) -> list[Events]:
    if plan.csv is not None:
        return [from_file(plan.csv, _now)]
    return [samples("lead", plan.leads, plan.seed, _now), samples("login", plan.logins, plan.seed, _now)]


def _hold_alone(folder: Path, stack: ExitStack) -> None:
    """Keeps a second demo out of the folder; the kernel lets go when this process ends, however it ends."""
    lock = stack.enter_context((folder / "lock").open("w"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise ConfigError(f"another demo runs in {folder}: wait for it, or give --folder OTHER") from None


def _broker(plan: Plan, stack: ExitStack, say: Say) -> str:
    topics = [name for kind, name in TOPICS.items() for name in (name, f"{name}.dead-letter", OUTPUTS[kind])]
    if plan.broker == "mock":
        say("starting librdkafka's built-in cluster: no real Kafka, no guarantees, but no network either")
        mock = MockBroker(_silent)
        stack.callback(lambda: mock)
        mock.create(topics)
        return mock.bootstrap
    home = plan.folder / "kafka"
    shutil.rmtree(home, ignore_errors=True)  # an account of all events needs topics without yesterday's
    server = stack.enter_context(running_kafka(home, say=say))
    KafkaAdmin({"bootstrap.servers": server.address}, _silent).create([Topic(name, PARTITIONS) for name in topics])
    return server.address


def _schemas() -> dict[str, WriterSchema]:
    registry = SchemaFolder(shipped("schemas"))
    found = {}
    for topic in (*TOPICS.values(), *OUTPUTS.values()):
        schema_id, text = registry.versions(f"{topic}-value")[-1]
        found[topic] = writer_schema(schema_id, text)
    return found


def _start_workers(plan: Plan, bootstrap: str, kinds: list[str], stack: ExitStack) -> list[int]:
    """Starts `scorer worker` as a person would, with settings written to a file. Returns the health ports."""
    ports = sorted(free_ports(len(kinds) + 1))
    first = ports[0] if ports == list(range(ports[0], ports[0] + len(ports))) else _run_of_ports(len(kinds))
    group = f"demo-{int(time.time())}"
    streams = "".join(
        f'\n[[streams]]\nname = "{kind}"\nbundle = "{shipped("models") / MODELS[kind]}"\n'
        f'from = "{TOPICS[kind]}"\nto = "{OUTPUTS[kind]}"\n'
        for kind in kinds
    )
    mock = f'[kafka.producer]\n"message.max.bytes" = {BYTES_MAX}\n' if plan.broker == "mock" else ""
    settings = plan.folder / "scorer.toml"
    settings.write_text(
        f'group = "{group}"\n[kafka]\n"bootstrap.servers" = "{bootstrap}"\n{mock}'
        f'[registry]\nurl = "folder:{shipped("schemas")}"\n[metrics]\nport = {first}\n{streams}'
    )
    log = plan.folder / "worker.log"
    log.write_bytes(b"")
    command = [sys.executable, "-m", "scorer", "worker", "--config", str(settings)]
    started = process.launch(command, log, keep=False)
    stack.callback(process.stop, started, GRACE_S)
    return list(range(first, first + len(kinds)))


def _run_of_ports(count: int) -> int:
    """The first of several free ports in a row."""
    from scorer.local.ports import is_free

    for first in range(20_000, 30_000, 16):
        if all(is_free(first + at) for at in range(count)):
            return first
    raise ScorerError("no free ports in a row for the workers' health checks")


def _wait_ready(ports: list[int], kinds: list[str], say: Say) -> None:
    say(f"starting {len(kinds)} worker process{'es' if len(kinds) > 1 else ''}: {', '.join(kinds)}")
    deadline = time.monotonic() + READY_S_MAX
    for port, kind in zip(ports, kinds, strict=True):
        while not _ready(port):
            if time.monotonic() > deadline:
                raise TransientError(f"the worker for {kind} is not ready after {READY_S_MAX:.0f} s; see worker.log")
            time.sleep(0.05)


def _ready(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def _subscribe(bootstrap: str, topics: list[str], tally: Tally, stop: Event) -> None:
    reader = KafkaReader({"bootstrap.servers": bootstrap}, topics, start="earliest", report=_silent)
    try:
        while not stop.is_set():
            for batch in reader.read(2000, 100):
                tally.add(batch, _now(0))
    finally:
        reader.close()


def _now(_: int) -> int:
    return SystemClock().now_ms()


def _silent(_: str, __: Mapping[str, Any]) -> None:
    """Client messages of the demo itself; the workers have a log."""
