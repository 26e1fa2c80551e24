"""The topic of deployments as entries: when its reader is opened anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Event

import pytest

from scorer.core.errors import ScorerError, ShutOutError, TransientError
from scorer.core.records import RecordBatch
from scorer.edges.clock import SystemClock
from scorer.services.deployment_log import PARTITION, DeploymentLog
from scorer.services.schemas import Schemas
from tests.unit.services.deployed import DEPLOYMENTS


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
