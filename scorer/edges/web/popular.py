"""The popular list of a kind: what its predictions named most often lately, made at most once a minute."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from scorer.core.errors import TransientError
from scorer.edges.web.live import LiveKind
from scorer.edges.web.shape import LISTS_MAX, popular_of

FRESH_MS = 60_000
EMPTY_FRESH_MS = 1_000


@dataclass(slots=True)
class Popular:
    """Of one kind. An outage of the store leaves the last list."""

    live: LiveKind
    _made_ms: int = -FRESH_MS
    _list: tuple[int, str, list[Any]] | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def now(self, now_ms: int) -> tuple[int, str, list[Any]] | None:
        """When it was made, the field that it stands in, and the list; None if this kind has none."""
        async with self._lock:
            fresh_ms = EMPTY_FRESH_MS if self._list is None else FRESH_MS
            if not 0 <= now_ms - self._made_ms < fresh_ms:  # a clock that was set back ages nothing
                self._made_ms = now_ms
                await self._make(now_ms)
        return self._list

    async def _make(self, now_ms: int) -> None:
        name = self.live.kind.name
        try:
            found = await self.live.on_disk(lambda store: popular_of(store.recent(name, LISTS_MAX)))
        except TransientError:
            return
        self._list = None if found is None else (now_ms, *found)
