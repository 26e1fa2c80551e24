"""What the gateway holds in memory of one kind, over a store that answers when the test lets it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from scorer.core.answers import Answer, Kind, Reading
from scorer.edges.latest_store import Keep
from scorer.edges.web.live import Bounds, LiveKind
from scorer.edges.web.subscriber import Subscriber

KIND = Kind("ks", "t.k", "id")
KEEP = Keep(1_000_000, 10**12)


class Disk:
    """A store with one entity's row, whose answers can be held back."""

    def __init__(self) -> None:
        self.row: Answer | None = None
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, question: Callable[[Any], Any]) -> Any:
        self.asked += 1
        seen = question(self)
        await self.gate.wait()
        return seen

    def latest(self, _: str, entity: str) -> Answer | None:
        return self.row if self.row is not None and self.row.entity == entity else None

    def of_event(self, _: str, entity: str, event_id: str) -> Answer | None:
        found = self.latest("", entity)
        return found if found is not None and found.event_id == event_id else None


def answer(entity: str, number: int, offset: int, part: int = 0) -> Answer:
    return Answer(
        "ks", entity, part, offset, f"e{number}", (number, 0, 0, 0), number, f"t{number}", b'"x":%d}' % number
    )


def erasure(entity: str, offset: int, part: int = 0) -> Answer:
    return Answer("ks", entity, part, offset, "", (0, 0, 0, 0), 0, "", None)


def reading(*answers: Answer) -> Reading:
    return Reading("ks", list(answers), {each.partition: each.offset + 1 for each in answers}, {})


def live(disk: Disk, **bounds: int) -> LiveKind:
    made = LiveKind(KIND, disk, Bounds(**bounds))
    made.begin("e1", {0: 0, 1: 0}, anew=False)
    return made


def subscriber(entity: str | None = None, rows_max: int = 100) -> Subscriber:
    return Subscriber(entity, rows_max, lambda: None)


def run(scenario: Callable[[], Any]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 10))
