"""The rules by which writer schemas are waited for, on a registry that answers what the test says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from scorer.core.errors import ConfigError, ContractError, TransientError
from scorer.core.schema import WriterSchema
from scorer.services.schemas import BACKOFF_MS_MAX, SETTLED_MAX, Schemas, Waiting

RECORD = '{"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}]}'
RECURSIVE = '{"type": "record", "name": "R", "fields": [{"name": "a", "type": ["null", "R"]}]}'
GRACE_MS = 10_000.0
NEGATIVE_MS = 60_000.0


@dataclass
class Script:
    """A registry: ids to schemas, unless it is down or refuses."""

    texts: dict[int, str] = field(default_factory=dict)
    problem: Exception | None = None
    asked: list[int] = field(default_factory=list)

    def text(self, schema_id: int) -> str | None:
        self.asked.append(schema_id)
        if self.problem is not None:
            raise self.problem
        return self.texts.get(schema_id)


@dataclass
class Loop:
    """A worker's loop around Schemas, with a clock that only waiting moves."""

    registry: Script = field(default_factory=Script)
    now_ms: float = 5_000_000.0
    unknown_ids_max: int = 1000
    reports: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.schemas = Schemas(
            self.registry,
            lambda event, fields: self.reports.append((event, fields)),
            grace_ms_max=GRACE_MS,
            negative_ms_max=NEGATIVE_MS,
            unknown_ids_max=self.unknown_ids_max,
        )

    def step(self, ids: Iterable[int]) -> Waiting | None:
        """One turn: None when nothing is missing any more."""
        _, missing = self.schemas.known(ids, self.now_ms)
        return self.schemas.advance(missing, self.now_ms) if missing else None

    def run(self, ids: Iterable[int], budget_ms: float = 1_000_000.0) -> dict[int, WriterSchema | str]:
        """Waits as told until all is resolved."""
        until_ms = self.now_ms + budget_ms
        while (waiting := self.step(ids)) is not None:
            self.now_ms += waiting.wait_ms
            assert self.now_ms < until_ms, waiting
        return self.schemas.known(ids, self.now_ms)[0]


def test_an_id_is_asked_for_once_and_then_known_from_memory() -> None:
    loop = Loop(Script({1: RECORD}))
    first = loop.run([1])[1]
    assert isinstance(first, WriterSchema)
    assert first.id == 1
    assert loop.run([1])[1] is first
    assert loop.registry.asked == [1]


def test_known_never_asks_the_registry() -> None:
    loop = Loop(Script({1: RECORD}))
    assert loop.schemas.known([1, 2], loop.now_ms) == ({}, {1, 2})
    assert loop.registry.asked == []


def test_each_call_asks_at_most_one_question() -> None:
    loop = Loop(Script({1: RECORD, 2: RECORD, 3: RECORD}))
    counts = []
    while (waiting := loop.step([1, 2, 3])) is not None:
        counts.append(len(loop.registry.asked))
        loop.now_ms += waiting.wait_ms
    assert counts == [1, 2]
    assert loop.registry.asked == [1, 2, 3]


def test_a_wait_is_never_shorter_than_a_millisecond_so_that_the_loop_serves_its_group() -> None:
    loop = Loop(Script({1: RECORD, 2: RECORD}))
    assert loop.step([1, 2]) == Waiting(1, "asking the registry for 1 more schemas")


def test_an_unknown_id_is_rejected_after_its_grace_and_not_before() -> None:
    loop = Loop()
    began_ms = loop.now_ms
    assert loop.run([17]) == {17: "unknown_schema"}
    assert loop.now_ms - began_ms == GRACE_MS
    assert loop.reports == [("schema.unknown", {"schema_id": 17, "asked": len(loop.registry.asked)})]


def test_an_id_that_appears_during_its_grace_is_known() -> None:
    loop = Loop()
    while loop.now_ms < 5_000_000.0 + GRACE_MS / 2:
        waiting = loop.step([17])
        assert waiting is not None
        loop.now_ms += waiting.wait_ms
    loop.registry.texts[17] = RECORD
    assert isinstance(loop.run([17])[17], WriterSchema)
    assert loop.reports == []


def test_an_unknown_id_is_asked_for_with_a_doubling_backoff_and_at_the_very_end_of_its_grace() -> None:
    loop = Loop()
    times = []
    while (waiting := loop.step([17])) is not None:
        times.append(loop.now_ms - 5_000_000.0)
        loop.now_ms += waiting.wait_ms
    assert times == [0, 100, 300, 700, 1500, 3100, 6300]
    assert len(loop.registry.asked) == len(times) + 1
    assert loop.now_ms - 5_000_000.0 == GRACE_MS


def test_a_wait_for_an_unknown_id_says_which_and_how_much_longer() -> None:
    loop = Loop()
    loop.step([17])
    loop.now_ms += 2000
    waiting = loop.step([17])
    assert waiting == Waiting(200, "unknown to the registry: schema id 17; waiting 8 s more")


def test_a_loop_that_comes_back_early_asks_nothing() -> None:
    loop = Loop()
    loop.step([17])
    for _ in range(50):
        assert loop.step([17]) is not None
    assert loop.registry.asked == [17]


def test_unknown_ids_of_one_batch_share_their_grace() -> None:
    loop = Loop()
    ids = range(100, 110)
    began_ms = loop.now_ms
    assert set(loop.run(ids).values()) == {"unknown_schema"}
    assert loop.now_ms - began_ms < GRACE_MS + 100
    loop = Loop()
    for _ in ids:
        waiting = loop.step(ids)
        loop.now_ms += 1
    assert waiting is not None
    assert "schema ids 100, 101, 102, 103, 104 and 5 more" in waiting.why


def test_a_rejected_id_is_asked_for_again_once_without_a_new_grace() -> None:
    loop = Loop()
    loop.run([17])
    asked = len(loop.registry.asked)
    loop.now_ms += NEGATIVE_MS - 1
    assert loop.run([17]) == {17: "unknown_schema"}
    assert len(loop.registry.asked) == asked
    loop.now_ms += 1
    again_ms = loop.now_ms
    assert loop.run([17]) == {17: "unknown_schema"}
    assert len(loop.registry.asked) == asked + 1
    assert loop.now_ms == again_ms
    loop.now_ms += NEGATIVE_MS
    loop.registry.texts[17] = RECORD
    assert isinstance(loop.run([17])[17], WriterSchema)


def test_an_outage_is_waited_out_however_long_and_rejects_nothing() -> None:
    loop = Loop(Script({1: RECORD}, TransientError("the registry at http://r does not answer")))
    waits = []
    for _ in range(2000):
        waiting = loop.step([1])
        assert waiting is not None
        waits.append(waiting.wait_ms)
        loop.now_ms += waiting.wait_ms
    assert waits[:8] == [100, 200, 400, 800, 1600, 3200, BACKOFF_MS_MAX, BACKOFF_MS_MAX]
    assert loop.now_ms - 5_000_000.0 > 100 * NEGATIVE_MS
    loop.registry.problem = None
    assert isinstance(loop.run([1], budget_ms=BACKOFF_MS_MAX + 1)[1], WriterSchema)


def test_an_outage_says_who_is_silent_and_which_attempt_it_was() -> None:
    loop = Loop(Script(problem=TransientError("the registry at http://r does not answer")))
    loop.step([1, 2])
    loop.now_ms += 100
    assert loop.step([1, 2]) == Waiting(200, "the registry at http://r does not answer, attempt 2")


def test_no_id_is_asked_for_while_an_outage_backs_off() -> None:
    loop = Loop(Script({2: RECORD}, TransientError("down")))
    loop.step([1])
    loop.registry.problem = None
    loop.now_ms += 99
    assert loop.step([1, 2]) == Waiting(1, "down, attempt 1")
    assert loop.registry.asked == [1]


def test_outage_time_does_not_count_against_the_grace() -> None:
    loop = Loop()
    loop.step([17])
    loop.now_ms += 3000
    loop.registry.problem = TransientError("down")
    outage_began_ms = loop.now_ms
    while loop.now_ms < outage_began_ms + 10 * GRACE_MS:
        waiting = loop.step([17])
        assert waiting is not None
        loop.now_ms += waiting.wait_ms
    loop.registry.problem = None
    outage_ended_ms = loop.now_ms
    assert loop.run([17]) == {17: "unknown_schema"}
    assert loop.now_ms - outage_ended_ms == GRACE_MS - 3000


def test_an_id_first_needed_during_an_outage_has_its_whole_grace_afterwards() -> None:
    loop = Loop(Script(problem=TransientError("down")))
    loop.step([1])
    loop.now_ms += 2 * GRACE_MS
    loop.step([1, 17])
    loop.now_ms += 2 * GRACE_MS
    loop.registry.problem, loop.registry.texts = None, {1: RECORD}
    back_ms = loop.now_ms
    assert loop.run([1, 17])[17] == "unknown_schema"
    assert loop.now_ms - back_ms == pytest.approx(GRACE_MS, abs=2)


def test_the_backoff_of_an_outage_starts_anew_with_the_next_one() -> None:
    loop = Loop(Script({1: RECORD}, TransientError("down")))
    for _ in range(6):
        loop.step([1])
        loop.now_ms += BACKOFF_MS_MAX
    loop.registry.problem = None
    loop.run([1])
    loop.registry.problem = TransientError("down")
    assert loop.step([2]) == Waiting(100, "down, attempt 1")


@pytest.mark.parametrize("text", [RECURSIVE, '"string"', "{", '{"type": "record", "name": "R"}'])
def test_a_schema_that_is_not_admitted_is_rejected_at_once_and_for_good(text: str) -> None:
    loop = Loop(Script({5: text}))
    began_ms = loop.now_ms
    assert loop.run([5]) == {5: "inadmissible_schema"}
    assert loop.now_ms == began_ms
    loop.now_ms += 10 * NEGATIVE_MS
    assert loop.run([5]) == {5: "inadmissible_schema"}
    assert loop.registry.asked == [5]
    ((event, fields),) = loop.reports
    assert (event, fields["schema_id"]) == ("schema.inadmissible", 5)
    assert "schema 5" in fields["why"]


def test_a_schema_that_the_registry_cannot_give_whole_is_not_admitted() -> None:
    loop = Loop(Script(problem=ContractError("schema 5 refers to other schemas")))
    assert loop.run([5]) == {5: "inadmissible_schema"}


def test_a_wrong_address_is_the_operators_and_comes_through() -> None:
    loop = Loop(Script(problem=ConfigError("HTTP 405")))
    with pytest.raises(ConfigError, match="405"):
        loop.run([1])


def test_a_batch_with_more_unknown_ids_than_are_remembered_is_resolved() -> None:
    loop = Loop(unknown_ids_max=3)
    assert loop.run(range(1, 9)) == dict.fromkeys(range(1, 9), "unknown_schema")


def test_of_unknown_ids_the_oldest_are_forgotten_beyond_the_limit() -> None:
    loop = Loop(unknown_ids_max=3)
    loop.run(range(1, 6))
    assert loop.schemas.known([3, 4, 5], loop.now_ms)[1] == set()
    assert loop.schemas.known([1, 2], loop.now_ms)[1] == {1, 2}


def test_of_schemas_the_oldest_are_forgotten_beyond_the_limit_and_fetched_again() -> None:
    loop = Loop(Script(dict.fromkeys(range(1, SETTLED_MAX + 2), RECORD)))
    assert len(loop.run(range(1, SETTLED_MAX + 2))) == SETTLED_MAX + 1
    asked = len(loop.registry.asked)
    assert isinstance(loop.run([1, SETTLED_MAX + 1])[1], WriterSchema)
    assert loop.registry.asked[asked:] == [1]


def test_a_slow_registry_does_not_make_verdicts_run_out_before_the_batch_is_resolved() -> None:
    class Slow(Script):
        def text(self, schema_id: int) -> str | None:
            loop.now_ms += 3000
            return super().text(schema_id)

    loop = Loop(Slow())
    ids = range(1, 50)  # 49 questions of 3 s are longer than the 60 s that a verdict lasts
    assert loop.run(ids) == dict.fromkeys(ids, "unknown_schema")
    loop.now_ms += 2 * NEGATIVE_MS
    assert loop.run(ids) == dict.fromkeys(ids, "unknown_schema")
