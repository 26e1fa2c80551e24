"""The demo: a real surrounding, events, worker processes and a plain subscriber, from nothing to an account of all.

It ends well only if every event that was sent came out, as a prediction or as a dead letter.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from scorer.core.errors import ScorerError, TransientError
from scorer.core.schema import WriterSchema, writer_schema
from scorer.edges.clock import SystemClock
from scorer.edges.kafka.admin import KafkaAdmin, Topic
from scorer.edges.kafka.mock import MockBroker
from scorer.edges.kafka.producer import KafkaPublisher
from scorer.edges.kafka.reader import KafkaReader
from scorer.edges.kafka.settings import producer_properties
from scorer.edges.schema_folder import SchemaFolder
from scorer.local import process
from scorer.local.demo_folder import hold
from scorer.local.demo_load import Outcome, await_all, send_all
from scorer.local.demo_readers import DATABASE, ask_gateway, ask_tables, fill_tables
from scorer.local.events import DEPLOYMENTS, KEYS, MODELS, OUTPUTS, TOPICS, Events, from_file, samples
from scorer.local.kafka import running_kafka
from scorer.local.places import shipped
from scorer.local.ports import free_ports
from scorer.local.sending import encoded, send
from scorer.local.tally import Tally

PARTITIONS = 4
READY_S_MAX = 60.0
GRACE_S = 25.0
BYTES_MAX = 1_000_000
STORE = "gateway.sqlite3"
TRICKLE_EVENTS, TRICKLE_PER_S = 10, 5.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the demo does.

    Attributes:
        folder: where broker, settings and logs live, empty or a demo's; the broker's data is made anew each time.
        csv: a real file to stream, or None for samples.
        leads, logins: how many samples of each.
        broker: "kafka" for a real one, "mock" for librdkafka's built-in cluster.
        keep: whether everything goes on until the caller has had enough.
        seed: of the samples.
    """

    folder: Path
    csv: Path | None = None
    leads: int = 20_000
    logins: int = 5_000
    broker: str = "kafka"
    keep: bool = False
    seed: int = 1

    @property
    def readers(self) -> bool:
        """Whether the demo ends with the readers of predictions; the built-in cluster has none of what they rest on."""
        return self.broker == "kafka"


def run_demo(
    plan: Plan, say: Say, progress: Callable[[int, int], None], kept: Callable[[Outcome, Stage], None]
) -> Outcome:
    """Runs the demo and cleans up after itself, however it ends.

    Args:
        plan: what to do.
        say: told of each step, in lines for a person.
        progress: told events accounted for and sent so far.
        kept: called with `plan.keep` once all is done and everything still runs; its end ends the demo.

    Raises:
        ConfigError: the folder is not a demo's, or another demo runs in it.
        LocalUnavailable: a real Kafka cannot be had here.
        ScorerError: something did not start.
    """
    with ExitStack() as stack:
        hold(plan.folder, stack)
        bootstrap = _broker(plan, stack, say)
        schemas = _schemas()
        kinds = [from_file(plan.csv, _now).kind] if plan.csv else list(TOPICS)
        stage = _start_workers(plan, bootstrap, kinds, stack)
        tally = Tally({OUTPUTS[kind]: schemas[OUTPUTS[kind]] for kind in kinds})
        outcome = Outcome(tally)
        topics = [*(OUTPUTS[kind] for kind in kinds), *(f"{TOPICS[kind]}.dead-letter" for kind in kinds)]
        stop = Event()
        reader = Thread(target=_subscribe, args=(bootstrap, topics, tally, stop), name="subscriber")
        reader.start()
        stack.callback(reader.join)
        stack.callback(stop.set)
        say(f"starting {len(kinds)} worker process{'es' if len(kinds) > 1 else ''}: {', '.join(kinds)}")
        _wait_ready(stage.ports, kinds)
        say("sending events, as fast as they are taken; then some at a steady pace, to measure the delay")
        publisher = KafkaPublisher(producer_properties({"bootstrap.servers": bootstrap}, "paced", BYTES_MAX), _silent)
        send_all(_streams(plan), schemas, publisher, outcome, progress)
        if plan.readers and not outcome.problem:
            say("filling SQL tables with the predictions, and asking the gateway as an app does at a login")
            start_process(plan, stage, ("gateway",), stack)
            outcome.complete = fill_tables(stage.settings, plan.folder, kinds)
            outcome.tables = ask_tables(plan.folder, kinds)
            _wait_ready([stage.ports[-1] + 1], ["gateway"])
            asked = "login" if "login" in kinds else "lead"
            outcome.answer = ask_gateway(stage.gateway_port, asked, schemas[TOPICS[asked]], publisher, plan.seed + 1)
            outcome.sent[asked] += 1
            await_all(outcome, progress)
        if plan.keep:
            _keep(plan, stage, stack, Sending(schemas, publisher))
            with suppress(KeyboardInterrupt):
                kept(outcome, stage)
        say("stopping everything: the workers drain, commit and leave")
    return outcome


def _streams(plan: Plan) -> list[Events]:
    if plan.csv is not None:
        return [from_file(plan.csv, _now)]
    return [samples("lead", plan.leads, plan.seed, _now), samples("login", plan.logins, plan.seed, _now)]


def _broker(plan: Plan, stack: ExitStack, say: Say) -> str:
    topics = [name for kind, name in TOPICS.items() for name in (name, f"{name}.dead-letter", OUTPUTS[kind])]
    if plan.broker == "mock":
        say("starting librdkafka's built-in cluster: no real Kafka, no guarantees, but no network either")
        mock = MockBroker(_silent)
        stack.callback(lambda: mock)
        mock.create([*topics, DEPLOYMENTS])
        return mock.bootstrap
    home = plan.folder / "kafka"
    shutil.rmtree(home, ignore_errors=True)  # an account of all events needs topics without yesterday's
    server = stack.enter_context(running_kafka(home, say=say))
    wanted = [*(Topic(name, PARTITIONS) for name in topics), Topic(DEPLOYMENTS, 1)]
    KafkaAdmin({"bootstrap.servers": server.address}, _silent).create(wanted)
    return server.address


def _schemas() -> dict[str, WriterSchema]:
    registry = SchemaFolder(shipped("schemas"))
    found = {}
    for topic in (*TOPICS.values(), *OUTPUTS.values()):
        schema_id, text = registry.versions(f"{topic}-value")[-1]
        found[topic] = writer_schema(schema_id, text)
    return found


@dataclass(frozen=True, slots=True)
class Sending:
    """What events are sent with: the topics' schemas, and a producer."""

    schemas: Mapping[str, WriterSchema]
    publisher: KafkaPublisher


@dataclass(frozen=True, slots=True)
class Stage:
    """What runs.

    Attributes:
        settings: the settings file of all its processes.
        kinds: of the streams.
        ports: of the workers' health checks, in their order.
        gateway_port: where the gateway and its page are.
    """

    settings: Path
    kinds: Sequence[str]
    ports: Sequence[int]
    gateway_port: int


def _start_workers(plan: Plan, bootstrap: str, kinds: list[str], stack: ExitStack) -> Stage:
    """Starts `scorer worker` as a person would, with settings written to a file."""
    first = _run_of_ports(len(kinds) + 1)  # the gateway's health has the port after the workers'
    (gateway_port,) = free_ports(1)
    stage = Stage(plan.folder / "scorer.toml", kinds, range(first, first + len(kinds)), gateway_port)
    for stale in (*plan.folder.glob(f"{DATABASE}*"), *plan.folder.glob(f"{STORE}*")):
        stale.unlink()
    stage.settings.write_text(_settings(plan, bootstrap, stage), encoding="utf-8")
    start_process(plan, stage, ("worker",), stack)
    return stage


def _settings(plan: Plan, bootstrap: str, stage: Stage) -> str:
    streams = "".join(
        f'\n[[streams]]\nname = "{kind}"\nbundle = {_quoted(shipped("models") / MODELS[kind])}\n'
        f'from = "{TOPICS[kind]}"\nto = "{OUTPUTS[kind]}"\n'
        for kind in stage.kinds
    )
    mock = (
        f'[kafka.producer]\n"message.max.bytes" = {BYTES_MAX}\n[checks]\nweak = "off"\n'
        if plan.broker == "mock"
        else ""
    )
    return (
        f'group = "demo-{int(time.time())}"\n[kafka]\n"bootstrap.servers" = "{bootstrap}"\n{mock}'
        f"[registry]\nurl = {_quoted('folder:', shipped('schemas'))}\n[metrics]\nport = {stage.ports[0]}\n"
        f"[sink]\nport = -1\n[sink.sql]\nurl = {_quoted('sqlite:///', plan.folder / DATABASE)}\n"
        f"[gateway]\nport = {stage.gateway_port}\nstore = {_quoted(plan.folder / STORE)}\n{streams}"
    )


def _quoted(*parts: str | Path) -> str:
    """Text as TOML has it, which JSON has as well."""
    return json.dumps("".join(map(str, parts)), ensure_ascii=False)


def start_process(plan: Plan, stage: Stage, command: tuple[str, ...], stack: ExitStack) -> None:
    """Starts a command of the scorer with the demo's settings, and ends it with the demo."""
    log = plan.folder / f"{'-'.join(command)}.log"
    log.write_bytes(b"")
    whole = [sys.executable, "-m", "scorer", *command, "--config", str(stage.settings)]
    stack.callback(process.stop, process.launch(whole, log, keep=False), GRACE_S)


def _keep(plan: Plan, stage: Stage, stack: ExitStack, sending: Sending) -> None:
    """Lets everything go on, with a few events a second."""
    for kind in stage.kinds:
        start_process(plan, stage, ("sink", "sql", kind), stack)
    stop = Event()

    def trickle() -> None:
        while not stop.is_set():
            for kind in stage.kinds:
                events = samples(kind, TRICKLE_EVENTS, int(time.time()), _now).events
                messages = encoded(events, sending.schemas[TOPICS[kind]], KEYS[kind])
                send(messages, TOPICS[kind], sending.publisher, SystemClock(), rate=TRICKLE_PER_S, stop=stop)

    sender = Thread(target=trickle, name="trickle")
    sender.start()
    stack.callback(sender.join)
    stack.callback(stop.set)


def _run_of_ports(count: int) -> int:
    """The first of several free ports in a row."""
    from scorer.local.ports import is_free

    for first in range(20_000, 30_000, 16):
        if all(is_free(first + at) for at in range(count)):
            return first
    raise ScorerError("no free ports in a row for the workers' health checks")


def _wait_ready(ports: Sequence[int], names: Sequence[str]) -> None:
    deadline = time.monotonic() + READY_S_MAX
    for port, name in zip(ports, names, strict=True):
        while not _ready(port):
            if time.monotonic() > deadline:
                raise TransientError(
                    f"{name} is not ready after {READY_S_MAX:.0f} s; see the logs in the demo's folder"
                )
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
