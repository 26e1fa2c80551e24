"""A sink that is halted stands still, says why, and writes nothing that comes after what was refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import pytest

from scorer.core.errors import ConfigError, HaltError, ScorerError, TransientError
from scorer.core.letters import Author
from scorer.core.load import Load
from scorer.core.ports import BatchLimits
from scorer.core.records import RecordBatch
from scorer.core.state import State, Status
from scorer.services.feeds import Feed
from scorer.services.schemas import Schemas
from scorer.services.sink import Limits, SinkLoop
from tests.unit.core.batches import batch_of

NARROW, RESTORED = "t.score is REAL, predictions now hold DOUBLE PRECISION", "it was restored or emptied"
HOLDS = 50


@dataclass
class Letters:
    """Implements feeds.Reading: a record at each poll. Notes what the status says while it is held, and ends that."""

    status: Status
    stop: Event
    details: list[str] = field(default_factory=list)
    offset: int = 0

    def poll(self, *_: Any) -> RecordBatch | None:
        self.offset += 1
        return batch_of([b"a letter"], offsets=[self.offset - 1])

    def hold(self, _: int) -> None:
        if self.status.state is State.HALTED:
            self.details.append(self.status.detail)
        if len(self.details) == HOLDS:
            self.stop.set()

    def commit(self, *_: Any, **__: Any) -> Mapping[int, int]:
        return {}

    def membership(self) -> Any:
        raise AssertionError("a sink commits in no transaction")

    def outage(self) -> str | None:
        return None

    def lag(self) -> Mapping[int, int]:
        return {}

    def ends(self) -> Mapping[int, int]:
        return {}

    def close(self) -> None:
        """Nothing to leave."""


class Refusing:
    """Implements ports.Sink: does not take the first load, and so finds a gap before the next."""

    def __init__(self, failure: ScorerError | None = None) -> None:
        self.loads: list[Load] = []
        self.failure = failure or HaltError(NARROW)

    def positions(self, _: str) -> Mapping[int, int]:
        return {}

    def write(self, load: Load) -> Mapping[str, int]:
        self.loads.append(load)
        raise self.failure if len(self.loads) == 1 else HaltError(RESTORED)


class Surroundings:
    """Implements ports.Clock, ports.SchemaRegistry and feeds.Observer, as far as a halted sink needs them."""

    ms = 0

    def ticks_ms(self) -> float:
        self.ms += 1
        return self.ms

    def now_ms(self) -> int:
        return self.ms

    def sleep(self, _: float) -> None:
        """Time goes by itself."""

    def text(self, _: int) -> str | None:
        raise AssertionError("letters have no schema")

    def written(self, *_: Any) -> None:
        raise AssertionError("nothing can be written")

    def waited(self) -> None:
        raise AssertionError("nothing is waited for")

    def lag(self, *_: Any) -> None:
        """Not counted."""


@dataclass
class Halted:
    """What came of a run that was halted until it was told to stop."""

    sink: Refusing = field(default_factory=Refusing)
    details: list[str] = field(default_factory=list)
    reports: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)


def filling(found: Halted) -> SinkLoop:
    """A sink of dead letters; what comes of it is noted."""
    around, status, stop = Surroundings(), Status(lambda *_: None), Event()

    def report(event: str, fields: Mapping[str, Any]) -> None:
        found.reports.append((event, fields))

    letters = Letters(status, stop, found.details)
    return SinkLoop(
        sink=found.sink,
        feeds=[Feed("letters", letters_of=Author("events", "scorer.lead"), source=letters)],
        schemas=Schemas(around, report, grace_ms_max=0),
        entity="lead_id",
        lane="live",
        clock=around,
        observer=around,
        report=report,
        status=status,
        stop=stop,
        limits=Limits(BatchLimits(100, 0)),
    )


@pytest.fixture
def halted() -> Halted:
    found = Halted()
    loop = filling(found)
    loop.run()
    loop.writer.close()
    return found


def test_what_comes_behind_a_load_that_was_refused_is_not_written(halted: Halted) -> None:
    assert len(halted.sink.loads) == 1


def test_a_halted_sink_says_until_it_stops_why_it_halted(halted: Halted) -> None:
    assert halted.details == [NARROW] * HOLDS
    assert ("drain.incomplete", {"why": "shutdown", "error": NARROW}) in halted.reports


def test_what_has_ended_a_sink_does_not_keep_it_from_leaving_its_groups() -> None:
    found = Halted(Refusing(ConfigError("may this user write there?")))
    loop = filling(found)
    with pytest.raises(ConfigError, match="may this user write"):
        loop.run()
    for feed in loop.feeds:
        feed.revoked([0])
    loop.writer.close()
    assert found.reports[0] == ("drain.incomplete", {"why": "revoke", "error": "may this user write there?"})
    assert found.reports[-1][0] == "partitions.revoked"


def test_what_lies_behind_records_whose_schema_was_waited_for_when_told_to_stop_does_not_count_as_read() -> None:
    status, stop, around = Status(lambda *_: None), Event(), Surroundings()

    class Away(Surroundings):
        def text(self, _: int) -> str | None:
            raise TransientError("the registry does not answer")

    class Predictions(Letters):
        def poll(self, *_: Any) -> RecordBatch | None:
            return batch_of([b"\0\0\0\0\7a prediction"], offsets=[0])

        def hold(self, _: int) -> None:
            self.stop.set()

        def ends(self) -> Mapping[int, int]:
            return {0: 9}

    sink = Refusing()
    feed = Feed("predictions", source=Predictions(status, stop))
    feed.assigned({0: 0})
    loop = SinkLoop(
        sink=sink,
        feeds=[feed],
        schemas=Schemas(Away(), lambda *_: None, grace_ms_max=0),
        entity="lead_id",
        lane="live",
        clock=around,
        observer=around,
        report=lambda *_: None,
        status=status,
        stop=stop,
        limits=Limits(BatchLimits(100, 0)),
    )
    loop.run()
    loop.writer.close()
    assert sink.loads == []
