"""What runs beside the answers: the streams' upkeep and the tokens file, and how a gateway ends."""

from __future__ import annotations

import asyncio
from threading import Event
from typing import Any

import pytest

from scorer.edges.web import serve as module
from scorer.edges.web.serve import Site, listening, serve
from scorer.edges.web.streams import StreamLimits, Streams
from scorer.edges.web.tokens import Authority


def silent(*_: Any) -> None:
    """Reports nothing."""


@pytest.mark.parametrize("broken", ["streams", "authority"])
def test_a_gateway_ends_with_the_fault_where_what_runs_beside_its_answers_does(
    broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a token that is removed would be good for ever, or a stream of its."""

    async def fails(_: Streams) -> None:
        raise ArithmeticError

    def fail(_: Authority) -> None:
        raise ArithmeticError

    monkeypatch.setattr(module, "RELOAD_EVERY_S", 0.05)
    monkeypatch.setattr(*((Streams, "tend", fails) if broken == "streams" else (Authority, "reload", fail)))
    streams = Streams(StreamLimits(1, 1, 1.0, 1.0))
    site = Site(silent, listening("127.0.0.1", 0), 1, streams, Authority(None, frozenset(), silent), silent)  # type: ignore[arg-type]
    stop = Event()

    async def overdue() -> None:
        await asyncio.sleep(5)
        stop.set()

    with pytest.raises(ArithmeticError):
        serve(site, stop, lambda loop: asyncio.ensure_future(overdue(), loop=loop))
    assert not stop.is_set()
