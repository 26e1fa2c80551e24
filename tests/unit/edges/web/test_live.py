"""What the gateway holds in memory, against a store that answers when the test lets it."""

from __future__ import annotations

import asyncio
import random

import pytest

from scorer.core.answers import Mark, parse_mark
from scorer.edges.web.cache import Cache
from scorer.edges.web.expected import CrowdedError
from scorer.edges.web.subscriber import Subscriber
from tests.unit.edges.web.live_world import Disk, answer, erasure, live, reading, run, subscriber


def ids(chunks: bytes) -> list[Mark | None]:
    return [parse_mark(line[4:].decode()) for line in chunks.split(b"\n") if line.startswith(b"id: ")]


def test_an_answer_read_from_disk_never_hides_a_newer_one_that_came_meanwhile() -> None:
    async def scenario() -> None:
        disk = Disk()
        disk.row = answer("a", 1, 0)
        of = live(disk, tail_rows_max=0)
        disk.gate.clear()
        asked = [asyncio.create_task(of.latest("a")) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        of.arrived(reading(answer("a", 2, 1)), 1)
        of.written(1)  # the tail no longer has it
        disk.gate.set()
        assert {found.order[0] for found in await asyncio.gather(*asked) if found} == {2}
        assert disk.asked == 1
        assert (await of.latest("a")) == answer("a", 2, 1)
        assert disk.asked == 1

    run(scenario)


def test_an_older_one_that_comes_late_changes_nothing() -> None:
    async def scenario() -> None:
        disk = Disk()
        disk.row = answer("a", 5, 0)
        of = live(disk)
        of.arrived(reading(answer("a", 3, 1)), 1)
        found = await of.latest("a")
        assert found is not None
        assert found.order[0] == 5
        of.arrived(reading(answer("a", 4, 2)), 2)
        again = await of.latest("a")
        assert again is not None
        assert again.order[0] == 5

    run(scenario)


def test_an_erased_entity_is_gone_though_the_disk_still_has_it_and_comes_back_with_what_follows() -> None:
    async def scenario() -> None:
        disk = Disk()
        disk.row = answer("a", 9, 0)
        of = live(disk)
        of.arrived(reading(answer("a", 10, 1), erasure("a", 2)), 1)
        assert await of.latest("a") is None
        assert await of.of_event("b", "e10", 0) is None
        of.arrived(reading(answer("a", 1, 3)), 2)
        found = await of.latest("a")
        assert found is not None
        assert found.order[0] == 1
        chunks = of.join(subscriber(), {0: 0, 1: 0})
        assert chunks is not None
        assert [b"erased" in chunk for chunk in chunks] == [True, False]

    run(scenario)


def test_who_waits_for_an_event_is_told_before_it_is_written_and_only_of_its_own_entity() -> None:
    async def scenario() -> None:
        of = live(Disk())
        own, other = (asyncio.create_task(of.of_event(entity, "e1", 0.2)) for entity in ("a", "b"))
        await asyncio.sleep(0.02)
        assert of.expected.waiting == 2
        of.arrived(reading(answer("a", 1, 0)), 1)
        assert await own == answer("a", 1, 0)
        assert await other is None
        assert of.expected.waiting == 0
        assert await of.of_event("a", "e1", 0) == answer("a", 1, 0)
        assert await of.of_event("b", "e1", 0) is None

    run(scenario)


def test_more_than_so_many_do_not_wait() -> None:
    async def scenario() -> None:
        of = live(Disk(), waiters_max=1)
        first = asyncio.create_task(of.of_event("a", "e1", 0.1))
        await asyncio.sleep(0.02)
        with pytest.raises(CrowdedError):
            await of.of_event("a", "e2", 0.1)
        assert await first is None

    run(scenario)


def test_the_tail_keeps_what_is_not_written_and_no_more_than_its_bounds() -> None:
    async def scenario() -> None:
        of = live(Disk(), tail_rows_max=10)
        for number in range(100):
            of.arrived(reading(answer("a", number, number)), number)
        assert of.join(subscriber(), {0: 0, 1: 0}) is not None
        of.written(5)
        assert of.join(subscriber(), {0: 5, 1: 0}) is None
        assert of.join(subscriber(), {0: 6, 1: 0}) is not None
        of.written(99)
        assert of.join(subscriber(), {0: 0, 1: 0}) is None
        chunks = of.join(subscriber(), {0: 90, 1: 0})
        assert chunks is not None
        assert len(chunks) == 10

    run(scenario)


@pytest.mark.parametrize("seed", range(20))
def test_joining_anywhere_and_coming_back_gives_every_answer_once(seed: int) -> None:
    """A reader drops and comes back at random; what it sees is the topic's own order, whole."""

    async def scenario() -> None:
        chance = random.Random(seed)
        of = live(Disk())
        reader, at, seen = subscriber("a" if seed % 2 else None, 1_000), Mark("e1", {0: 0, 1: 0}), []
        sent, offsets = [], [0, 0]

        def took(chunk: bytes) -> None:
            nonlocal at
            seen.extend(line for line in chunk.split(b"\n") if line.startswith(b"data"))
            for mark in ids(chunk):
                assert mark is not None
                at = mark

        took(b"".join(of.join(reader, at.positions) or []))
        for number in range(300):
            part = chance.randrange(2)
            made = answer(chance.choice("ab"), number, offsets[part], part)
            offsets[part] += chance.choice((1, 1, 2))
            sent.append(made)
            of.arrived(reading(made), number)
            if chance.random() < 0.2:
                took(await reader.take() if reader._queue else b"")
            if chance.random() < 0.1:
                of.leave(reader)  # what is queued is lost with the connection
                reader = subscriber(reader.entity, 1_000)
                took(b"".join(of.join(reader, at.positions) or []))
        took(await reader.take() if reader._queue else b"")
        wanted = [b'data: {"x":%d}' % each.order[0] for each in sent if reader.entity in (None, each.entity)]
        assert seen == wanted

    run(scenario)


def test_a_reader_that_has_seen_more_than_we_have_read_again_is_told_nothing_twice() -> None:
    async def scenario() -> None:
        of = live(Disk())
        reader = subscriber()
        assert of.join(reader, {0: 2, 1: 0}) == []
        of.arrived(reading(answer("a", 1, 0), answer("b", 9, 0, part=1), answer("a", 2, 1)), 1)
        chunk = await reader.take()
        assert chunk.count(b"data") == 1
        assert ids(chunk) == [Mark("e1", {0: 2, 1: 1})]
        of.arrived(reading(answer("a", 3, 2)), 2)
        assert ids(await reader.take()) == [Mark("e1", {0: 3, 1: 1})]

    run(scenario)


def test_a_reader_that_does_not_keep_up_is_cut_off_and_its_connection_ended() -> None:
    async def scenario() -> None:
        ended = []
        slow = Subscriber(None, 3, lambda: ended.append(1))
        of = live(Disk())
        of.join(slow, {0: 0, 1: 0})
        of.arrived(reading(*(answer("a", n, n) for n in range(4))), 1)
        assert (slow.cut, slow.ended, ended) == (True, True, [1])
        assert await slow.take() == b""

    run(scenario)


def test_a_topic_made_anew_ends_streams_and_forgets_everything() -> None:
    async def scenario() -> None:
        disk = Disk()
        of = live(disk)
        reader = subscriber()
        of.join(reader, {0: 0, 1: 0})
        of.arrived(reading(answer("a", 1, 0)), 1)
        disk.gate.clear()
        disk.row = answer("a", 1, 0)
        loading = asyncio.create_task(of.latest("a"))
        await asyncio.sleep(0)
        of.begin("e2", {0: 0}, anew=True)
        disk.gate.set()
        assert reader.ended
        assert await loading is None
        assert of.mark == Mark("e2", {0: 0})

    run(scenario)


def test_the_cache_holds_the_ones_asked_for_last_within_its_bounds() -> None:
    cache = Cache(2, 1_000)
    for entity in "ab":
        cache.put(answer(entity, 1, 0))
    assert cache.get("a") is not None
    cache.put(answer("c", 1, 0))
    assert [cache.get(each) is not None for each in "abc"] == [True, False, True]
    cache.renew(answer("zz", 5, 0))
    assert len(cache) == 2
    tight = Cache(100, 10)
    for number in range(10):
        tight.put(answer(f"e{number}", 100, 0))
        assert len(tight) <= 1
