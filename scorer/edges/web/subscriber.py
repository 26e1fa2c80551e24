"""Readers of a kind's streams, each a bounded queue on the event loop. A slow one is cut off, never buffered."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

BYTES_MAX = 1 << 20


@dataclass(slots=True, eq=False)
class Subscriber:
    """A queue with one reader.

    Attributes:
        entity: whose predictions it reads, or None for all.
        rows_max: what may wait, besides at most BYTES_MAX.
        abort: ends the connection at once, with all that is unsent.
        ahead: positions that it has seen though we have not read so far, or None.
        cut: whether it was too slow.
        ended: whether it is over.
        busy_since_s: when its reader began to send, or None while it waits.
    """

    entity: str | None
    rows_max: int
    abort: Callable[[], None]
    ahead: dict[int, int] | None = None
    cut: bool = False
    ended: bool = False
    busy_since_s: float | None = None
    _queue: deque[bytes] = field(default_factory=deque)
    _bytes: int = 0
    _waiter: asyncio.Future[None] | None = None

    def offer(self, chunk: bytes) -> None:
        """Adds to the queue, or cuts the reader off if it is full."""
        if self.ended:
            return
        if len(self._queue) >= self.rows_max or self._bytes + len(chunk) > max(BYTES_MAX, len(chunk)):
            self.cut_off()
            return
        self._queue.append(chunk)
        self._bytes += len(chunk)
        self.wake()

    def cut_off(self) -> None:
        """Ends a reader that does not keep up; it comes back with its position."""
        self.cut = True
        self._queue.clear()
        self.end()
        self.abort()

    def end(self) -> None:
        """No more comes."""
        self.ended = True
        self.wake()

    def wake(self) -> None:
        """Lets the reader go on, if only to see that nothing came."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def take(self) -> bytes:
        """All that waits, joined; empty if it was woken without anything, or is over."""
        if not self._queue and not self.ended:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
            self._waiter = None
        joined = b"".join(self._queue)
        self._queue.clear()
        self._bytes = 0
        return joined


@dataclass(slots=True)
class Subscribers:
    """Whoever reads a kind, by whose predictions they read; None is everybody's."""

    _of: dict[str | None, set[Subscriber]] = field(default_factory=dict)

    def add(self, subscriber: Subscriber) -> None:
        """It is told from now on."""
        self._of.setdefault(subscriber.entity, set()).add(subscriber)

    def drop(self, subscriber: Subscriber) -> None:
        """It is told no more; one that never was told as well."""
        group = self._of.get(subscriber.entity, set())
        group.discard(subscriber)
        if not group:
            self._of.pop(subscriber.entity, None)

    def of(self, entity: str) -> list[Subscriber]:
        """Who is to be told of an entity."""
        return [*self._of.get(None, ()), *self._of.get(entity, ())]

    def everyone(self) -> list[Subscriber]:
        """All of them."""
        return [each for group in self._of.values() for each in group]
