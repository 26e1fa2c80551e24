"""A lean HTTP/1.1 client for load: keep-alive, one request at a time per connection, nothing parsed but what counts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Reply:
    """Status and body of an answer."""

    status: int
    body: bytes


@dataclass(slots=True)
class _Wire(asyncio.Protocol):
    waiter: asyncio.Future[Reply] | None = None
    _buffer: bytes = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end or self.waiter is None:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        if len(rest) >= length:
            waiter, self.waiter, self._buffer = self.waiter, None, rest[length:]
            if not waiter.done():
                waiter.set_result(Reply(int(head[9:12]), rest[:length]))

    def connection_lost(self, error: Exception | None) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_exception(error or ConnectionError("the server has hung up"))


@dataclass(slots=True)
class Connection:
    """One connection to a server on 127.0.0.1."""

    port: int
    _wire: _Wire = field(default_factory=_Wire)
    _transport: asyncio.Transport | None = None

    async def open(self) -> Connection:
        """Connects."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_connection(lambda: self._wire, "127.0.0.1", self.port)
        return self

    async def get(self, target: str) -> Reply:
        """Asks for a path with its query and waits for the whole answer."""
        assert self._transport is not None
        self._wire.waiter = asyncio.get_running_loop().create_future()
        self._transport.write(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n\r\n".encode())
        return await self._wire.waiter

    def close(self) -> None:
        """Hangs up."""
        if self._transport is not None:
            self._transport.close()
