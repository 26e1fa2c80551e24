"""A whole gateway but for Kafka: routes, guard, tokens, streams and a real store, served on a port of this machine."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

from scorer.core.answers import Answer
from scorer.edges.latest_store import Keep, LatestStore
from scorer.edges.web.app import Served, make_app
from scorer.edges.web.guard import Guard
from scorer.edges.web.limits import Buckets
from scorer.edges.web.live import Bounds, LiveKind
from scorer.edges.web.popular import Popular
from scorer.edges.web.serve import AskStore, OnLoop, Site, listening, serve
from scorer.edges.web.streams import StreamLimits, Streams
from scorer.edges.web.tokens import ALL, Authority
from tests.unit.edges.web.live_world import KIND, reading


@dataclass
class Gateway:
    """What a test has of it."""

    port: int
    store: LatestStore
    live: LiveKind
    streams: Streams
    said: list[tuple[str, Mapping[str, Any]]]
    on_loop: OnLoop | None = None
    requests: list[tuple[str, int]] = field(default_factory=list)
    number: int = 0

    def arrive(self, *answers: Answer) -> None:
        """They come from Kafka and are written."""
        assert self.on_loop is not None
        self.number += 1
        some = reading(*answers)
        self.on_loop.arrived(some, self.number)
        self.store.write([some], 0)
        self.on_loop.written(self.number)

    def ask(self, path: str, *headers: str, method: str = "GET") -> bytes:
        """The whole answer to a request, as it came."""
        with self.connect() as client:
            client.sendall(request(path, *headers, "Connection: close", method=method))
            return rest_of(client)

    def connect(self) -> socket.socket:
        """A connection of its own."""
        return socket.create_connection(("127.0.0.1", self.port), 10)

    def request(self, route: str, status: int, _: float) -> None:
        """See RequestObserver."""
        self.requests.append((route, status))


@contextmanager
def gateway(
    folder: Path,
    *,
    tokens: Path | None = None,
    origins: frozenset[str] = frozenset(),
    limits: StreamLimits | None = None,
    wait_ms_max: int = 5_000,
) -> Iterator[Gateway]:
    """Serves until the block is left."""
    path, stop, begun = folder / "store", Event(), Event()
    store = LatestStore(path, Keep(100_000, 10**12))
    store.begin(KIND, "e1")
    said: list[tuple[str, Mapping[str, Any]]] = []

    def report(event: str, fields: Mapping[str, Any]) -> None:
        said.append((event, fields))

    ask = AskStore(path, report)
    live = LiveKind(KIND, ask, Bounds())
    live.begin("e1", store.resume(KIND.name, {0: 0, 1: 0}), anew=False)
    streams = Streams(limits or StreamLimits(100, 500, 15.0, 3_600.0))
    listener = listening("127.0.0.1", 0)
    it = Gateway(listener.getsockname()[1], store, live, streams, said)

    def explain(_: str, __: bool) -> tuple[Mapping[str, Any], list[str]]:
        return {}, []

    authority = Authority(tokens, frozenset({"ks", "ks" + ALL}), report)
    inner = make_app(Served({"ks": live}, {"ks": Popular(live)}, streams, authority, wait_ms_max, "0", explain))
    guard = Guard(inner, authority, Buckets(0), frozenset(), origins, it, report)

    def start(loop: asyncio.AbstractEventLoop) -> None:
        it.on_loop = OnLoop(loop, {"ks": live})
        begun.set()

    thread = Thread(target=serve, args=(Site(guard, listener, 200, streams, authority, report), stop, start))
    thread.start()
    try:
        assert begun.wait(10)
        yield it
    finally:
        stop.set()
        thread.join(15)
        ask.close()
        store.close()
        assert not thread.is_alive()


def request(path: str, *headers: str, method: str = "GET") -> bytes:
    """A request's bytes."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: h", *headers, "", ""]).encode("latin-1")


def rest_of(client: socket.socket) -> bytes:
    """All that comes until the other side ends."""
    got = b""
    with suppress(ConnectionError):
        while chunk := client.recv(1 << 16):
            got += chunk
    return got
