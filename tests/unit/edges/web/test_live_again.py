"""What is asked of the gateway's memory more than once: by several at once, after a failure, after a new beginning."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from scorer.core.answers import Reading
from scorer.core.errors import TransientError
from scorer.edges.web.cache import Cache
from scorer.edges.web.live import Bounds, LiveKind
from scorer.edges.web.streams import StreamLimits, Streams
from scorer.edges.web.subscriber import BYTES_MAX
from tests.unit.edges.web.live_world import KIND, Disk, answer, erasure, live, reading, run, subscriber


def test_a_newer_prediction_takes_the_place_of_one_that_was_asked_for_before() -> None:
    async def scenario() -> None:
        of = live(Disk(), tail_rows_max=0)
        of.arrived(reading(answer("a", 1, 0)), 1)
        assert await of.latest("a") == answer("a", 1, 0)
        of.arrived(reading(answer("a", 2, 1)), 2)
        of.written(2)
        assert await of.latest("a") == answer("a", 2, 1)

    run(scenario)


def test_one_who_asks_and_leaves_takes_nobody_elses_answer_with_him() -> None:
    async def scenario() -> None:
        disk = Disk()
        disk.row = answer("a", 1, 0)
        disk.gate.clear()
        of = live(disk)
        leaves, stays = (asyncio.create_task(of.latest("a")) for _ in range(2))
        await asyncio.sleep(0)
        leaves.cancel()
        await asyncio.sleep(0)
        disk.gate.set()
        assert await stays == disk.row

    run(scenario)


def test_a_store_that_did_not_answer_is_asked_again() -> None:
    class Failing(Disk):
        async def __call__(self, question: Any) -> Any:
            found = await super().__call__(question)
            if self.asked == 1:
                raise TransientError("the store does not answer")
            return found

    async def scenario() -> None:
        disk = Failing()
        disk.row = answer("a", 1, 0)
        of = live(disk)
        with pytest.raises(TransientError):
            await of.latest("a")
        assert await of.latest("a") == disk.row

    run(scenario)


def test_one_who_waits_no_longer_for_an_event_leaves_the_others_who_wait_for_it() -> None:
    async def scenario() -> None:
        of = live(Disk())
        waits = asyncio.create_task(of.of_event("a", "e1", 5))
        assert await of.of_event("a", "e1", 0.01) is None
        of.arrived(reading(answer("a", 1, 0)), 1)
        assert await waits == answer("a", 1, 0)
        assert of.expected.waiting == 0

    run(scenario)


def test_who_waits_for_an_event_is_told_of_it_though_the_disk_does_not_answer_and_waits_no_longer_for_that() -> None:
    async def scenario() -> None:
        disk = Disk()
        disk.gate.clear()
        of = live(disk)
        waits = asyncio.create_task(of.of_event("a", "e1", 5))
        await asyncio.sleep(0.01)
        of.arrived(reading(answer("a", 1, 0)), 1)
        assert await asyncio.wait_for(waits, 1) == answer("a", 1, 0)
        slow = asyncio.create_task(of.of_event("a", "e2", 0.1))
        await asyncio.sleep(0.2)
        disk.gate.set()
        assert await asyncio.wait_for(slow, 0.05) is None, "the time that the disk took is part of the wait"

    run(scenario)


def test_a_store_that_does_not_say_whether_an_event_is_there_is_an_outage() -> None:
    class Failing(Disk):
        async def __call__(self, _: Any) -> Any:
            raise TransientError("the store does not answer")

    async def scenario() -> None:
        of = live(Failing())
        with pytest.raises(TransientError):
            await of.of_event("a", "e1", 5)
        assert of.expected.waiting == 0

    run(scenario)


def test_what_a_reader_that_begins_again_reads_again_is_told_once() -> None:
    of = live(Disk())
    reads = subscriber()
    assert of.join(reads, {0: 0, 1: 0}) == []
    first = [answer("a", 1, 0), answer("a", 2, 1)]
    of.arrived(reading(*first), 1)
    of.begin("e1", {0: 0, 1: 0}, anew=False)
    of.arrived(reading(*first, answer("a", 3, 2)), 2)
    assert asyncio.run(reads.take()).count(b"event: prediction") == 3
    assert len(of.join(subscriber(), {0: 0, 1: 0}) or []) == 3


def test_the_tail_reaches_no_further_back_than_it_did_because_a_reader_begins_again() -> None:
    of = live(Disk(), tail_rows_max=0)
    of.arrived(reading(answer("a", 1, 0)), 1)
    of.written(1)
    of.begin("e1", {0: 0, 1: 0}, anew=False)
    assert of.join(subscriber(), {0: 0, 1: 0}) is None


def test_records_that_were_passed_over_move_the_position_on() -> None:
    of = live(Disk())
    of.arrived(Reading("ks", [], {0: 5}, {"lane": 5}), 1)
    assert of.mark.positions == {0: 5, 1: 0}


def test_a_topic_made_anew_leaves_all_the_room_there_is() -> None:
    async def scenario() -> None:
        of = live(Disk(), tail_bytes_max=20, cache_bytes_max=20)
        for offset in range(3):
            of.arrived(reading(answer("a", offset, offset)), offset)
            await of.latest("a")
        of.begin("e2", {0: 0, 1: 0}, anew=True)
        of.arrived(reading(answer("b", 9, 0)), 9)
        of.written(9)
        assert await of.latest("b") == await of.latest("b") == answer("b", 9, 0)
        assert of.hits == 3
        assert of.join(subscriber(), {0: 0, 1: 0}), "it is in the tail"

    run(scenario)


def test_a_cache_counts_an_answer_that_takes_anothers_place_once() -> None:
    cache = Cache(10, 2 * len(answer("a", 1, 0).body or b""))
    cache.put(answer("b", 1, 0))
    for offset in range(5):
        cache.put(answer("a", 1, offset))
    assert len(cache) == 2
    cache.clear()
    cache.put(answer("b", 1, 0))
    cache.put(answer("a", 1, 0))
    assert len(cache) == 2


def test_who_is_erased_is_not_answered_from_memory_nor_from_a_disk_that_was_asked_before() -> None:
    async def scenario() -> None:
        disk = Disk()
        disk.row = answer("a", 1, 0)
        of = live(disk)
        assert await of.latest("a") == disk.row
        of.arrived(reading(erasure("a", 1)), 1)
        assert await of.latest("a") is None
        disk.row = answer("b", 1, 0)
        disk.gate.clear()
        asked = asyncio.create_task(of.latest("b"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        of.arrived(reading(erasure("b", 2)), 2)
        disk.gate.set()
        assert await asked is None

    run(scenario)


def test_what_has_left_the_tail_takes_no_room_in_it() -> None:
    of = live(Disk(), tail_rows_max=1, tail_bytes_max=20)
    for offset in range(9):
        of.arrived(reading(answer("a", offset, offset)), offset)
        of.written(offset)
    assert of.join(subscriber(), {0: 8, 1: 0}), "the last one is held"


def test_a_reader_is_cut_off_for_what_waits_and_not_for_all_that_it_has_read() -> None:
    async def scenario() -> None:
        half = b"x" * (BYTES_MAX // 2)
        keeps_up = subscriber()
        for _ in range(5):
            keeps_up.offer(half)
            keeps_up.offer(half)
            assert len(await keeps_up.take()) == BYTES_MAX
        assert not keeps_up.cut
        keeps_up.offer(half * 3)
        assert not keeps_up.cut, "one alone may be larger"
        keeps_up.offer(b"x")
        assert keeps_up.cut

    run(scenario)


def test_streams_end_with_their_token_or_their_age_and_beat_while_nothing_comes() -> None:
    async def scenario() -> None:
        streams = Streams(StreamLimits(3, 10, beat_s=0.02, age_s_max=0.5))
        old, revoked, idle = subscriber(), subscriber(), subscriber()
        streams.open(revoked, lambda: False)
        streams.open(idle, lambda: True)
        assert not streams.full
        streams.open(old, lambda: True)
        assert streams.full
        streams._open[old] -= 1.0
        tending = asyncio.create_task(streams.tend())
        assert await idle.take() == b"", "it is woken to beat"
        tending.cancel()
        assert (old.ended, revoked.ended, idle.ended) == (True, True, False)

    run(scenario)


def test_who_was_erased_and_is_scored_again_is_answered_from_disk_once_the_tail_is_cut() -> None:
    async def scenario() -> None:
        disk = Disk()
        of = live(disk, tail_rows_max=0, cache_rows_max=0)
        of.arrived(reading(erasure("a", 0)), 1)
        of.written(1)
        disk.row = answer("a", 1, 1)
        of.arrived(reading(disk.row), 2)
        of.written(2)
        assert await of.latest("a") == disk.row
        assert not of.voids(disk.row)
        assert (of._newest, of._erased, of._by_event) == ({}, {}, {}), "what is on disk is held no more"

    run(scenario)


def test_an_erasure_voids_what_came_before_it_in_its_partition_and_before_the_tail_in_others() -> None:
    of = LiveKind(KIND, Disk(), Bounds())
    of.begin("e1", {0: 0, 1: 5}, anew=False)
    of.arrived(reading(erasure("a", 2)), 1)
    logged = [answer("a", 1, offset, part) for part, offset in ((0, 1), (0, 3), (1, 4), (1, 5))]
    assert [of.voids(each) for each in logged] == [True, False, True, False]
    assert not of.voids(answer("b", 1, 1))
