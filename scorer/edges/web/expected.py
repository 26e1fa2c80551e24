"""Who waits for the prediction for an event, on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from scorer.core.answers import Answer


class CrowdedError(Exception):
    """Too many wait already."""


@dataclass(slots=True)
class Expected:
    """At most so many who wait, by event."""

    waiters_max: int
    waiting: int = 0
    _by_event: dict[str, list[tuple[str, asyncio.Future[Answer]]]] = field(default_factory=dict)

    @contextmanager
    def waiter(self, entity: str, event_id: str) -> Iterator[asyncio.Future[Answer]]:
        """Gets the entity's prediction for the event once it comes, until the block is left.

        Raises:
            CrowdedError: too many wait already.
        """
        if self.waiting >= self.waiters_max:
            raise CrowdedError
        waiter: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._by_event.setdefault(event_id, []).append((entity, waiter))
        self.waiting += 1
        try:
            yield waiter
        finally:
            self.waiting -= 1
            left = [each for each in self._by_event[event_id] if each[1] is not waiter]
            if left:
                self._by_event[event_id] = left
            else:
                del self._by_event[event_id]

    def came(self, answer: Answer) -> None:
        """Tells those who wait for it."""
        for entity, waiter in self._by_event.get(answer.event_id, ()):
            if entity == answer.entity and not waiter.done():
                waiter.set_result(answer)
