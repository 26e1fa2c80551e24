"""Clients that take no answer: their connections are cut, so that others get one. Who reads slowly is waited for."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from threading import Event, Thread
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from scorer.edges.web import protocol as limits
from scorer.edges.web.protocol import TAKE_OVER, protocol
from scorer.edges.web.serve import Site, listening, serve
from scorer.edges.web.streams import StreamLimits, Streams
from scorer.edges.web.tokens import Authority

STUCK_S = 0.3
LARGE = b"x" * (8 << 20)  # more than what lies between the two takes
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
LAST_GET = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


def silent(*_: Any) -> None:
    """Reports nothing."""


async def large(scope: Any, _: Any, send: Any) -> None:
    """Answers much; at /own it watches its client by itself."""
    if scope["path"] == "/own":
        scope[TAKE_OVER]()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(LARGE))]})
    await send({"type": "http.response.body", "body": LARGE[1:], "more_body": True})
    await send({"type": "http.response.body", "body": LARGE[:1]})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server that has one connection at a time."""
    monkeypatch.setattr(limits, "STUCK_S_MAX", STUCK_S)
    listener, stop, begun = listening("127.0.0.1", 0), Event(), Event()
    streams = Streams(StreamLimits(1, 1, 1.0, 1.0))
    site = Site(large, listener, 1, streams, Authority(None, frozenset(), silent), silent)
    server = Thread(target=serve, args=(site, stop, lambda _: begun.set()))
    server.start()
    assert begun.wait(5)
    yield listener.getsockname()[1]
    stop.set()
    server.join(10)


@contextmanager
def unread(port: int, *requests: bytes) -> Iterator[socket.socket]:
    """A client that has asked and has taken nothing."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        client.sendall(b"".join(requests))
        yield client


def answered(port: int) -> bool:
    """Whether another client gets a whole answer."""
    with suppress(ConnectionError), socket.create_connection(("127.0.0.1", port), 5) as client:
        client.sendall(LAST_GET)
        return rest_of(client) > len(LARGE)
    return False


def rest_of(client: socket.socket) -> int:
    """Reads to the end; returns how many bytes came."""
    got = 0
    while chunk := client.recv(1 << 20):
        got += len(chunk)
    return got


def answered_in_time(port: int) -> bool:
    until_s = time.monotonic() + 5
    while not answered(port):
        if time.monotonic() > until_s:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize(
    "requests",
    [[GET] * 20, [LAST_GET]],
    ids=["pipelined", "the last one"],
)
def test_a_client_that_does_not_read_loses_its_connection(port: int, requests: list[bytes]) -> None:
    with unread(port, *requests):
        assert answered_in_time(port)


def test_an_answer_that_watches_its_client_by_itself_is_left_alone_and_what_comes_behind_it_is_not(port: int) -> None:
    with unread(port, *[GET.replace(b"/ ", b"/own ")] * 20):
        time.sleep(3 * STUCK_S)
        assert not answered(port)


@pytest.mark.parametrize("request_", [GET + LAST_GET, LAST_GET], ids=["pipelined", "the last one"])
def test_a_client_that_reads_slowly_gets_its_whole_answer(port: int, request_: bytes) -> None:
    with unread(port, request_) as client:
        got, until_s = 0, time.monotonic() + 4 * STUCK_S
        while time.monotonic() < until_s:  # far too little for the server's kernel to take more of the answer
            got += len(client.recv(4096))
            time.sleep(STUCK_S / 10)
        assert got + rest_of(client) > request_.count(b"GET") * len(LARGE)


class Transport:
    """A connection whose client reads when it is told to."""

    def __init__(self, socket_: socket.socket) -> None:
        self.unsent, self.ended, self.written, self._socket = 0, "", b"", socket_

    def get_extra_info(self, name: str) -> Any:
        return self._socket if name == "socket" else None

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def write(self, data: bytes) -> None:
        self.unsent += len(data)
        self.written += data[:100]

    def is_closing(self) -> bool:
        return bool(self.ended)

    def pause_reading(self) -> None:
        """Nothing is read here anyway."""

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.ended = "aborted"


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Transport, Any]]:
    """A connection and its protocol."""
    config = uvicorn.Config(large, ws="none", lifespan="off", log_config=None)
    made: Any = protocol(1)(config, ServerState(), {})  # type: ignore[call-arg]
    with socket.socket() as unconnected:  # its kernel holds nothing that is unsent
        transport = Transport(unconnected)
        made.connection_made(transport)
        yield transport, made
        made.connection_lost(None)


@pytest.mark.parametrize(("taken_each_time", "ended"), [(0, "aborted"), (1, "closed")])
def test_an_idle_connection_is_closed_and_what_is_unsent_goes_to_whoever_goes_on_reading(
    taken_each_time: int, ended: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STUCK_S_MAX", 0.05)

    async def scenario() -> None:
        async with connected() as (transport, made):
            transport.unsent = 100
            made.timeout_keep_alive_handler()
            assert transport.ended == "closed"
            for _ in range(20):
                await asyncio.sleep(0.01)
                transport.unsent -= taken_each_time
            assert transport.ended == ended

    asyncio.run(scenario())


def pause(made: Any) -> None:
    made.pause_writing()


def resume(made: Any) -> None:
    made.resume_writing()


def take_over(made: Any) -> None:
    made.data_received(GET)
    made.scope[TAKE_OVER]()


def complete(made: Any) -> None:
    made.on_response_complete()


def refuse(made: Any) -> None:
    made.data_received(b"nonsense\r\n\r\n")


async def end_of(steps: list[Callable[[Any], None]]) -> str:
    """How a connection has ended a while after these steps; "" if it stands."""
    async with connected() as (transport, made):
        for step in steps:
            step(made)
        await asyncio.sleep(0.15)
        ended: str = transport.ended
        return ended


@pytest.mark.parametrize(
    ("steps", "ended"),
    [
        ([pause], "aborted"),
        ([pause, resume], ""),
        ([take_over, pause], ""),
        ([pause, take_over], ""),
        ([take_over, pause, complete], "aborted"),
        ([refuse], "aborted"),
        ([pause, refuse, resume], "aborted"),
    ],
)
def test_who_does_not_read_in_time_is_cut_off_unless_its_answer_watches_it(
    steps: list[Callable[[Any], None]], ended: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STUCK_S_MAX", 0.05)
    assert asyncio.run(end_of(steps)) == ended


HEAD = b"GET / HTTP/1.1\r\nHost: h\r\nx: %b\r\n\r\n"


def test_a_head_is_limited_in_bytes_and_each_request_has_its_own() -> None:
    async def scenario() -> None:
        async with connected() as (transport, made):
            for _ in range(3):
                made.data_received(HEAD % (b"x" * (limits.HEAD_BYTES_MAX // 2)))
            assert transport.ended == ""
            made.data_received(HEAD % (b"x" * limits.HEAD_BYTES_MAX))
            assert transport.ended == "closed"
            assert b"HTTP/1.1 431 " in transport.written

    asyncio.run(scenario())


def whole(made: Any) -> None:
    made.data_received(HEAD % b"")


def part(made: Any) -> None:
    made.data_received(HEAD[:20])


@pytest.mark.parametrize(
    ("steps", "ended"), [([], "aborted"), ([part], "aborted"), ([whole], ""), ([whole, part], "aborted")]
)
def test_a_head_has_to_come_in_time_and_once_it_is_there_its_answer_may_take_longer(
    steps: list[Callable[[Any], None]], ended: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HEAD_S_MAX", 0.05)
    assert asyncio.run(end_of(steps)) == ended
