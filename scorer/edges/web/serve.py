"""Runs the gateway's event loop: uvicorn, the streams' upkeep, the tokens file, what other threads tell it."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Error as StoreError
from threading import Event
from typing import Any, TypeVar

import uvicorn
import uvloop
from starlette.types import ASGIApp

from scorer.core.answers import Positions, Reading
from scorer.core.errors import ConfigError, TransientError
from scorer.core.ports import Report
from scorer.edges.latest_reader import StoreReader
from scorer.edges.latest_store import is_damage
from scorer.edges.web.live import LiveKind
from scorer.edges.web.protocol import protocol
from scorer.edges.web.streams import Streams
from scorer.edges.web.tokens import Authority

BACKLOG = 2_048
KEEP_ALIVE_S = 30
GRACE_S = 5
LOOK_EVERY_S = 0.1
RELOAD_EVERY_S = 1.0
SAY_EVERY_S = 10.0

T = TypeVar("T")


class AskStore:
    """Implements live.OnDisk: one thread with its own connection, so that no disk holds up the loop."""

    def __init__(self, path: Path, report: Report) -> None:
        self._reader = StoreReader(path)
        self._report, self._said_s = report, -SAY_EVERY_S
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="store-reader")

    def __call__(self, question: Callable[[StoreReader], T]) -> Awaitable[T]:
        """See live.OnDisk."""
        return asyncio.get_running_loop().run_in_executor(self._pool, self._ask, question)

    def close(self) -> None:
        """Ends the thread and lets go of the file."""
        self._pool.shutdown()
        self._reader.close()

    def _ask(self, question: Callable[[StoreReader], T]) -> T:
        try:
            return question(self._reader)
        except StoreError as error:
            why = f"the store does not answer: {error}{'; delete it, it is only a cache' if is_damage(error) else ''}"
            if time.monotonic() - self._said_s >= SAY_EVERY_S:  # else as often as somebody asks
                self._said_s = time.monotonic()
                self._report("store.waiting", {"why": why})
            raise TransientError(why) from error


@dataclass(frozen=True, slots=True)
class OnLoop:
    """Implements services.gateway_writing.Listener: hands on to the loop what the follower's threads tell."""

    loop: asyncio.AbstractEventLoop
    kinds: Mapping[str, LiveKind]

    def begun(self, kind: str, epoch: str, positions: Positions, anew: bool) -> None:
        """See Listener."""
        self._tell(self.kinds[kind].begin, epoch, positions, anew)

    def arrived(self, reading: Reading, number: int) -> None:
        """See Listener."""
        self._tell(self.kinds[reading.kind].arrived, reading, number)

    def written(self, number: int) -> None:
        """See Listener."""
        for kind in self.kinds.values():
            self._tell(kind.written, number)

    def _tell(self, method: Callable[..., None], *what: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self.loop.call_soon_threadsafe(method, *what)


class _Server(uvicorn.Server):
    """Leaves signals to us."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing."""
        yield


@dataclass(frozen=True, slots=True)
class Site:
    """Where and how to serve. `app` is guarded."""

    app: ASGIApp
    listener: socket.socket
    connections_max: int
    streams: Streams
    authority: Authority
    report: Report


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        ConfigError: the address cannot be had.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigError(f"gateway.port {port} on {host} cannot be had ({error.strerror}); set another") from error


def serve(site: Site, stop: Event, begun: Callable[[asyncio.AbstractEventLoop], None]) -> None:
    """Serves until `stop` is set; `begun` is called once the loop runs, to start what tells it things."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.get_loop().set_exception_handler(lambda _, told: _say(site.report, told))
        runner.run(_serve(site, stop, begun))


async def _serve(site: Site, stop: Event, begun: Callable[[asyncio.AbstractEventLoop], None]) -> None:
    logger = logging.getLogger("uvicorn.error")
    logger.addHandler(_Forward(site.report))
    logger.propagate = False
    config = uvicorn.Config(
        site.app,
        http=protocol(site.connections_max),
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        backlog=BACKLOG,
    )
    server = _Server(config)
    begun(asyncio.get_running_loop())
    upkeep = [asyncio.ensure_future(each) for each in (site.streams.tend(), _reload(site.authority))]
    serving = asyncio.ensure_future(server.serve(sockets=[site.listener]))
    while not (stop.is_set() or serving.done() or any(each.done() for each in upkeep)):
        await asyncio.sleep(LOOK_EVERY_S)
    server.should_exit = True
    site.streams.close_all()
    await serving
    for each in upkeep:
        each.cancel()
        with suppress(asyncio.CancelledError):
            await each


async def _reload(authority: Authority) -> None:
    while True:
        await asyncio.sleep(RELOAD_EVERY_S)
        authority.reload()


class _Forward(logging.Handler):
    """uvicorn's own words as log events, without values."""

    def __init__(self, report: Report) -> None:
        super().__init__(logging.WARNING)
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        """Reports one."""
        self._report("http.server", {"text": str(record.msg)})


def _say(report: Report, told: Mapping[str, Any]) -> None:
    error = told.get("exception")
    report("http.failed", {"kind": type(error).__name__, "at": str(told.get("message", ""))})
