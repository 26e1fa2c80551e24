"""A stream as an ASGI response: catches up from the log, joins what is live, beats, and ends when it must.

Guarantee: from the client's position on every answer comes once, in the order in which it was read, or a `gap` event
says which could not be had. A client that does not read is cut off; nothing waits for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from scorer.core.answers import Mark, parse_mark
from scorer.core.errors import TransientError
from scorer.edges.latest_reader import Page
from scorer.edges.web.events import HEADERS, answer_event, beat_event, gap_event, opening_event
from scorer.edges.web.live import LiveKind
from scorer.edges.web.protocol import STUCK_S_MAX, TAKE_OVER
from scorer.edges.web.subscriber import Subscriber

PAGE_ROWS = 200
LOOK_EVERY_S = 0.25


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Limits of streams: how many, how much may wait for one, how often they beat, how long they last."""

    streams_max: int
    rows_max: int
    beat_s: float
    age_s_max: float


@dataclass(slots=True)
class Streams:
    """Every stream that is open. `cut` counts those that were too slow."""

    limits: StreamLimits
    cut: int = 0
    gaps: int = 0
    _closing: bool = False
    _open: dict[Subscriber, float] = field(default_factory=dict)
    _sent_s: dict[Subscriber, float] = field(default_factory=dict)
    _good: dict[Subscriber, Callable[[], bool]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._open)

    @property
    def full(self) -> bool:
        """Whether there may be no more."""
        return len(self._open) >= self.limits.streams_max

    def open(self, subscriber: Subscriber, still_good: Callable[[], bool]) -> None:
        """Takes one up; it ends once `still_good` says no."""
        self._open[subscriber] = self._sent_s[subscriber] = time.monotonic()
        self._good[subscriber] = still_good
        if self._closing:  # connections are taken for a moment more
            subscriber.end()

    def sent(self, subscriber: Subscriber) -> None:
        """Something was sent to it."""
        self._sent_s[subscriber] = time.monotonic()

    def close(self, subscriber: Subscriber) -> None:
        """It is over."""
        self._open.pop(subscriber, None)
        self._sent_s.pop(subscriber, None)
        self._good.pop(subscriber, None)
        self.cut += subscriber.cut

    def close_all(self) -> None:
        """Ends every stream; clients come back to whoever serves next."""
        self._closing = True
        for subscriber in list(self._open):
            subscriber.end()

    async def tend(self) -> None:
        """Wakes idle streams to beat, ends old ones and those whose token is no longer good, hangs up stuck ones."""
        while True:
            await asyncio.sleep(min(LOOK_EVERY_S, self.limits.beat_s / 2))
            now_s = time.monotonic()
            for subscriber, opened_s in list(self._open.items()):
                busy_s = subscriber.busy_since_s
                if busy_s is not None and now_s - busy_s > STUCK_S_MAX:
                    subscriber.cut_off()
                elif now_s - opened_s >= self.limits.age_s_max or not self._good[subscriber]():
                    subscriber.end()
                elif busy_s is None and now_s - self._sent_s[subscriber] >= self.limits.beat_s:
                    subscriber.wake()


@dataclass(slots=True)
class StreamResponse:
    """One client's stream of one kind, of one entity or (None) of all.

    Attributes:
        last_id: the client's Last-Event-ID, or nothing.
        back: how many of the latest logged answers come first where there is no last_id.
        still_good: whether its token is.
    """

    streams: Streams
    live: LiveKind
    entity: str | None
    last_id: str | None
    back: int
    still_good: Callable[[], bool]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves until the client leaves, is cut off, or the stream ends."""
        abort: Callable[[], None] = scope[TAKE_OVER]() if TAKE_OVER in scope else lambda: None
        subscriber = Subscriber(self.entity, self.streams.limits.rows_max, abort)
        self.streams.open(subscriber, self.still_good)
        gone = asyncio.ensure_future(_disconnected(receive, subscriber))
        try:
            start = {"type": "http.response.start", "status": 200, "headers": list(HEADERS)}
            await self._hand_over(subscriber, send, start)
            with suppress(TransientError):  # the store does not answer: the client comes back with its position
                await self._catch_up(subscriber, send)
                await self._follow(subscriber, send)
            await self._hand_over(subscriber, send, {"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()
            self.live.leave(subscriber)
            self.streams.close(subscriber)

    async def _catch_up(self, subscriber: Subscriber, send: Send) -> None:
        live, seq = self.live, 0
        since, gap = await self._since()
        await self._send(subscriber, send, opening_event(since) if not gap else self._gap(since, gap))
        while not subscriber.ended:
            if live.epoch != since.epoch:
                subscriber.end()  # made anew meanwhile: the client comes back
                return
            chunks = live.join(subscriber, since.positions)
            if chunks is not None:
                for at in range(0, len(chunks), PAGE_ROWS):
                    await self._send(subscriber, send, b"".join(chunks[at : at + PAGE_ROWS]))
                return
            page = await live.on_disk(_page(live, self.entity, since, seq))
            if live.epoch != since.epoch:
                continue  # who knows of which of the two it is
            await self._send(subscriber, send, self._page(since, page))
            seq = page.next_seq if page.reached is None else 0
            if page.reached is not None and not page.answers:
                await asyncio.sleep(0.01)  # the tail begins behind what is written: it will be in a moment

    async def _since(self) -> tuple[Mark, str]:
        """Where to begin, and why not where the client wants to, or ""."""
        live, now = self.live, self.live.mark
        if not self.last_id:
            if not self.back:
                return now, ""
            started = await live.on_disk(
                lambda store: store.back(live.kind.name, self.entity, self.back, now.positions)
            )
            return Mark(now.epoch, dict(started)), ""
        wanted = parse_mark(self.last_id)
        if wanted is None:
            return now, "the Last-Event-ID is none of ours; the stream goes on from now"
        if wanted.epoch != now.epoch:
            return Mark(now.epoch, {}), "the topic was made anew; the stream goes on from what is left of it"
        return Mark(wanted.epoch, dict(wanted.positions)), ""

    def _page(self, since: Mark, page: Page) -> bytes:
        """A page as events. Moves `since` on."""
        seen: dict[int, int] = since.positions  # type: ignore[assignment]
        chunks: list[bytes] = []
        if page.lost is not None:
            seen.update({part: max(place, seen.get(part, 0)) for part, place in page.lost.items()})
            chunks.append(
                self._gap(since, "the log does not go back so far; the stream goes on from what is left of it")
            )
        for answer in page.answers:
            seen[answer.partition] = max(answer.offset + 1, seen.get(answer.partition, 0))
            if not self.live.voids(answer):
                chunks.append(answer_event(self.live.kind, answer, since))
        if page.reached is not None:
            seen.update({part: max(place, seen.get(part, 0)) for part, place in page.reached.items()})
        return b"".join(chunks)

    def _gap(self, mark: Mark, why: str) -> bytes:
        self.streams.gaps += 1
        return gap_event(mark, why)

    async def _follow(self, subscriber: Subscriber, send: Send) -> None:
        while not subscriber.ended:
            chunk = await subscriber.take()
            if subscriber.ended:
                break
            await self._send(subscriber, send, chunk or beat_event(self.live.mark_of(subscriber)))

    async def _send(self, subscriber: Subscriber, send: Send, chunk: bytes) -> None:
        if chunk and not subscriber.ended:
            await self._hand_over(subscriber, send, {"type": "http.response.body", "body": chunk, "more_body": True})
            self.streams.sent(subscriber)

    async def _hand_over(self, subscriber: Subscriber, send: Send, message: Message) -> None:
        """Sends, which waits where the client does not read; it is cut off after a while."""
        subscriber.busy_since_s = time.monotonic()
        await send(message)
        subscriber.busy_since_s = None


def _page(live: LiveKind, entity: str | None, since: Mark, seq: int) -> Any:
    return lambda store: store.page(live.kind.name, entity, since, seq, PAGE_ROWS)


async def _disconnected(receive: Receive, subscriber: Subscriber) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    subscriber.end()
