"""A way to a server that can be cut: a TCP proxy on 127.0.0.1. Cut, it refuses connections and drops those it has."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from scorer.local.ports import free_ports

CHUNK_BYTES = 65_536


class Proxy:
    """Passes bytes between `port` and a server of this machine while it is open."""

    def __init__(self, server_port: int) -> None:
        self.server_port = server_port
        (self.port,) = free_ports(1)
        self._listener: socket.socket | None = None
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self.accepted = 0
        self.open()

    def open(self) -> None:
        """Lets connections through."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._start(self._accept, self._listener)

    def cut(self) -> None:
        """Ends all connections and refuses new ones."""
        listener, self._listener = self._listener, None
        for each in [listener, *self._sockets]:
            if each is not None:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits on it
                each.close()
        for thread in self._threads:
            thread.join()
        self._sockets, self._threads = [], []

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.accepted += 1
            server = socket.create_connection(("127.0.0.1", self.server_port))
            self._sockets += [client, server]
            self._start(_pass, client, server)
            self._start(_pass, server, client)

    def _start(self, work: object, *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()


@contextmanager
def proxy(server_port: int) -> Iterator[Proxy]:
    """A proxy for the length of a block."""
    made = Proxy(server_port)
    try:
        yield made
    finally:
        made.cut()


def _pass(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(CHUNK_BYTES):
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)
