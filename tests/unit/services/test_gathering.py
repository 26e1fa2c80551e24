"""From when on the predictions of a range are all there, by what the output topic holds."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from scorer.core.account import Account
from scorer.core.pieces import Span
from scorer.core.ranges import ANY_TIME_MS, Range
from scorer.core.wire import prefix
from scorer.edges.spill import Spill
from scorer.services.gathering import Gathering
from tests.unit.core.batches import batch_of
from tests.unit.services import verify_world
from tests.unit.services.redrive_world import OUTPUT, SOURCE
from tests.unit.services.verify_world import scored

BATCHES = [
    batch_of([b"", b""], partitions=[0, 0], offsets=[5, 6], timestamps=[300, 800]),
    batch_of([b"", b""], partitions=[1, 0], offsets=[7, 7], timestamps=[100, 900]),
]
"""What two partitions of an output topic hold, whose beginnings are gone."""


def kept_since(lows: dict[int, int], spans: dict[int, Span]) -> int:
    topics = SimpleNamespace(stretch=lambda *_: iter(BATCHES))
    decoder = SimpleNamespace(tables=lambda _: ([], {}))
    gathering = Gathering(
        cast(Any, topics),
        cast(Any, decoder),
        cast(Any, None),
        "events",
        Range({}, {}, None, False),
        "live",
        False,
        Account(),
    )
    gathering.predictions("predictions", spans, lows)
    return gathering.predictions_gone.before_ms


@pytest.mark.parametrize(
    ("lows", "firsts", "since_ms"),
    [
        ({0: 5, 1: 7}, {0: 5, 1: 7}, 300),
        ({0: 5, 1: 7}, {0: 0, 1: 0}, 300),
        ({0: 5, 1: 0}, {0: 5, 1: 0}, 300),
        ({0: 0, 1: 7}, {0: 0, 1: 7}, 100),
        ({0: 0, 1: 0}, {0: 0, 1: 0}, 0),
        ({0: 3, 1: 3}, {0: 5, 1: 7}, 0),
        ({0: 5, 1: 7, 2: 9}, {0: 5, 1: 7, 2: 9}, ANY_TIME_MS),
        ({0: 5, 1: 7, 2: 0}, {0: 5, 1: 7, 2: 0}, 300),
    ],
)
def test_predictions_are_gone_up_to_the_latest_of_the_first_records_of_partitions_that_have_lost_some(
    lows: dict[int, int], firsts: dict[int, int], since_ms: int
) -> None:
    assert kept_since(lows, {partition: (first, 100) for partition, first in firsts.items()}) == since_ms


def test_predictions_are_put_aside_in_the_order_of_their_topic_whatever_their_schemas(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = verify_world.Texts.text
    text = verify_world.PREDICTION_TEXT
    monkeypatch.setattr(verify_world.Texts, "text", lambda self, number: text if number == 77 else known(self, number))
    it = scored(6)  # the first three are about one partition, and come in one batch
    log = it.world.logs[OUTPUT]
    for place in [(0, 0), (0, 2)]:
        log[place] = replace(log[place], value=prefix(77) + (log[place].value or b"")[5:])
    with Spill() as spill:
        own = it.world.topics(), it.decoder(), spill, SOURCE, it.range()
        gathering = Gathering(*own, "live", False, Account(), window=100)
        gathering.predictions(OUTPUT, {0: (0, 6)}, {})
        places = [each.place for number in range(len(gathering.cut)) for each in spill.take(number)]
    assert places == sorted(places)
    assert len(places) == 6
