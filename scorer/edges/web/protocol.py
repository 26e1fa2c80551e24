"""uvicorn's HTTP protocol with what it lacks: limits on a request's head and on connections, and a way to hang up."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from scorer.edges.web.problems import MEDIA_TYPE, document

HEAD_BYTES_MAX = 32 << 10
HEAD_S_MAX = 10.0
ABORT = "scorer.abort"
"""Key of a request's scope: a function that ends its connection at once, unsent bytes and all."""


def protocol(connections_max: int) -> type[asyncio.Protocol]:
    """The protocol class for a server with at most so many connections."""

    class Protocol(HttpToolsProtocol):
        _head_bytes = 0
        _in_head = True
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > connections_max:
                transport.abort()
                return
            self._wait_for_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._in_head and self._timer is None:
                self._wait_for_head()
            while data and self._in_head and not self.transport.is_closing():
                # One read may hold a head and a body behind it; only the head counts.
                room = HEAD_BYTES_MAX - self._head_bytes
                if room == 0:
                    _refuse(self.transport, 431, f"a request's head has at most {HEAD_BYTES_MAX} bytes")
                    return
                self._head_bytes += len(data[:room])
                super().data_received(data[:room])
                data = data[room:]
            if data and not self.transport.is_closing():
                super().data_received(data)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self.scope[ABORT] = self.transport.abort  # type: ignore[literal-required]

        def on_headers_complete(self) -> None:
            self._in_head = False
            self._stop_waiting()
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            self._in_head, self._head_bytes = True, 0
            super().on_message_complete()

        def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's text is no problem document
            _refuse(self.transport, 400, "this is no valid HTTP request")

        def _wait_for_head(self) -> None:
            self._timer = self.loop.call_later(HEAD_S_MAX, self.transport.abort)

        def _stop_waiting(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    return Protocol


def _refuse(transport: asyncio.Transport, status: int, detail: str) -> None:
    body = document(status, detail)
    head = f"HTTP/1.1 {status} \r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
    transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
    transport.close()
