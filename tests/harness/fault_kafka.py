"""Kafka for fault tests: one node, or three with three copies of everything, each with a way to it that can fail.

The workers under test come in by the proxies; tests, readers and the brokers among themselves go direct.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from scorer.local import kafka as local
from scorer.local.java import fetch
from scorer.local.ports import free_ports
from scorer.local.server import Server
from tests.harness.kafka_proxy import KafkaProxy, kafka_proxy

HEAP_MB = {1: 512, 3: 320}
"""By the number of nodes."""


@dataclass(frozen=True, slots=True)
class FaultKafka:
    """Brokers and the ways to them, in the same order.

    Attributes:
        nodes: their handles.
        ways: the proxies by which workers come in.
        direct: bootstrap addresses for the test itself.
        copies: how many of everything there are.
    """

    nodes: Sequence[Server]
    ways: Sequence[KafkaProxy]
    direct: str
    copies: int

    @property
    def address(self) -> str:
        """Bootstrap addresses for workers."""
        return ",".join(way.address for way in self.ways)

    @property
    def way(self) -> KafkaProxy:
        """The one way of a single node."""
        (way,) = self.ways
        return way


@contextmanager
def fault_kafka(folder: Path, nodes: int = 1) -> Iterator[FaultKafka]:
    """Runs one broker or three for the length of a block.

    Raises:
        LocalUnavailable: Kafka cannot be had here.
    """
    ports = free_ports(3 * nodes)
    quorum = ",".join(f"{at + 1}@127.0.0.1:{ports[3 * at + 2]}" for at in range(nodes))
    cluster = _identity()
    with ExitStack() as stack:
        ways, servers = [], []
        for at in range(nodes):
            direct, inside, controller = ports[3 * at : 3 * at + 3]
            way = stack.enter_context(kafka_proxy(inside))
            own = folder / f"node-{at + 1}"
            mine = {"node.id": str(at + 1), "controller.quorum.voters": quorum}
            overrides = {**mine, **_listeners((direct, inside, controller), way.port), **_copies(nodes)}
            plan = local.Plan(own.resolve(), direct, controller, local.light(HEAP_MB[nodes]), overrides)
            _found(plan, str(at + 1), cluster)
            ways.append(way)
            servers.append(local.kafka(plan, lambda _: None))
        for server in servers:
            server.launch()
            stack.callback(server.stop if nodes == 1 else server.kill)
        for server in servers:
            server.wait_ready()
        yield FaultKafka(servers, ways, ",".join(server.address for server in servers), nodes)


def _listeners(ports: tuple[int, ...], way: int) -> dict[str, str]:
    direct, inside, controller = ports
    return {
        "listeners": f"PLAINTEXT://127.0.0.1:{direct},WAY://127.0.0.1:{inside},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{direct},WAY://127.0.0.1:{way}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,WAY:PLAINTEXT,CONTROLLER:PLAINTEXT",
    }


def _copies(nodes: int) -> dict[str, str]:
    if nodes == 1:
        return {}
    named = ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic")
    return {
        **{f"{name}.replication.factor": "3" for name in named},
        "transaction.state.log.min.isr": "2",
        "share.coordinator.state.topic.min.isr": "2",
        "min.insync.replicas": "2",
        "default.replication.factor": "3",
        "replica.lag.time.max.ms": "5000",
        "broker.session.timeout.ms": "6000",
    }


def _found(plan: local.Plan, number: str, cluster: str) -> None:
    """Makes the data folder of a node: the local broker's own way is for clusters of one."""
    data = plan.folder / "data"
    data.mkdir(parents=True)
    checkpoint = local._checkpoint(fetch(local.LOCK, lambda _: None))
    (data / "bootstrap.checkpoint").write_bytes(checkpoint.read_bytes())
    own = {"version": "1", "node.id": number, "cluster.id": cluster, "directory.id": _identity()}
    (data / "meta.properties").write_text("".join(f"{name}={value}\n" for name, value in own.items()), "utf-8")


def _identity() -> str:
    return uuid.uuid4().hex[:22]
