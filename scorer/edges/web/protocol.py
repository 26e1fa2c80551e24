"""uvicorn's HTTP protocol with what it lacks: limits on a request's head, on connections, and on who does not read."""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from scorer.edges.web.problems import MEDIA_TYPE, document

HEAD_BYTES_MAX = 32 << 10
HEAD_S_MAX = 10.0
STUCK_S_MAX = 30.0
"""For how long a client may take nothing of what is to be sent to it. Looked at only so often, so one that stops in
between is cut off within twice that time."""
TAKE_OVER = "scorer.take_over"
"""Key of a request's scope: a function for an answer that watches by itself whether its client reads. It returns what
ends the connection at once, unsent bytes and all."""


def protocol(connections_max: int) -> type[asyncio.Protocol]:
    """The protocol class for a server with at most so many connections."""
    return type("Protocol", (_Protocol,), {"connections_max": connections_max})


class _Protocol(HttpToolsProtocol):
    connections_max: int
    _head_bytes = 0
    _in_head = True
    _timer: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None
    _taken_over = False
    _answering: RequestResponseCycle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.connections_max:
            transport.abort()
            return
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._stop_watching()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # uvicorn leaves it running where the client has reset the connection
        if self._answering is not None and not self._answering.response_complete:
            # uvicorn tells the request that came last, which may wait behind the one that is being answered.
            self._answering.disconnected = True
            self._answering.message_event.set()

    def data_received(self, data: bytes) -> None:
        if self._in_head and self._timer is None:
            self._wait_for_head()
        while data and self._in_head and not self.transport.is_closing():
            # One read may hold a head and a body behind it; only the head counts.
            room = HEAD_BYTES_MAX - self._head_bytes
            if room == 0:
                self._refuse(431, f"a request's head has at most {HEAD_BYTES_MAX} bytes")
                return
            self._head_bytes += len(data[:room])
            super().data_received(data[:room])
            data = data[room:]
        if data and not self.transport.is_closing():
            super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[TAKE_OVER] = self._take_over  # type: ignore[literal-required]

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head, self._head_bytes = True, 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's text is no problem document
        self._refuse(400, "this is no valid HTTP request; in a path, all but ASCII is percent-encoded")

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():  # else the rest has to be taken as well
            self._stop_watching()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._taken_over = False
        if self.flow.write_paused or self.transport.is_closing():
            self._watch()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._watch()  # what is unsent still goes to a client that reads

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _unsupported_upgrade_warning(self) -> None:
        """Clients that offer HTTP/2 are answered in HTTP/1.1. That is in order, so nothing need be said."""

    def _refuse(self, status: int, detail: str) -> None:
        body = document(status, detail)
        head = f"HTTP/1.1 {status} \r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
        self.transport.close()
        self._watch()

    def _wait_for_head(self) -> None:
        self._timer = self.loop.call_later(HEAD_S_MAX, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _take_over(self) -> Callable[[], None]:
        self._taken_over = True
        self._stop_watching()
        return self.transport.abort

    def _watch(self) -> None:
        if self._stuck is None and not self._taken_over:
            self._stuck = self.loop.call_later(STUCK_S_MAX, self._look, self._untaken_bytes())

    def _look(self, untaken_before: int) -> None:
        self._stuck = None
        if self._untaken_bytes() < untaken_before:
            self._watch()
        else:
            self.transport.abort()

    def _untaken_bytes(self) -> int:
        # The kernel takes more from us only once a third of its own buffer, of megabytes, is free. Until then a slow
        # client's progress shows there alone.
        answer = fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        (in_kernel,) = struct.unpack("i", answer)
        return self.transport.get_write_buffer_size() + int(in_kernel)

    def _stop_watching(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None
