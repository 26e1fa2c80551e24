"""The follower against topics that change, with a real store and readers that the test writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest

from scorer.core.answers import Kind, Positions, Reading
from scorer.core.errors import ConfigError, HaltError, TransientError
from scorer.core.ports import Clock
from scorer.core.records import Closed, RecordBatch
from scorer.core.state import State, Status
from scorer.edges.clock import SystemClock
from scorer.edges.latest_store import Keep, LatestStore
from scorer.services.gateway import Follower
from scorer.services.gateway_writing import Writing
from scorer.services.schemas import Schemas

KIND = Kind("ks", "t.k", "id")


class Heard:
    """Listener and observer in one: notes what it is told."""

    def __init__(self) -> None:
        self.begun_with: list[tuple[str, dict[int, int], bool]] = []
        self.numbers: list[int] = []

    def begun(self, kind: str, epoch: str, positions: Positions, anew: bool) -> None:
        assert kind == KIND.name
        self.begun_with.append((epoch, dict(positions), anew))

    def arrived(self, reading: Reading, number: int) -> None:
        assert reading.kind == KIND.name
        self.numbers.append(number)

    def written(self, number: int) -> None:
        self.numbers.append(-number)

    def read(self, reading: Reading, behind: int) -> None:
        pass

    def wrote(self, rows: int, took_s: float) -> None:
        pass


class Topic:
    """Stands in for Kafka: what it says of the topic, and what a reader raises."""

    def __init__(self, stop: Event) -> None:
        self.stop, self.incarnation, self.partitions = stop, "e1", 1
        self.bounds_: dict[tuple[str, int], tuple[int, int]] = {("t.k", 0): (0, 0)}
        self.failures: list[Exception] = []
        self.opened: list[dict[tuple[str, int], int]] = []
        self.turns = 0

    def look(self) -> Mapping[str, tuple[str, int]]:
        return {"t.k": (self.incarnation, self.partitions)}

    def open(self, positions: Mapping[tuple[str, int], int]) -> Topic:
        self.opened.append(dict(positions))
        return self

    def read(self, _: int, __: int) -> list[RecordBatch]:
        self.turns += 1
        if self.failures:
            raise self.failures.pop(0)
        self.stop.set()
        return []

    def bounds(self) -> Mapping[tuple[str, int], tuple[int, int]]:
        return self.bounds_

    def close(self) -> None:
        pass


class BusyTopic(Topic):
    """Records come without a pause, and each turn takes a second of its own clock."""

    ms = 0.0
    shut: Exception | None = None
    looks = 0

    def look(self) -> Mapping[str, tuple[str, int]]:
        self.looks += 1
        if self.looks > 1 and self.shut is not None:
            raise self.shut
        return super().look()

    def read(self, _: int, __: int) -> list[RecordBatch]:
        self.bounds_ = {("t.k", 0): (0, 100)}
        self.ms += 1_000
        self.turns += 1
        if self.turns == 5:
            self.partitions = 2
        if self.turns == 45:
            self.stop.set()
        return [erasures(self.turns)]

    def ticks_ms(self) -> float:
        return self.ms

    def now_ms(self) -> int:
        return int(self.ms)

    def sleep(self, ms: float) -> None:
        self.ms += ms


def erasures(*offsets: int) -> RecordBatch:
    """Records without a value at these offsets of the one partition."""
    n = len(offsets)
    columns = np.zeros(n, np.int32), np.array(offsets, np.int64), np.zeros(n, np.int64)
    return RecordBatch(KIND.topic, *columns, [None] * n, [b"who"] * n, [None] * n, Closed.IDLE)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LatestStore]:
    made = LatestStore(tmp_path / "store", Keep(100, 10**9))
    yield made
    made.close()


def follow(
    store: LatestStore, topic: Topic, look: Any = None, clock: Clock | None = None
) -> tuple[Follower, Heard, list[str]]:
    """Runs a follower until the topic's reader stops it."""
    heard, said, clock = Heard(), [], clock or SystemClock()

    def report(event: str, fields: Mapping[str, Any]) -> None:
        said.append(event)

    writing = Writing(store, heard, heard, clock, report, topic.stop)
    follower = Follower(
        kinds=[KIND],
        look=look or topic.look,
        open_reader=topic.open,
        kept=store,
        writing=writing,
        schemas=Schemas(None, report),  # type: ignore[arg-type] - nothing is read
        listener=heard,
        observer=heard,
        clock=clock,
        report=report,
        status=Status(lambda state, _: said.append(state.value)),
        stop=topic.stop,
    )
    threads = [Thread(target=each) for each in (follower.run, writing.run)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    return follower, heard, said


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


def test_a_topic_that_was_never_there_ends_the_gateway_with_what_to_do(store: LatestStore) -> None:
    topic = Topic(Event())

    def look() -> Mapping[str, tuple[str, int]]:
        raise ConfigError("topic t.k does not exist; run: scorer setup")

    follower, _, _ = follow(store, topic, look)
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

    heard, stop, said = Heard(), Event(), []
    writing = Writing(Disk(), heard, heard, SystemClock(), lambda event, _: said.append(event), stop)
    thread = Thread(target=writing.run)
    thread.start()
    for number in range(1, 50):
        writing.put(Reading("ks", [], {0: number}, {}), number)
    writing.settle()
    stop.set()
    thread.join(10)
    assert wrote == list(range(1, 50))
    assert heard.numbers == sorted(heard.numbers, reverse=True)
    assert heard.numbers[-1] == -49
    assert said == ["store.waiting", "store.waiting"]
    assert writing.problem == ""
