"""What the gateway's memory of a kind keeps to, whatever comes: the newest, its own topic, its bytes."""

from __future__ import annotations

from tests.unit.edges.web.live_world import Disk, answer, live, reading, run, subscriber


def test_a_topic_that_is_read_from_its_beginning_again_is_forgotten_though_it_is_the_same_one() -> None:
    async def scenario() -> None:
        of = live(Disk())
        reader = subscriber()
        of.join(reader, {0: 0, 1: 0})
        of.arrived(reading(answer("a", 1, 0)), 1)
        assert await of.latest("a") is not None
        of.begin("e1", {0: 50, 1: 0}, anew=True)
        assert reader.ended
        assert await of.latest("a") is None
        assert of.mark.positions == {0: 50, 1: 0}
        assert of.join(subscriber(), {0: 1, 1: 0}) is None

    run(scenario)


def test_one_that_comes_late_is_not_the_newest_before_anything_is_written() -> None:
    async def scenario() -> None:
        of = live(Disk(), cache_rows_max=0)
        of.arrived(reading(answer("a", 5, 0), answer("a", 3, 1)), 1)
        assert await of.latest("a") == answer("a", 5, 0)

    run(scenario)


def test_the_tail_is_cut_by_bytes_as_well_as_by_rows() -> None:
    of = live(Disk(), tail_rows_max=1_000, tail_bytes_max=20)
    for offset in range(9):
        of.arrived(reading(answer("a", 7, offset)), offset)
        of.written(offset)
    size = len(answer("a", 7, 0).body or b"")
    assert len(of.join(subscriber(), {0: 9 - 20 // size, 1: 0}) or []) == 20 // size
    assert of.join(subscriber(), {0: 9 - 20 // size - 1, 1: 0}) is None
