"""What is popular: made from what a store has, once in a while, whatever the clock does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from scorer.core.errors import TransientError
from scorer.edges.web.popular import EMPTY_FRESH_MS, FRESH_MS, Popular
from scorer.edges.web.shape import popular_of
from tests.unit.edges.web.live_world import Disk, live

NOW_MS = 1_700_000_000_000


class Lists(Disk):
    """A store whose latest predictions are these."""

    def __init__(self, *bodies: bytes) -> None:
        super().__init__()
        self.bodies, self.down = list(bodies), False

    async def __call__(self, question: Callable[[Any], Any]) -> Any:
        if self.down:
            raise TransientError("the store does not answer")
        return await super().__call__(question)

    def recent(self, _: str, __: int) -> list[bytes]:
        return self.bodies


def listed(code: str) -> bytes:
    return f'"id":"x","items":[{{"code":"{code}"}}]}}'.encode()


def codes(found: tuple[int, str, list[Any]] | None) -> list[str] | None:
    return None if found is None else [item["code"] for item in found[2]]


@pytest.mark.parametrize("step_ms", [FRESH_MS, -1, -3_600_000])
def test_the_list_is_made_anew_after_a_minute_and_when_the_clock_was_set_back(step_ms: int) -> None:
    async def scenario() -> None:
        disk = Lists(listed("a"))
        popular = Popular(live(disk))
        assert codes(await popular.now(NOW_MS)) == ["a"]
        disk.bodies = [listed("b")]
        assert codes(await popular.now(NOW_MS + FRESH_MS - 1)) == ["a"]
        assert disk.asked == 1
        assert codes(await popular.now(NOW_MS + step_ms)) == ["b"]

    asyncio.run(scenario())


def test_none_is_looked_for_again_sooner_and_an_outage_leaves_the_last_one() -> None:
    async def scenario() -> None:
        disk = Lists()
        popular = Popular(live(disk))
        assert await popular.now(NOW_MS) is None
        disk.bodies = [listed("a")]
        assert await popular.now(NOW_MS + EMPTY_FRESH_MS - 1) is None
        assert codes(await popular.now(NOW_MS + EMPTY_FRESH_MS)) == ["a"]
        disk.down = True
        assert codes(await popular.now(NOW_MS + 10 * FRESH_MS)) == ["a"]

    asyncio.run(scenario())


def test_those_who_ask_at_once_have_it_made_once() -> None:
    async def scenario() -> None:
        disk = Lists(listed("a"))
        popular = Popular(live(disk))
        found = await asyncio.gather(*(popular.now(NOW_MS) for _ in range(5)))
        assert [codes(each) for each in found] == [["a"]] * 5
        assert disk.asked == 1

    asyncio.run(scenario())


def test_a_list_that_holds_more_than_records_is_no_list_to_count() -> None:
    assert popular_of([b'"id":"x","items":[{"code":"a"},null]}', b'"id":"y","items":[null]}']) is None
    mixed = [b'"id":"x","items":[{"code":"a"}]}', b'"id":"y","items":[{"code":"a"},null]}']
    assert popular_of(mixed) == ("items", [{"code": "a"}])
