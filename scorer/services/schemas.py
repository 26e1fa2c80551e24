"""Writer schemas by id, for a loop that must not block: from memory, or one question to the registry at a time.

    known = schemas.resolve(ids, clock.ticks_ms, stop, wait)      # `wait` stays in the group for waiting.wait_ms

An outage is never a verdict: while the registry does not answer, everything waits. An id that it answers for but does
not know is waited for during a grace period, which outages do not use up, then its records are rejected
(`unknown_schema`) for a while, after which the registry is asked again. A schema that is not admitted is rejected for
good (`inadmissible_schema`). `now_ms` are the same ticks throughout (ports.Clock.ticks_ms).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from scorer.core.errors import ContractError, RefusedError, TransientError
from scorer.core.ports import Report, SchemaRegistry
from scorer.core.schema import WriterSchema, writer_schema

UNKNOWN = "unknown_schema"
INADMISSIBLE = "inadmissible_schema"

BACKOFF_MS_MIN = 100
BACKOFF_MS_MAX = 5000
SETTLED_MAX = 1024
"""How many schemas are kept in memory, those not admitted included; the oldest go first and are fetched again."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a batch has to wait.

    Attributes:
        wait_ms: after so long it is worth asking again; 1 or more.
        why: for people.
    """

    wait_ms: int
    why: str


@dataclass(slots=True)
class _Absent:
    """An id that the registry did not know when last asked, or was not asked for yet.

    Attributes:
        seen_ms: when it was first needed.
        outage_ms: how much outage there had been until then.
        next_ms: not to be asked before.
        asked: how often the registry has answered that it does not know it.
        until_ms: its records are rejected until then.
    """

    seen_ms: float
    outage_ms: float
    next_ms: float
    asked: int = 0
    until_ms: float = -math.inf


@dataclass(slots=True)
class _Outage:
    """The registry's silence, now and before.

    Attributes:
        since_ms: when the present outage was noticed, or None.
        past_ms: how long all earlier ones took.
        attempts: questions without an answer in the present one.
        next_ms: not to be asked before.
        why: for people.
    """

    since_ms: float | None = None
    past_ms: float = 0.0
    attempts: int = 0
    next_ms: float = -math.inf
    why: str = ""

    def total_ms(self, now_ms: float) -> float:
        return self.past_ms + (0.0 if self.since_ms is None else now_ms - self.since_ms)

    def noticed(self, now_ms: float, why: str) -> None:
        self.since_ms = now_ms if self.since_ms is None else self.since_ms
        self.attempts += 1
        self.next_ms = now_ms + _backoff_ms(self.attempts)
        self.why = f"{why}, attempt {self.attempts}"

    def over(self, now_ms: float) -> None:
        self.past_ms = self.total_ms(now_ms)
        self.since_ms, self.attempts = None, 0


@dataclass(slots=True)
class Schemas:
    """Resolves schema ids for one loop. All calls come from one thread.

    Attributes:
        registry: asked for what is not in memory.
        report: told of each schema that is not admitted (`schema.inadmissible`) and each id that is given up on
            (`schema.unknown`), with why.
        grace_ms_max: how long an id that the registry does not know is waited for, from when it was first needed.
        negative_ms_max: how long its records are rejected before the registry is asked again.
        unknown_ids_max: how many such ids are remembered between batches; the oldest go first.
    """

    registry: SchemaRegistry
    report: Report
    grace_ms_max: float = 10_000
    negative_ms_max: float = 60_000
    unknown_ids_max: int = 1000
    _settled: dict[int, WriterSchema | str] = field(default_factory=dict)
    _absent: dict[int, _Absent] = field(default_factory=dict)
    _outage: _Outage = field(default_factory=_Outage)
    _as_of_ms: float | None = None

    def resolve(
        self, ids: Iterable[int], ticks_ms: Callable[[], float], stop: Event, wait: Callable[[Waiting], None]
    ) -> Mapping[int, WriterSchema | str] | None:
        """Every schema of a batch, waited for while the registry is down or does not know one yet.

        Args:
            ids: the schema ids.
            ticks_ms: the clock.
            stop: set to give up.
            wait: called between two questions; returns when it is time for the next one, or `stop` is set.

        Returns:
            as the first of `known`; None if told to stop.

        Raises:
            ConfigError: the registry's address is wrong, which waiting does not cure.
        """
        found, missing = self.known(ids, ticks_ms())
        while missing:
            waiting = self.advance(missing, ticks_ms())
            if waiting is not None:
                wait(waiting)
            if stop.is_set():
                return None
            found, missing = self.known(ids, ticks_ms())
        return found

    def known(self, ids: Iterable[int], now_ms: float) -> tuple[dict[int, WriterSchema | str], set[int]]:
        """What memory says of a batch's schema ids, and which of them it lacks.

        Returns:
            id to the admitted schema, or to the reason code why its records are rejected; the ids still to be resolved.
        """
        self._begin(now_ms)
        found: dict[int, WriterSchema | str] = {}
        missing: set[int] = set()
        for schema_id in ids:
            answer = self._answer(schema_id)
            if answer is None:
                missing.add(schema_id)
            else:
                found[schema_id] = answer
        if not missing:
            self._as_of_ms = None
            _forget_oldest(self._settled, SETTLED_MAX)
            _forget_oldest(self._absent, self.unknown_ids_max)
        return found, missing

    def advance(self, missing: set[int], now_ms: float) -> Waiting | None:
        """Asks the registry for one missing id, if one is due. Takes no longer than that one question.

        Returns:
            None when all are resolved, else how long to wait before the next call, and why.

        Raises:
            ConfigError: the registry's address is wrong, which waiting does not cure.
        """
        self._begin(now_ms)
        for schema_id in sorted(missing):
            if schema_id not in self._absent and schema_id not in self._settled:
                self._absent[schema_id] = _Absent(now_ms, self._outage.total_ms(now_ms), now_ms)
        left = self._unanswered(missing)
        if left and self._outage.next_ms <= now_ms and self._absent[left[0]].next_ms <= now_ms:
            self._ask(left[0], now_ms)
            left = self._unanswered(missing)
        return self._waiting(left, now_ms) if left else None

    def _begin(self, now_ms: float) -> None:
        """Fixes the time as of which a wait is judged: a verdict that runs out meanwhile would never let it end."""
        if self._as_of_ms is None:
            self._as_of_ms = now_ms

    def _answer(self, schema_id: int) -> WriterSchema | str | None:
        settled = self._settled.get(schema_id)
        if settled is not None:
            return settled
        absent = self._absent.get(schema_id)
        assert self._as_of_ms is not None
        return UNKNOWN if absent is not None and absent.until_ms > self._as_of_ms else None

    def _unanswered(self, missing: set[int]) -> list[int]:
        """The ids still to be resolved, the one to be asked for first in front."""
        left = [schema_id for schema_id in missing if self._answer(schema_id) is None]
        return sorted(left, key=lambda schema_id: (self._absent[schema_id].next_ms, schema_id))

    def _ask(self, schema_id: int, now_ms: float) -> None:
        answer: WriterSchema | str | None
        try:
            text = self.registry.text(schema_id)
            answer = None if text is None else writer_schema(schema_id, text)
        except (TransientError, RefusedError) as error:  # a password or a right that is put right is no verdict either
            self._outage.noticed(now_ms, str(error))
            return
        except ContractError as error:
            answer = INADMISSIBLE
            self.report("schema.inadmissible", {"schema_id": schema_id, "why": str(error)})
        self._outage.over(now_ms)
        if answer is None:
            self._note_absence(schema_id, now_ms)
        else:
            self._settled[schema_id] = answer
            del self._absent[schema_id]

    def _note_absence(self, schema_id: int, now_ms: float) -> None:
        absent = self._absent[schema_id]
        absent.asked += 1
        left_ms = self._grace_left_ms(absent, now_ms)
        if left_ms > 0:
            absent.next_ms = now_ms + min(_backoff_ms(absent.asked), left_ms)
        else:
            absent.until_ms = absent.next_ms = now_ms + self.negative_ms_max
            self.report("schema.unknown", {"schema_id": schema_id, "asked": absent.asked})

    def _grace_left_ms(self, absent: _Absent, now_ms: float) -> float:
        outage_ms = self._outage.total_ms(now_ms) - absent.outage_ms
        return self.grace_ms_max - (now_ms - absent.seen_ms - outage_ms)

    def _waiting(self, left: list[int], now_ms: float) -> Waiting:
        first = self._absent[left[0]]
        if self._outage.since_ms is not None:
            next_ms, why = self._outage.next_ms, self._outage.why
        elif first.asked == 0:
            next_ms, why = first.next_ms, f"asking the registry for {len(left)} more schemas"
        else:
            grace_ms = max(self._grace_left_ms(self._absent[schema_id], now_ms) for schema_id in left)
            next_ms = first.next_ms
            why = f"unknown to the registry: {_named(left)}; waiting {math.ceil(grace_ms / 1000)} s more"
        return Waiting(max(1, math.ceil(next_ms - now_ms)), why)


def _named(ids: list[int]) -> str:
    shown = ", ".join(str(schema_id) for schema_id in sorted(ids)[:5])
    return f"schema id{'s' if len(ids) > 1 else ''} {shown}{f' and {len(ids) - 5} more' if len(ids) > 5 else ''}"


def _backoff_ms(attempt: int) -> float:
    """Doubles from the first attempt on, up to the most."""
    return min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2.0 ** min(attempt - 1, 16))


def _forget_oldest(kept: dict[int, Any], most: int) -> None:
    while len(kept) > most:
        del kept[next(iter(kept))]
