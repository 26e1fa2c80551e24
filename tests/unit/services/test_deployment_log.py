"""The topic of deployments is followed on: what it holds, and what comes of clients that are refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from threading import Event
from typing import Any

import pytest

from scorer.core.deployments import Intent, encode_entry
from scorer.core.errors import RefusedError, ScorerError, ShutOutError, TransientError
from scorer.core.records import RecordBatch
from scorer.edges.clock import SystemClock
from scorer.services.deployment_log import PARTITION, DeploymentLog
from scorer.services.schemas import Schemas
from tests.unit.core.batches import batch_of
from tests.unit.services.deployed import DEPLOYMENTS, DEPLOYMENTS_ID, deployments_schema, intent
from tests.unit.services.samples import EVENT_ID, EVENT_TEXT, lead, recipe
from tests.unit.services.surroundings import World


class Reader:
    """Implements deployment_log.Reader over what it is given; a client that has failed once keeps failing."""

    def __init__(self, failure: ScorerError | None, *batches: RecordBatch) -> None:
        self.failure, self.batches = failure, list(batches)
        self.ended: Mapping[tuple[str, int], int] = {}
        self.closed = False

    def read(self, rows_max: int, wait_ms_max: int) -> list[RecordBatch]:  # noqa: ARG002 - the port's name
        if self.failure is not None:
            raise self.failure
        return [self.batches.pop(0)] if self.batches else []

    def ends(self) -> Mapping[tuple[str, int], int]:
        if self.failure is not None:
            raise self.failure
        return {(DEPLOYMENTS, PARTITION): 3}

    def close(self) -> None:
        self.closed = True


class NoRegistry:
    """Implements ports.SchemaRegistry; it is not asked."""

    def text(self, schema_id: int) -> str | None:
        raise AssertionError(schema_id)


@pytest.mark.parametrize("failure", [ShutOutError("a password that is no more"), TransientError("gone")])
@pytest.mark.parametrize("ask", [DeploymentLog.end, lambda log: log.read(0)])
def test_a_client_that_failed_is_let_go_of_since_only_a_new_one_takes_up_a_new_password(
    failure: ScorerError, ask: Callable[[DeploymentLog], object]
) -> None:
    first, second = Reader(failure), Reader(None)
    readers = [first, second]
    report, stop = (lambda *_: None), Event()
    schemas = Schemas(NoRegistry(), report, grace_ms_max=0)
    log = DeploymentLog(DEPLOYMENTS, lambda _: readers.pop(0), schemas, SystemClock(), report, stop)
    with pytest.raises(type(failure)):
        ask(log)
    assert first.closed
    assert log.end() == 3
    assert not second.closed


TEXTS = {DEPLOYMENTS_ID: deployments_schema().text, 78: deployments_schema().text, EVENT_ID: EVENT_TEXT}


class Registry:
    """Implements ports.SchemaRegistry: the schema of deployments has two ids."""

    def text(self, schema_id: int) -> str | None:
        return TEXTS.get(schema_id)


def written(who: str, schema_id: int = DEPLOYMENTS_ID) -> bytes:
    return encode_entry(replace(intent(recipe()), who=who), replace(deployments_schema(), id=schema_id), "0")


def test_entries_come_in_the_order_of_their_topic_and_what_is_none_is_told_and_passed_over() -> None:
    values = [written("a"), written("b", 78), lead(), written("c"), b"junk", written("d")[:-1], written("e", 78)]
    told: list[tuple[str, Mapping[str, Any]]] = []
    schemas = Schemas(Registry(), lambda *_: None, grace_ms_max=0)
    reader = Reader(None, batch_of(values, offsets=range(7)))
    log = DeploymentLog(DEPLOYMENTS, lambda _: reader, schemas, SystemClock(), lambda *each: told.append(each), Event())
    found = [(each.who, each.number) for each in log.read(0) if isinstance(each, Intent)]
    assert found == [("a", 0), ("b", 1), ("c", 3), ("e", 6)]
    assert told[-1] == ("deployments.foreign_records", {"records": 3})


def test_it_is_read_on_behind_what_was_read_and_behind_a_marker_at_the_end() -> None:
    opened: list[int] = []
    readers = [Reader(None, batch_of([written("a"), written("b")], offsets=[4, 5])), Reader(None)]

    def opens(position: int) -> Reader:
        opened.append(position)
        return readers.pop(0)

    schemas = Schemas(Registry(), lambda *_: None, grace_ms_max=0)
    log = DeploymentLog(DEPLOYMENTS, opens, schemas, SystemClock(), lambda *_: None, Event())
    assert (len(log.read(0)), log.position) == (2, 6)
    log.close()
    assert (log.read(0), log.position, opened) == ([], 6, [0, 6])
    assert log._reader is not None
    log._reader.ended = {(DEPLOYMENTS, PARTITION): 7}  # type: ignore[misc]  # a transaction's marker is no record
    assert (log.read(0), log.position) == ([], 7)


def followed(made: World, refusal: RefusedError) -> None:
    """Follows the deployments from one refusal to the first answer."""

    def refused() -> str:
        made.rollout.topic_id = answered
        raise refusal

    def answered() -> str:
        made.stop.set()
        return made.topic_id

    made.rollout.topic_id = refused
    made.rollout.follow()


def test_a_password_that_is_refused_while_the_deployments_are_followed_is_waited_out_since_it_may_be_changing() -> None:
    made = World()
    followed(made, ShutOutError("Kafka refuses the credentials"))
    assert made.rollout.failure is None
    assert made.stop.is_set()
    assert [each["why"] for each in made.reports("neighbour.waiting")] == ["Kafka refuses the credentials"]


def test_a_right_that_is_denied_while_the_deployments_are_followed_halts_the_stream() -> None:
    made, denied = World(), RefusedError("Kafka denies this user Describe")
    followed(made, denied)
    assert made.rollout.failure is denied
    assert not made.stop.is_set()
