"""A reader who missed more than one page holds: what he is sent, and under which ids, over a real store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from scorer.core.answers import Answer, Mark, parse_mark
from scorer.core.errors import TransientError
from scorer.edges.latest_reader import StoreReader
from scorer.edges.latest_store import Keep, LatestStore
from scorer.edges.web import streams as module
from scorer.edges.web.live import Bounds, LiveKind
from scorer.edges.web.streams import StreamLimits, StreamResponse, Streams
from tests.unit.edges.web.live_world import KIND, answer, reading

ROWS = 20


class Gateway:
    """A store whose log holds so many rows, and what is live of it."""

    def __init__(self, path: Path, log_rows: int, tail_rows: int) -> None:
        self.store = LatestStore(path, Keep(log_rows, 10**12))
        self.store.begin(KIND, "e1")
        self.disk, self.down, self.number = StoreReader(path), False, 0
        self.live = LiveKind(KIND, self.ask, Bounds(tail_rows_max=tail_rows))
        self.live.begin("e1", self.store.resume(KIND.name, {0: 0, 1: 0}), anew=False)
        self.streams = Streams(StreamLimits(10, 100, 10.0, 100.0))

    async def ask(self, question: Callable[[StoreReader], Any]) -> Any:
        await asyncio.sleep(0)
        if self.down:
            raise TransientError("the store does not answer")
        return question(self.disk)

    def written(self, *answers: Answer) -> None:
        self.number += 1
        self.live.arrived(reading(*answers), self.number)
        self.store.write([reading(*answers)], 0)
        self.store.tidy(0)
        self.live.written(self.number)

    @asynccontextmanager
    async def follows(
        self, last_id: str | None, entity: str | None = None, back: int = 0
    ) -> AsyncIterator[Callable[[], list[tuple[str, bytes, str]]]]:
        """A reader: (event, data, id) of each block that came so far."""
        sent: list[bytes] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message.get("body", b""))
            await asyncio.sleep(0)

        response = StreamResponse(self.streams, self.live, entity, last_id, back, lambda: True)
        task = asyncio.ensure_future(response({"type": "http"}, asyncio.Event().wait, send))  # type: ignore[arg-type]
        await asyncio.sleep(0.04)
        yield lambda: [_block(each) for each in b"".join(sent).decode().split("\n\n") if each]
        self.streams.close_all()
        self.streams._closing = False
        await asyncio.wait_for(task, 1)


def _block(text: str) -> tuple[str, bytes, str]:
    fields = dict(line.split(": ", 1) for line in text.split("\n") if not line.startswith(":"))
    return fields.get("event", ""), fields.get("data", "").encode(), fields["id"]


def rows() -> list[Answer]:
    """In both partitions, every second one of "a", and the last ones of "b" alone."""
    return [
        answer("b" if at % 2 or at > 15 else "a", at, at // 3, part=min(at % 3, 1)) for at in range(ROWS) if at % 3 < 2
    ]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Gateway]]:
    monkeypatch.setattr(module, "PAGE_ROWS", 3)
    all_: list[Gateway] = []

    def make(log_rows: int = 1_000, tail_rows: int = 0) -> Gateway:
        all_.append(Gateway(tmp_path / "store", log_rows, tail_rows))
        for each in rows():
            all_[-1].written(each)
        return all_[-1]

    yield make
    for each in all_:
        each.disk.close()
        each.store.close()


@pytest.mark.parametrize("tail_rows", [0, 8, 1_000], ids=["from disk", "from both", "from memory"])
@pytest.mark.parametrize("entity", [None, "a"])
def test_every_page_comes_once_and_in_order_from_wherever_the_reader_goes_on(
    made: Callable[..., Gateway], tail_rows: int, entity: str | None
) -> None:
    async def scenario() -> None:
        gateway = made(tail_rows=tail_rows)
        wanted = [b'{"x":%d}' % each.order[0] for each in rows() if entity in (None, each.entity)]
        async with gateway.follows(str(Mark("e1", {})), entity) as seen:
            opening, *blocks = seen()
        assert opening[2] == str(Mark("e1", {}))
        assert [block[:2] for block in blocks] == [("prediction", data) for data in wanted]
        for at, (_, _, last_id) in enumerate(blocks, 1):
            async with gateway.follows(last_id, entity) as seen:
                assert [data for event, data, _ in seen() if event] == wanted[at:]

    asyncio.run(scenario())


def test_who_has_caught_up_with_what_concerns_others_is_told_what_comes_then(made: Callable[..., Gateway]) -> None:
    async def scenario() -> None:
        gateway = made()
        async with gateway.follows(str(Mark("e1", {})), "a") as seen:
            before = len(seen())
            gateway.written(answer("a", 100, 50))
            await asyncio.sleep(0.05)
            ((event, data, last_id),) = seen()[before:]
            assert (event, data) == ("prediction", b'{"x":100}')
            assert parse_mark(last_id) == gateway.live.mark

    asyncio.run(scenario())


def test_one_gap_says_what_the_log_no_longer_has_and_all_that_is_left_follows(made: Callable[..., Gateway]) -> None:
    async def scenario() -> None:
        gateway = made(log_rows=7)
        async with gateway.follows(str(Mark("e1", {0: 1}))) as seen:
            _, gap, *blocks = seen()
        assert (gap[0], gateway.streams.gaps) == ("gap", 1)
        assert [data for _, data, _ in blocks] == [b'{"x":%d}' % each.order[0] for each in rows()[-7:]]
        lost = parse_mark(gap[2])
        assert lost is not None
        assert lost.positions == {0: rows()[-7].offset + (rows()[-7].partition == 1), 1: rows()[-7].offset}

    asyncio.run(scenario())


def test_the_latest_come_first_where_a_reader_asks_for_them_and_has_no_position(made: Callable[..., Gateway]) -> None:
    async def scenario() -> None:
        gateway = made()
        for last_id, back, wanted in ((None, 4, rows()[-4:]), (None, 0, []), ("", 2, rows()[-2:])):
            async with gateway.follows(last_id, back=back) as seen:
                assert [data for event, data, _ in seen() if event] == [b'{"x":%d}' % each.order[0] for each in wanted]
        async with gateway.follows(str(gateway.live.mark), back=4) as seen:
            assert [event for event, _, _ in seen() if event] == []
        async with gateway.follows("e1.none", back=4) as seen:
            assert [event for event, _, _ in seen()] == ["gap"]

    asyncio.run(scenario())


def test_a_stream_whose_store_does_not_answer_ends_and_its_client_comes_back(made: Callable[..., Gateway]) -> None:
    async def scenario() -> None:
        gateway = made()
        gateway.down = True
        async with gateway.follows(str(Mark("e1", {}))) as seen:
            assert [event for event, _, _ in seen()] == [""]
            assert len(gateway.streams) == 0

    asyncio.run(scenario())
