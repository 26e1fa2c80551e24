"""The follower against topics that change, with a real store and readers that the test writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event, Thread

import pytest

from scorer.core.answers import Kind, Reading
from scorer.core.errors import ConfigError, HaltError, TransientError
from scorer.core.records import RecordBatch
from scorer.core.state import State, Status
from scorer.edges.clock import SystemClock
from scorer.edges.latest_store import Keep, LatestStore
from scorer.services import gateway_writing
from scorer.services.gateway_writing import UNWRITTEN_ROWS_MAX, Writing
from tests.unit.services.gateway_world import KIND, BusyTopic, Counted, FullDisk, Heard, Topic, erasures, follow


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LatestStore]:
    made = LatestStore(tmp_path / "store", Keep(100, 10**9))
    yield made
    made.close()


def kept(store: LatestStore, positions: Mapping[int, int]) -> None:
    store.begin(KIND, "e1")
    store.write([Reading("ks", [], positions, {})], 0)


def test_it_goes_on_from_the_stored_positions_and_from_the_lowest_offset_elsewhere(store: LatestStore) -> None:
    kept(store, {0: 7})
    topic = Topic(Event())
    topic.bounds_ = {("t.k", 0): (2, 9), ("t.k", 1): (4, 4)}
    _, heard, said = follow(store, topic)
    assert topic.opened == [{("t.k", 0): 7}]
    assert heard.begun_with == [("e1", {0: 7, 1: 4}, False)]
    assert "gateway.starts_over" not in said


@pytest.mark.parametrize("bounds", [(8, 20), (0, 6)], ids=["retention has passed it", "it is beyond the end"])
def test_a_position_that_the_topic_no_longer_holds_starts_over(store: LatestStore, bounds: tuple[int, int]) -> None:
    kept(store, {0: 7})
    topic = Topic(Event())
    topic.bounds_ = {("t.k", 0): bounds}
    _, heard, said = follow(store, topic)
    assert topic.opened == [{("t.k", 0): 7}, {}]
    assert heard.begun_with == [("e1", {0: bounds[0]}, True)]
    assert "gateway.starts_over" in said


def test_a_topic_that_was_made_anew_starts_over_though_it_holds_the_position(store: LatestStore) -> None:
    kept(store, {0: 7})
    topic = Topic(Event())
    topic.incarnation, topic.bounds_ = "e2", {("t.k", 0): (0, 90)}
    _, heard, _ = follow(store, topic)
    assert heard.begun_with == [("e2", {0: 0}, True)]


def test_outages_and_lost_positions_are_waited_out_and_reading_begins_again(store: LatestStore) -> None:
    topic = Topic(Event())
    topic.failures = [TransientError("down"), HaltError("out of range"), TransientError("down")]
    follower, heard, said = follow(store, topic)
    assert follower.failure is None
    assert len(heard.begun_with) == 4
    assert said.count("neighbour.waiting") == 3
    assert State.WAITING in said


class StalledTopic(BusyTopic):
    """Its broker hands out nothing for a minute, then 10 records, and then says that this was the end."""

    def __init__(self, stop: Event) -> None:
        super().__init__(stop)
        self.bounds_ = {("t.k", 0): (0, 12)}  # two of them are never handed out
        self.seen: list[tuple[State, str]] = []
        self.status = Status(lambda *_: None)

    def read(self, _: int, __: int) -> list[RecordBatch]:
        self.seen.append((self.status.state, self.status.detail))
        self.ms += 1_000
        self.turns += 1
        if self.turns == 63:
            self.ended[("t.k", 0)] = 12
        if self.turns == 65:
            self.stop.set()
        return [erasures(*range(10))] if self.turns == 61 else []


def test_it_is_ready_once_it_has_read_what_was_there_however_long_that_is_in_coming(store: LatestStore) -> None:
    topic = StalledTopic(Event())
    _, heard, _ = follow(store, topic, clock=topic, status=topic.status)
    states = [state for state, _ in topic.seen]
    assert states == [State.STARTING] * 63 + [State.RUNNING] * 2
    assert {detail for _, detail in topic.seen[1:61]} == {"reads what came meanwhile: 12 records"}
    assert topic.seen[62][1] == "reads what came meanwhile: 2 records"
    assert heard.behind == [2, 0]


def test_dropping_much_is_no_sign_of_death(store: LatestStore, monkeypatch: pytest.MonkeyPatch) -> None:
    status, alive = Status(lambda *_: None), []
    begin = store.begin

    def slowly(kind: Kind, epoch: str) -> bool:
        alive.append(status.alive(SystemClock().ticks_ms() + 600_000, 60_000))
        return begin(kind, epoch)

    monkeypatch.setattr(store, "begin", slowly)
    follow(store, Topic(Event()), status=status)
    assert alive == [True]
    assert not status.alive(SystemClock().ticks_ms() + 600_000, 60_000)


def test_partitions_that_are_added_are_found_also_while_records_come_without_a_pause(store: LatestStore) -> None:
    topic = BusyTopic(Event())
    _, heard, said = follow(store, topic, clock=topic)
    assert said.count("gateway.topics_changed") == 1
    assert len(heard.begun_with) == 2
    assert topic.looks <= 6


def test_what_comes_is_read_on_while_the_topics_cannot_be_looked_at(store: LatestStore) -> None:
    topic = BusyTopic(Event())
    topic.shut = TransientError("no broker answers")
    _, heard, said = follow(store, topic, clock=topic)
    assert topic.looks > 2
    assert len(heard.begun_with) == 1
    assert [number for number in heard.numbers if number > 0] == list(range(1, 46))
    assert "neighbour.waiting" not in said


def test_while_the_disk_takes_nothing_the_follower_is_alive_and_says_why_it_waits(store: LatestStore) -> None:
    topic, status = BusyTopic(Event()), Counted(lambda *_: None)
    topic.rows, topic.turns_max, disk = UNWRITTEN_ROWS_MAX + 1, 3, FullDisk(status)
    follow(store, topic, clock=topic, status=status, keeper=disk)
    beats, states, details = zip(*disk.seen, strict=True)
    assert sorted(set(beats[2:])) == list(beats[2:])
    assert states[2:5] == (State.WAITING,) * 3
    assert details[2:5] == ("disk full",) * 3


def test_a_topic_that_was_never_there_ends_the_gateway_with_what_to_do(store: LatestStore) -> None:
    topic = Topic(Event())

    def look() -> Mapping[str, tuple[str, int]]:
        raise ConfigError("topic t.k does not exist; run: scorer setup")

    follower, _, _ = follow(store, topic, look=look)
    assert isinstance(follower.failure, ConfigError)
    assert topic.stop.is_set()


def test_the_writer_waits_for_a_disk_that_takes_nothing_and_writes_everything_once() -> None:
    wrote: list[int] = []

    class Disk:
        failures = 2

        def write(self, readings: Sequence[Reading], _: int) -> None:
            if self.failures:
                self.failures -= 1
                raise TransientError("disk full")
            wrote.extend(reading.next_offsets[0] for reading in readings)

        def tidy(self, _: int) -> None:
            pass

    heard, stop, said = Heard(), Event(), []
    writing = Writing(Disk(), heard, heard, SystemClock(), lambda event, _: said.append(event), stop)
    thread = Thread(target=writing.run)
    thread.start()
    for number in range(1, 50):
        writing.put(Reading("ks", [], {0: number}, {}), number, lambda: None)
    writing.settle(lambda: None)
    stop.set()
    thread.join(10)
    assert wrote == list(range(1, 50))
    assert heard.numbers == sorted(heard.numbers, reverse=True)
    assert heard.numbers[-1] == -49
    assert said == ["store.waiting", "store.waiting"]
    assert writing.problem == ""


@pytest.mark.parametrize("coming", [False, True], ids=["idle", "written to all the time"])
def test_the_store_is_tidied_from_time_to_time_whether_anything_comes_or_not(
    coming: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_writing, "TIDY_EVERY_MS", 50.0)
    tidied, tidied_twice = [], Event()

    class Disk:
        def write(self, _: Sequence[Reading], __: int) -> None:
            pass

        def tidy(self, now_ms: int) -> None:
            tidied.append(now_ms)
            if len(tidied) == 2:
                tidied_twice.set()
            raise TransientError("disk full")

    heard, stop, said = Heard(), Event(), []
    writing = Writing(Disk(), heard, heard, SystemClock(), lambda event, _: said.append(event), stop)
    thread = Thread(target=writing.run)
    thread.start()
    number = 0
    while not tidied_twice.wait(0.005) and number < 1_000:
        number += 1
        if coming:
            writing.put(Reading("ks", [], {0: number}, {}), number, lambda: None)
    stop.set()
    thread.join(10)
    assert len(tidied) >= 2
    assert (said, writing.problem) == ([], "")
