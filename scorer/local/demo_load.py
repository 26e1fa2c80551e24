"""The demo's load: everything in one burst, then some events at a steady pace; and the account of what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Event

from scorer.core.ports import Publisher
from scorer.core.schema import WriterSchema
from scorer.core.wire import prefix
from scorer.edges.clock import SystemClock
from scorer.local.demo_readers import Answer, Table
from scorer.local.events import KEYS, TOPICS, Events
from scorer.local.sending import Message, encoded, send
from scorer.local.tally import Tally

PACED_EVENTS = 1000
PACED_PER_S = 200.0
STALL_S_MAX = 60.0

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Outcome:
    """What came of it.

    Attributes:
        sent: events by kind, bad ones included.
        tally: the subscriber's account.
        burst_s: from the first event sent until the last of the burst was received.
        burst: how many events that were.
        paced_since_ms: Kafka timestamps from here on belong to the paced part.
        problem: why not every event is accounted for, or "".
        answer: what the gateway said about the last event.
        complete: what the SQL sinks said, a line each.
        tables: what the database said.
    """

    tally: Tally
    sent: dict[str, int] = field(default_factory=dict)
    burst_s: float = 0.0
    burst: int = 0
    paced_since_ms: int = 0
    problem: str = ""
    answer: Answer | None = None
    complete: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Events sent."""
        return sum(self.sent.values())


def send_all(
    streams: list[Events],
    schemas: Mapping[str, WriterSchema],
    publisher: Publisher,
    outcome: Outcome,
    progress: Progress,
) -> None:
    """Sends all events and waits until each is accounted for; `outcome.problem` says so if not.

    The last events of each stream come at a steady pace, so that delays are measured without a queue.
    """
    paced: dict[str, list[Message]] = {}
    burst: dict[str, list[Message]] = {}
    for stream in streams:
        schema = schemas[TOPICS[stream.kind]]
        messages = list(encoded(stream.events, schema, KEYS[stream.kind]))
        held = min(PACED_EVENTS // len(streams), len(messages) // 2)
        paced[stream.kind] = messages[len(messages) - held :]
        burst[stream.kind] = messages[: len(messages) - held] + ([] if stream.real else _bad(schema, stream.kind))
    started_s = time.monotonic()
    _send(burst, publisher, outcome, rate=0.0)
    outcome.burst = outcome.total
    await_all(outcome, progress)
    outcome.burst_s = outcome.tally.last_s - started_s
    outcome.paced_since_ms = SystemClock().now_ms()
    _send(paced, publisher, outcome, rate=PACED_PER_S)
    await_all(outcome, progress)


def _send(load: Mapping[str, list[Message]], publisher: Publisher, outcome: Outcome, rate: float) -> None:
    for kind, messages in load.items():
        count = send(iter(messages), TOPICS[kind], publisher, SystemClock(), rate=rate, stop=Event())
        outcome.sent[kind] = outcome.sent.get(kind, 0) + count


def _bad(schema: WriterSchema, kind: str) -> list[Message]:
    """A few events that no scorer can score, to show where they go."""
    head = prefix(schema.id)
    broken = [head + b"\x10half an event", b"not in the wire format", head]
    return [(f"bad-{kind}-{number}".encode(), value) for number, value in enumerate(broken * 3)]


def await_all(outcome: Outcome, progress: Progress) -> None:
    """Waits until every event sent is accounted for, or nothing has come for too long."""
    seen, since_s = -1, time.monotonic()
    while outcome.tally.accounted < outcome.total:
        if outcome.tally.accounted != seen:
            seen, since_s = outcome.tally.accounted, time.monotonic()
        elif time.monotonic() - since_s > STALL_S_MAX:
            outcome.problem = f"{outcome.total - seen} of {outcome.total} events have not come out"
            return
        progress(seen, outcome.total)
        time.sleep(0.05)
    progress(outcome.tally.accounted, outcome.total)
