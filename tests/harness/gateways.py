"""Real `scorer gateway` processes on real topics, predictions to put on them, and readers of their streams."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from confluent_kafka.admin import AdminClient, NewTopic

from scorer.local.ports import free_ports
from tests.harness.events import encoder
from tests.harness.topics import (
    PARTITIONS,
    WAIT_S_MAX,
    Topics,
    delete_topics,
    fresh_group,
    make_deployments,
    register,
    send,
    shipped_schema,
)
from tests.harness.workers import LEASH, Worker, environment, stream, write_settings

FIRST_MS = 1_700_000_000_000
KINDS = {
    "recommendations": ("login", "recommend/1", "events.login", "predictions.recommendation", "customer_id"),
    "lead-scores": ("lead", "lead/1", "events.new-lead", "predictions.lead-score", "lead_id"),
}


@dataclass(frozen=True, slots=True)
class Site:
    """Two streams' topics with their schemas registered, and settings for a worker and a gateway on them."""

    kafka: str
    registry: str
    topics: Mapping[str, Topics]
    config: Path
    port: int
    encode: Mapping[str, Callable[[Mapping[str, Any]], bytes]]
    encode_event: Mapping[str, Callable[[Mapping[str, Any]], bytes]]

    def publish(self, kind: str, records: Iterable[Mapping[str, Any]]) -> int:
        """Puts predictions on a kind's topic, keyed as the worker does."""
        entity = KINDS[kind][4]
        values = ({"key": record[entity], "value": self.encode[kind](record)} for record in records)
        return send(self.kafka, self.topics[kind].predictions, values)

    def erase(self, kind: str, *entities: str) -> None:
        """Puts null values on a kind's topic."""
        send(self.kafka, self.topics[kind].predictions, ({"key": each, "value": None} for each in entities))


@dataclass(frozen=True, slots=True)
class Gateway:
    """A started gateway."""

    process: Worker
    port: int
    token: str = ""

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Asks it; a header's name may have underscores."""
        own = {"authorization": f"Bearer {self.token}"} if self.token else {}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.get(self.url + path, headers=own | named, timeout=30, trust_env=False)

    def wait_for(self, path: str, status: int = 200) -> httpx.Response:
        """Asks until the answer has this status."""
        self.process.until(lambda: self.get(path).status_code == status, f"answering {status} at {path}", 30)
        return self.get(path)


@contextmanager
def gateway_site(kafka: str, registry: str, folder: Path, **settings: Any) -> Iterator[Site]:
    """Makes topics and settings; `settings` are the [gateway] table's."""
    mark = uuid.uuid4().hex[:10]
    topics = {
        kind: Topics(f"{mark}.{events}", f"{mark}.{output}", f"{mark}.{events}.dead-letter")
        for kind, (_, _, events, output, _) in KINDS.items()
    }
    names = [name for each in topics.values() for name in (each.events, each.predictions, each.letters)]
    admin = AdminClient({"bootstrap.servers": kafka, "log_level": 0})
    for future in admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names]).values():
        future.result(WAIT_S_MAX)
    make_deployments(kafka)
    encode, encode_event, streams = {}, {}, []
    for kind, (name, bundle, events, output, _) in KINDS.items():
        own, schemas = topics[kind], (shipped_schema(output), shipped_schema(events))
        encode[kind] = encoder(register(registry, own.predictions, schemas[0]), schemas[0])
        encode_event[kind] = encoder(register(registry, own.events, schemas[1]), schemas[1])
        streams.append(stream(name, bundle, own, profile="eager"))
    (port,) = free_ports(1)
    table = {"port": port, "store": str(folder / "gateway.sqlite3"), "rate_per_s": 0, **settings}
    config = write_settings(folder, kafka=kafka, registry=registry, group=fresh_group(), streams=streams, gateway=table)
    try:
        yield Site(kafka, registry, topics, config, port, encode, encode_event)
    finally:
        delete_topics(kafka, *names)


@contextmanager
def gateway(site: Site, *arguments: str, token: str = "", name: str = "gateway") -> Iterator[Gateway]:
    """Starts `scorer gateway`, waits until it is ready, and ends it when the block is left."""
    (health,) = free_ports(1)
    log = site.config.with_name(f"{name}.log")
    command = [sys.executable, "-m", "scorer", "gateway", "--config", str(site.config), *arguments]
    command += ["--set", f"metrics.port={health}", "--set", f"gateway.port={site.port}"]
    # The gateway's own port follows those of its streams.
    with log.open("ab") as output:
        leash = subprocess.Popen(
            [sys.executable, "-I", "-S", str(LEASH), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            cwd=site.config.parent,
            env=environment(),
        )
    assert leash.stdout is not None
    process = Worker(site.config, [health + len(site.topics)], log, int(leash.stdout.readline()), leash)
    try:
        yield Gateway(process.wait_ready(), site.port, token)
    finally:
        process.end()


def recommendation(entity: str, number: int, **more: Any) -> dict[str, Any]:
    """A recommendation; a greater number is a newer one."""
    items = [{"product_code": f"{20_000 + (number * 7 + at) % 50}", "score": 1 - at / 10} for at in range(10)]
    return {"customer_id": entity, "items": items, **_provenance("login", number), **more}


def lead_score(entity: str, number: int, **more: Any) -> dict[str, Any]:
    """A lead's score; a greater number is a newer one."""
    return {
        "lead_id": entity,
        "score": (number % 97) / 97,
        "bucket": "ABCD"[number % 4],
        **_provenance("lead", number),
        **more,
    }


def _provenance(stream_name: str, number: int) -> dict[str, Any]:
    return {
        "prediction_id": f"m/1/{stream_name}/0/{number}",
        "event_id": f"{stream_name}-{number}",
        "model_name": "m",
        "model_version": "1",
        "model_sha256": "0" * 64,
        "source_topic": stream_name,
        "source_partition": 0,
        "source_offset": number,
        "source_timestamp": FIRST_MS + number,
        "source_schema_id": 1,
        "event_digest": "00" * 8,
        "lane": "live",
        "scorer_version": "0",
        "runtime": "r",
        "cpu_class": "c",
        "occurred_at": FIRST_MS + number,
        "scored_at": FIRST_MS + number + 5,
    }


@dataclass(slots=True)
class SseClient:
    """Follows a stream and comes back with its last id until `done` is set, as browsers do.

    Attributes:
        seen: event_id of every prediction, in order; all connections together.
        gaps: reasons of `gap` events.
        connects: how often it was let in.
    """

    port: int
    path: str
    token: str = ""
    last_id: str = ""
    seen: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    erased: list[Any] = field(default_factory=list)
    connects: int = 0
    done: bool = False
    _writer: asyncio.StreamWriter | None = None

    async def run(self) -> None:
        """Follows until done."""
        while not self.done:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._once()
            await asyncio.sleep(0.05)

    def drop(self) -> None:
        """Hangs up at once; it comes back by itself."""
        if self._writer is not None:
            self._writer.transport.abort()

    def end(self) -> None:
        """Hangs up for good."""
        self.done = True
        self.drop()

    async def _once(self) -> None:
        reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = f"GET {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        head += f"Authorization: Bearer {self.token}\r\n" if self.token else ""
        head += f"Last-Event-ID: {self.last_id}\r\n" if self.last_id else ""
        try:
            self._writer.write(head.encode() + b"\r\n")
            answer = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in answer.split(b"\r\n", 1)[0]:
                return
            self.connects += 1
            rest = b""
            while (size := int(await reader.readline() or b"0", 16)) > 0:
                chunk = await reader.readexactly(size + 2)
                *blocks, rest = (rest + chunk[:-2]).split(b"\n\n")
                for block in blocks:
                    self._take(block.decode())
        finally:
            self._writer.transport.abort()

    def _take(self, block: str) -> None:
        fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if fields.get("event") == "prediction":
            self.seen.append(json.loads(fields["data"])["event_id"])
        elif fields.get("event") == "gap":
            self.gaps.append(json.loads(fields["data"])["reason"])
        elif fields.get("event") == "erased":
            self.erased.append(json.loads(fields["data"]))
        self.last_id = fields.get("id", self.last_id)
