"""A way to a Kafka broker on which things go wrong on demand: a TCP proxy on 127.0.0.1 that knows Kafka's frames.

It can be cut, frozen (takes connections and bytes, passes nothing on), slowed, throttled, made deaf in one direction,
and it can hold one request of a kind: it closes the client's connection, keeps its own to the broker, and sends the
request there when it is released. `on_request` is told the api key and the client's id of each request before it is
passed on. `counts` prove that a fault has hit.

Source of the frames: Kafka's protocol guide, "Common Request and Response Structure".
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from scorer.local.ports import free_ports

INIT_PRODUCER_ID, ADD_OFFSETS_TO_TXN, END_TXN = 22, 25, 26
CHUNK_BYTES = 65_536
LOOK_S = 0.1
UP, DOWN = "up", "down"


@dataclass(slots=True)
class Link:
    """One connection of a client, and ours to the broker for it."""

    client: socket.socket
    server: socket.socket
    kept: bool = False


@dataclass(slots=True)
class Held:
    """A request that was held back. `taken` is set once there is one."""

    api_key: int
    taken: threading.Event = field(default_factory=threading.Event)
    frame: bytes = b""
    link: Link | None = None


class KafkaProxy:
    """Passes bytes between `port` and the broker at `server_port`."""

    def __init__(self, server_port: int) -> None:
        self.server_port = server_port
        (self.port,) = free_ports(1)
        self.counts: Counter[str] = Counter()
        self.on_request: Callable[[int, str], object] = lambda _key, _client: None
        self.delay_s = 0.0
        self.bytes_per_s = 0.0
        self._open = {UP: threading.Event(), DOWN: threading.Event()}
        self._deaf: set[str] = set()
        self._hold: Held | None = None
        self._links: list[Link] = []
        self._lock = threading.Lock()
        self._refusing = self._ended = False
        for each in self._open.values():
            each.set()
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self._start(self._accept)

    @property
    def address(self) -> str:
        """Where clients find it."""
        return f"127.0.0.1:{self.port}"

    def freeze(self, *directions: str) -> None:
        """Passes nothing on from now on, both ways or one."""
        for each in directions or (UP, DOWN):
            self._open[each].clear()

    def deafen(self, direction: str) -> None:
        """Throws away what comes in one direction. Heal it: what is left of a connection makes no sense."""
        self._deaf.add(direction)

    def cut(self) -> None:
        """Ends all connections and refuses new ones."""
        self._refusing = True
        self.drop()

    def drop(self) -> None:
        """Ends all connections but those that hold a request; new ones are taken."""
        with self._lock:
            links, self._links = self._links, []
        for link in links:
            self.counts["dropped"] += 1
            self._close(link)

    def heal(self) -> None:
        """Passes everything on again; connections that lost bytes are ended."""
        self._refusing, self.delay_s, self.bytes_per_s = False, 0.0, 0.0
        if self._deaf:
            self._deaf.clear()
            self.drop()
        for each in self._open.values():
            each.set()

    def hold(self, api_key: int) -> Held:
        """Holds the next request of a kind."""
        self._hold = Held(api_key)
        return self._hold

    def let_go(self) -> None:
        """Holds nothing from now on that it does not hold already."""
        self._hold = None

    def release(self, held: Held) -> None:
        """Sends a held request to the broker after all; its answer goes nowhere."""
        assert held.link is not None, "nothing was held"
        self._hold = None
        held.link.server.sendall(held.frame)
        self.counts["released"] += 1
        time.sleep(LOOK_S)
        held.link.kept = False
        self._close(held.link)

    def end(self) -> None:
        """Ends everything."""
        self._ended = True
        self.heal()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()

    def _accept(self) -> None:
        while not self._ended:
            try:
                client, _ = self._listener.accept()
            except OSError:
                if self._listener.fileno() < 0:
                    return
                continue  # a client that is gone already
            if self._refusing:
                self.counts["refused"] += 1
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.server_port), 5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            self._link(Link(client, server))

    def _link(self, link: Link) -> None:
        with suppress(OSError):
            for each in (link.client, link.server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._links.append(link)
        self.counts["accepted"] += 1
        self._start(self._pass_up, link)
        self._start(self._pass_down, link)

    def _pass_up(self, link: Link) -> None:
        waiting = bytearray()
        with suppress(OSError):
            while chunk := link.client.recv(CHUNK_BYTES):
                waiting += chunk
                while len(waiting) >= 8 and len(waiting) >= (size := 4 + int.from_bytes(waiting[:4])):
                    frame = bytes(waiting[:size])
                    del waiting[:size]
                    if not self._forward(link, UP, frame):
                        return
        if not link.kept:
            self._close(link)

    def _pass_down(self, link: Link) -> None:
        with suppress(OSError):
            while chunk := link.server.recv(CHUNK_BYTES):
                if link.kept:
                    continue
                if not self._forward(link, DOWN, chunk):
                    return
        self._close(link)

    def _forward(self, link: Link, direction: str, content: bytes) -> bool:
        """Passes a frame or chunk on, as things stand. False if the connection is over."""
        if not self._open[direction].is_set():
            self.counts[f"frozen {direction}"] += 1
            while not self._open[direction].wait(LOOK_S):
                if link.client.fileno() < 0:
                    return False
        if self.delay_s:
            self.counts["delayed"] += 1
            time.sleep(self.delay_s)
        if self.bytes_per_s:
            self.counts["throttled bytes"] += len(content)
            with self._lock:
                rate = self.bytes_per_s
            time.sleep(len(content) / rate if rate else 0.0)
        if direction in self._deaf:
            self.counts[f"deaf {direction}"] += 1
            return True
        if direction == UP:
            if self._holds(link, content):
                return False
            size = int.from_bytes(content[12:14])
            self.on_request(int.from_bytes(content[4:6]), content[14 : 14 + size].decode("utf-8", "replace"))
        (link.server if direction == UP else link.client).sendall(content)
        return True

    def _holds(self, link: Link, frame: bytes) -> bool:
        held = self._hold
        if held is None or held.taken.is_set() or int.from_bytes(frame[4:6]) != held.api_key:
            return False
        with self._lock:
            if held.taken.is_set():
                return False
            link.kept = True
            held.frame, held.link = frame, link
            if link in self._links:
                self._links.remove(link)
            held.taken.set()
        self.counts["held"] += 1
        with suppress(OSError):
            link.client.shutdown(socket.SHUT_RDWR)
        link.client.close()
        return True

    def _close(self, link: Link) -> None:
        if link.kept:
            return
        with self._lock:
            if link in self._links:
                self._links.remove(link)
        for each in (link.client, link.server):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits on it
            each.close()

    def _start(self, work: object, *arguments: Link) -> None:
        threading.Thread(target=work, args=arguments, daemon=True).start()  # type: ignore[arg-type]


@contextmanager
def kafka_proxy(server_port: int) -> Iterator[KafkaProxy]:
    """A proxy for the length of a block."""
    made = KafkaProxy(server_port)
    try:
        yield made
    finally:
        made.end()
