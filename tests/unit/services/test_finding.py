"""One prediction is found among many without reading them all, also where it does not stand in order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scorer.core.strict import record_decoder
from scorer.services.finding import Finder, Wanted
from scorer.services.patience import StoppedError
from tests.unit.services.redrive_world import OUTPUT, SOURCE
from tests.unit.services.samples import lead
from tests.unit.services.verify_world import WRITER, Scored, scored

COUNT = 120


@pytest.fixture(scope="module")
def many() -> Scored:
    """Both partitions of the input in turns, ten records at a time, as a worker reads a backlog."""
    it = scored(10)
    for first in range(10, COUNT, 10):
        places = [(partition, first + number) for partition in (0, 1) for number in range(10)]
        for place in places:
            it.event(place, lead(place[1]))
        it.score(places)
    return it


def finder(it: Scored) -> Finder:
    return Finder(it.world.topics(), it.decoder(), scan=12, probe=6)


def wanted(partition: int, offset: int, lane: str = "live") -> Wanted:
    return Wanted(f"lead/1/{SOURCE}/{partition}/{offset}", SOURCE, (partition, offset), lane)


@pytest.mark.parametrize("offset", [0, 1, 17, 59, 60, 61, 118, 119])
def test_a_prediction_is_found_by_halving(many: Scored, offset: int) -> None:
    for partition in (0, 1):
        found, own = finder(many), wanted(partition, offset)
        published = found.find(OUTPUT, many.world.extents(OUTPUT), own)
        assert published is not None
        assert published.fields["prediction_id"] == own.prediction_id
        value = many.world.logs[OUTPUT][published.place].value or b""
        assert published.fields == record_decoder(WRITER)(value, 5)
        assert found.looked < 60


def test_what_is_not_there_is_not_found_and_neither_is_another_lanes(many: Scored) -> None:
    for own in (wanted(0, COUNT), wanted(0, 5, lane="spring"), wanted(7, 5)):
        assert finder(many).find(OUTPUT, many.world.extents(OUTPUT), own) is None


def test_one_that_came_later_than_its_neighbours_is_found_by_reading_on() -> None:
    it = scored(40)
    place = next(place for place, each in it.world.logs[OUTPUT].items() if b"/0/3" in (each.value or b""))
    late = it.world.logs[OUTPUT].pop(place)
    for number in range(60):
        it.event((0, 40 + number), lead(number))
    it.score([(0, 40 + number) for number in range(60)])
    moved = it.publish(late.key, late.value)
    found = finder(it)
    published = found.find(OUTPUT, it.world.extents(OUTPUT), wanted(0, 3))
    assert published is not None
    assert published.place == moved


def test_told_to_stop_while_it_reads_it_does_not_say_that_there_is_none() -> None:
    it = scored(3)
    it.world.silences = 2
    it.world.on_silence = it.world.stop.set
    with pytest.raises(StoppedError):
        finder(it).find(OUTPUT, it.world.extents(OUTPUT), wanted(0, 7))


def test_no_more_than_so_many_records_are_read_through(many: Scored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scorer.services.finding.READ_MAX", 20)
    found = finder(many)
    assert found.find(OUTPUT, many.world.extents(OUTPUT), wanted(0, COUNT)) is None
    assert found.looked < 2 * COUNT
    assert not found.whole, "so nobody knows whether it is there"


def test_what_was_read_to_its_end_is_known_to_lack_it(many: Scored) -> None:
    found = finder(many)
    assert found.find(OUTPUT, many.world.extents(OUTPUT), wanted(0, COUNT)) is None
    assert found.whole


def test_what_a_promotion_has_copied_there_leads_no_search_astray() -> None:
    it = scored(100)
    own = it.live
    it.live = replace(own, origin=replace(own.origin, lane="spring"))
    it.score([(partition, offset) for offset in range(100) for partition in (0, 1)])
    it.live = own
    for partition in (0, 1):
        for offset in range(100, 110):
            it.event((partition, offset), lead(offset))
    it.score([(partition, offset) for offset in range(100, 110) for partition in (0, 1)])
    found = finder(it)
    assert found.find(OUTPUT, it.world.extents(OUTPUT), wanted(0, 20)) is not None
    assert found.looked < 60


def test_a_stretch_that_begins_behind_it_does_not_hold_it(many: Scored) -> None:
    spans = dict.fromkeys((0, 1), (100, 120))
    assert finder(many).find(OUTPUT, spans, wanted(0, 3)) is None
