"""What runs beside the answers: the streams' upkeep and the tokens file, and how a gateway ends."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from scorer.core.errors import TransientError
from scorer.edges.latest_reader import StoreReader
from scorer.edges.latest_store import Keep, LatestStore
from scorer.edges.web import serve as module
from scorer.edges.web.serve import AskStore, Site, listening, serve
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


def test_a_store_that_cannot_be_read_is_said_now_and_then_and_what_to_do_where_it_is_damaged(tmp_path: Path) -> None:
    said: list[Mapping[str, Any]] = []
    LatestStore(tmp_path / "store", Keep(1, 1)).close()
    ask = AskStore(tmp_path / "store", lambda _, fields: said.append(fields))

    def damaged(_: StoreReader) -> None:
        error = sqlite3.DatabaseError("malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT | 1 << 8
        raise error

    async def scenario() -> None:
        for _ in range(3):
            with pytest.raises(TransientError, match="delete it"):
                await ask(damaged)
        assert await ask(lambda store: store.latest("ks", "a")) is None

    asyncio.run(scenario())
    ask.close()
    assert [fields["why"] for fields in said] == ["the store does not answer: malformed; delete it, it is only a cache"]
