"""The topic of deployments is followed on: what comes of clients that are refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Event

import pytest

from scorer.core.errors import RefusedError, ScorerError, ShutOutError, TransientError
from scorer.core.records import RecordBatch
from scorer.edges.clock import SystemClock
from scorer.services.deployment_log import PARTITION, DeploymentLog
from scorer.services.schemas import Schemas
from tests.unit.services.deployed import DEPLOYMENTS
from tests.unit.services.surroundings import World


class Reader:
    """Implements deployment_log.Reader over an empty topic; a client that has failed once keeps failing."""

    def __init__(self, failure: ScorerError | None) -> None:
        self.failure = failure
        self.ended: Mapping[tuple[str, int], int] = {}
        self.closed = False

    def read(self, rows_max: int, wait_ms_max: int) -> list[RecordBatch]:  # noqa: ARG002 - the port's name
        if self.failure is not None:
            raise self.failure
        return []

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
