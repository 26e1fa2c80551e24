"""Streams over a real store: what a reader who comes back is told, of erasures above all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scorer.core.answers import Answer, Mark
from scorer.edges.latest_reader import StoreReader
from scorer.edges.latest_store import Keep, LatestStore
from scorer.edges.web import streams as module
from scorer.edges.web.live import Bounds, LiveKind
from scorer.edges.web.protocol import TAKE_OVER
from scorer.edges.web.streams import StreamLimits, StreamResponse, Streams
from tests.unit.edges.web.live_world import KIND, answer, erasure, reading


class Gateway:
    """A store and what is live of it; the tail keeps nothing that is written."""

    def __init__(self, path: Path) -> None:
        self.path, self.number = path, 0
        self.store = LatestStore(path, Keep(1_000, 10**12))
        self.begin()

    def begin(self) -> None:
        self.store.begin(KIND, "e1")
        self.disk = StoreReader(self.path)
        self.live = LiveKind(KIND, self.ask, Bounds(tail_rows_max=0))
        self.live.begin("e1", self.store.resume(KIND.name, {0: 0, 1: 0}), anew=False)

    async def ask(self, question: Callable[[StoreReader], Any]) -> Any:
        return question(self.disk)

    def close(self) -> None:
        self.disk.close()
        self.store.close()

    def restart(self) -> None:
        self.close()
        self.store = LatestStore(self.path, Keep(1_000, 10**12))
        self.begin()

    def read(self, *answers: Answer) -> None:
        """They come from Kafka, and the disk is full."""
        self.number += 1
        self.live.arrived(reading(*answers), self.number)

    def written(self, *answers: Answer) -> None:
        """They come from Kafka and are written."""
        self.read(*answers)
        self.store.write([reading(*answers)], 0)
        self.live.written(self.number)

    async def told(self, since: Mark, entity: str | None = None) -> list[bytes]:
        """The events that a reader who comes back with this position gets, until there are no more for now."""
        sent: list[bytes] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message.get("body", b""))

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(0.05)
            return {"type": "http.disconnect"}

        streams = Streams(StreamLimits(10, 100, 10.0, 100.0))
        response = StreamResponse(streams, self.live, entity, str(since), 0, lambda: True)
        await response({"type": "http"}, receive, send)
        assert (self.live._subscribers.everyone(), len(streams)) == ([], 0), "who has left is told no more"
        lines = b"".join(sent).splitlines()
        events = [line.removeprefix(b"event: ") for line in lines if line.startswith(b"event: ")]
        datas = [line.removeprefix(b"data: ") for line in lines if line.startswith(b"data: ")]
        return [event + b" " + data for event, data in zip(events, datas, strict=True)]


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    made = Gateway(tmp_path / "store")
    yield made
    made.close()


def test_what_is_erased_leaves_streams_before_it_leaves_the_disk(gateway: Gateway) -> None:
    async def scenario() -> None:
        gateway.written(answer("a", 1, 0), answer("b", 2, 1), answer("a", 3, 0, part=1))
        gateway.read(erasure("a", 2))
        assert await gateway.told(Mark("e1", {})) == [b'prediction {"x":2}', b'erased {"id":"a"}']
        gateway.read(answer("a", 4, 3))
        after = [b'prediction {"x":2}', b'erased {"id":"a"}', b'prediction {"x":4}']
        assert await gateway.told(Mark("e1", {})) == after

    asyncio.run(scenario())


def test_what_is_erased_is_no_answer_for_its_event_before_it_leaves_the_disk(gateway: Gateway) -> None:
    async def scenario() -> None:
        gateway.written(answer("a", 1, 0), answer("b", 2, 1))
        gateway.read(erasure("a", 2))
        assert await gateway.live.of_event("a", "e1", 0.01) is None
        assert await gateway.live.of_event("b", "e2", 0.01) is not None
        gateway.written(answer("a", 3, 3))
        assert await gateway.live.of_event("a", "e3", 0.01) == answer("a", 3, 3)

    asyncio.run(scenario())


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("entity", [None, "a"])
def test_a_reader_who_was_away_when_somebody_was_erased_is_told_of_it(
    gateway: Gateway, entity: str | None, restarted: bool
) -> None:
    async def scenario() -> None:
        gateway.written(answer("a", 1, 0))
        gateway.written(erasure("a", 1))
        gateway.written(answer("b", 2, 2))
        if restarted:
            gateway.restart()
        told = await gateway.told(Mark("e1", {0: 1}), entity)
        assert told == [b'erased {"id":"a"}', *([] if entity else [b'prediction {"x":2}'])]

    asyncio.run(scenario())


def test_a_reader_that_is_catching_up_when_the_topic_is_made_anew_is_sent_away_and_comes_back(gateway: Gateway) -> None:
    ask = gateway.live.on_disk

    async def made_anew_meanwhile(question: Callable[[StoreReader], Any]) -> Any:
        page = await ask(question)
        gateway.live.begin("e2", {0: 0, 1: 0}, anew=True)
        return page

    sent: list[bytes] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message.get("body", b""))
        await asyncio.sleep(0)

    async def scenario() -> None:
        gateway.written(answer("a", 1, 0))
        gateway.live.on_disk = made_anew_meanwhile
        streams = Streams(StreamLimits(10, 100, 10.0, 100.0))
        response = StreamResponse(streams, gateway.live, None, str(Mark("e1", {})), 0, lambda: True)
        await asyncio.wait_for(response({"type": "http"}, asyncio.Event().wait, send), 5)  # type: ignore[arg-type]
        assert b"prediction" not in b"".join(sent), "it may be of the new topic, and would stand under the old position"

    asyncio.run(scenario())


@pytest.mark.parametrize("stuck_at", ["http.response.start", "prediction", "the end"])
def test_a_client_that_does_not_read_is_cut_off_wherever_its_stream_is(
    gateway: Gateway, stuck_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STUCK_S_MAX", 0.1)

    async def scenario() -> None:
        gateway.written(answer("a", 1, 0))
        aborted = asyncio.Event()

        async def send(message: dict[str, Any]) -> None:
            here = message["type"] if message["type"].endswith("start") else str(message["body"])
            if stuck_at in here or (stuck_at == "the end" and not message.get("more_body", True)):
                await aborted.wait()

        async def receive() -> dict[str, Any]:
            await aborted.wait()
            return {"type": "http.disconnect"}

        streams = Streams(StreamLimits(10, 100, 0.1, 0.2))
        response = StreamResponse(streams, gateway.live, None, str(Mark("e1", {})), 0, lambda: True)
        tending = asyncio.ensure_future(streams.tend())
        await asyncio.wait_for(response({"type": "http", TAKE_OVER: lambda: aborted.set}, receive, send), 5)
        tending.cancel()
        assert (streams.cut, len(streams)) == (1, 0)

    asyncio.run(scenario())


def test_a_reader_of_a_topic_that_was_made_anew_is_told_of_the_gap_and_gets_what_there_is(gateway: Gateway) -> None:
    async def scenario() -> None:
        gateway.written(answer("a", 1, 0))
        gap, *told = await gateway.told(Mark("e0", {0: 1}))
        assert gap.startswith(b"gap ")
        assert b"made anew" in gap
        assert told == [b'prediction {"x":1}']

    asyncio.run(scenario())


def test_an_idle_stream_beats_as_often_as_it_was_told_to_and_no_oftener(gateway: Gateway) -> None:
    async def scenario() -> None:
        sent: list[bytes] = []
        began_s = time.monotonic()

        async def send(message: dict[str, Any]) -> None:
            sent.append(message.get("body", b""))

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(0.9)
            return {"type": "http.disconnect"}

        streams = Streams(StreamLimits(10, 100, 0.2, 100.0))
        tending = asyncio.ensure_future(streams.tend())
        await StreamResponse(streams, gateway.live, None, None, 0, lambda: True)({"type": "http"}, receive, send)
        tending.cancel()
        beats = sum(b": beat" in each for each in sent)
        assert 1 <= beats <= (time.monotonic() - began_s) / 0.2

    asyncio.run(scenario())


@pytest.mark.parametrize("positions", [{0: 10**19 - 1}, {0: 2**63, 1: 0}])
def test_a_position_that_no_topic_can_have_is_none_of_ours(gateway: Gateway, positions: dict[int, int]) -> None:
    async def scenario() -> None:
        gateway.written(answer("a", 1, 0), answer("b", 2, 0, part=1))
        (gap,) = await gateway.told(Mark("e1", positions))
        assert b"none of ours" in gap
        assert await gateway.told(Mark("e1", {0: 2**63 - 1, 1: 0})) == [b'prediction {"x":2}']

    asyncio.run(scenario())


def test_a_stream_that_begins_while_the_gateway_stops_ends_at_once(gateway: Gateway) -> None:
    async def scenario() -> None:
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        streams = Streams(StreamLimits(10, 100, 10.0, 100.0))
        streams.close_all()
        response = StreamResponse(streams, gateway.live, None, None, 0, lambda: True)
        await asyncio.wait_for(response({"type": "http"}, asyncio.Event().wait, send), 1)  # type: ignore[arg-type]
        assert [message.get("more_body") for message in sent] == [None, False]
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert (streams._open, streams._sent_s, streams._good) == ({}, {}, {}), "nothing of it is kept"

    asyncio.run(scenario())
