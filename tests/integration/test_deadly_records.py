"""Records that end the process are found and set aside; those near them, or killed from outside, are scored."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.harness.claims import place, scored_once
from tests.harness.deadly import CRASH, KILL, deadly
from tests.harness.events import sampled
from tests.harness.lead_stream import LeadStream, lead_stream
from tests.harness.topics import Raw
from tests.harness.workers import Worker, worker
from tests.oracle.record import Record

pytestmark = pytest.mark.timeout(240)

LEADS = 400
BAD_AT = 150
SESSION = {"session.timeout.ms": 6_000}
DEATHS = 2
PREFIX = "__connect.errors."


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the workers before the last one ended, the last one, and what all of them published."""

    codes: list[int]
    last: Worker
    sources: list[Raw]
    predictions: list[Record]
    letters: list[Raw]
    committed: bool


def outcome_of(leads: LeadStream, folder: Path, text: str, good: int) -> Outcome:
    """Sends leads with one deadly among them, and starts workers until one survives."""
    events: list[dict[str, Any]] = [dict(event) for event in sampled("lead", LEADS)]
    events[BAD_AT]["event_id"] = text
    leads.send_values(map(leads.encode, events))
    config, variables = leads.settings({"delivery": "exactly_once"}, kafka_consumer=SESSION), deadly(folder / "site")
    codes = []
    for number in range(DEATHS):
        with worker(config, name=f"dying-{number}", variables=variables) as dying:
            codes.append(dying.wait(60.0))
    with worker(config, name="last", variables=variables) as last:
        last.until(lambda: leads.committed() == leads.ends(), "done", 90.0)
        last.signal(signal.SIGTERM)
        assert last.wait() == 0
    return Outcome(
        codes, last, leads.sources(LEADS), leads.predictions(good), leads.letters(), leads.committed() == leads.ends()
    )


@pytest.fixture(scope="module")
def crash(kafka: str, registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    folder = tmp_path_factory.mktemp("crash")
    with lead_stream(kafka, registry, folder) as leads:
        yield outcome_of(leads, folder, CRASH, LEADS - 1)


def notes(letter: Raw) -> dict[str, str]:
    return {name.removeprefix(PREFIX): (value or b"").decode() for name, value in letter.headers}


def test_a_record_that_crashes_the_process_twice_is_set_aside_with_its_bytes_and_reason(crash: Outcome) -> None:
    assert crash.codes == [-signal.SIGSEGV] * DEATHS
    (letter,) = crash.letters
    (deadly_one,) = [source for source in crash.sources if CRASH.encode() in (source.value or b"")]
    assert letter.value == deadly_one.value
    found = notes(letter)
    assert (int(found["partition"]), int(found["offset"])) == (deadly_one.partition, deadly_one.offset)
    assert "kills_process" in str(found)


def test_its_neighbours_are_scored_once(crash: Outcome) -> None:
    good = [source for source in crash.sources if CRASH.encode() not in (source.value or b"")]
    scored_once(crash.predictions, good)
    assert len({place(record) for record in crash.predictions}) == LEADS - 1


def test_the_worker_that_finds_it_lives_on_and_says_what_it_found(crash: Outcome) -> None:
    (told,) = crash.last.events("record.set_aside")
    assert (told["end"], told["detail"]) == ("died", "SIGSEGV")
    assert crash.last.events("partition.suspect")
    assert crash.committed


def test_a_record_whose_process_was_killed_from_outside_is_scored(kafka: str, registry: str, tmp_path: Path) -> None:
    with lead_stream(kafka, registry, tmp_path) as leads:
        outcome = outcome_of(leads, tmp_path, KILL, LEADS)
        assert outcome.codes == [-signal.SIGKILL] * DEATHS
        assert outcome.letters == []
        assert outcome.last.events("sandbox.ended"), "no sandbox was killed: the test shows nothing"
        scored_once(outcome.predictions, outcome.sources)
