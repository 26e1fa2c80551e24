"""Bundles that are loaded while scoring goes on: what is waited for, and what is a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Event
from typing import Any

import pytest

from scorer.core.deployments import Intent
from scorer.core.errors import RefusedError, ScorerError, TransientError
from scorer.core.scoring import Recipe
from scorer.services.loading import Bundles
from tests.unit.services.deployed import intent
from tests.unit.services.samples import recipe


def test_a_bundle_that_is_being_loaded_is_not_loaded_a_second_time_meanwhile() -> None:
    begun, go_on, done = list[Intent](), Event(), Event()

    def load(wanted: Intent) -> Recipe:
        begun.append(wanted)
        assert go_on.wait(20.0)
        return recipe()

    bundles, wanted = Bundles(load, lambda *_: done.set(), Event()), intent(recipe(), 0)
    for _ in range(3):
        bundles.need(wanted)
    go_on.set()
    assert done.wait(20.0)
    assert begun == [wanted]


@pytest.mark.parametrize("refusal", [TransientError("no answer"), RefusedError("the registry refuses the password")])
def test_a_neighbour_that_does_not_answer_or_lets_nobody_in_now_is_no_verdict_on_a_bundle(refusal: ScorerError) -> None:
    failures, told, settled = [refusal], list[tuple[str, Mapping[str, Any]]](), Event()

    def load(_: Intent) -> Recipe:
        if failures:
            raise failures.pop()
        return recipe()

    def report(event: str, fields: Mapping[str, Any]) -> None:
        told.append((event, fields))
        if event != "neighbour.waiting":
            settled.set()

    bundles, wanted = Bundles(load, report, Event()), intent(recipe(), 0)
    bundles.need(wanted)
    assert settled.wait(20.0)
    assert [event for event, _ in told] == ["neighbour.waiting", "deployment.ready"]
    assert told[0][1]["why"] == str(refusal)
    assert bundles.failure is None
