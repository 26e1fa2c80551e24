"""Sending events at a given rate, with a clock that only sleeping moves and a producer that confirms when told."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import fastavro
import pytest

from scorer.core.errors import ConfigError, TransientError
from scorer.core.offsets import InFlight
from scorer.core.records import Outbound
from scorer.local.sending import CHUNK_ROWS_MAX, STOP_MS_MAX, Message, encoded, send
from tests.unit.core.batches import record_schema

SCHEMA = record_schema(("lead_id", "string"), ("age", "int"), schema_id=7)


@dataclass
class Machine:
    """A producer and a clock.

    Attributes:
        silent: whether nothing is confirmed.
        too_large: values that the producer does not take.
        sent: (time in ms, value) of each message.
    """

    silent: bool = False
    too_large: frozenset[bytes] = frozenset()
    stop: Event = field(default_factory=Event)
    sent: list[tuple[float, bytes]] = field(default_factory=list)
    waiting: list[InFlight] = field(default_factory=list)
    ms: float = 0.0
    stop_at_ms: float = float("inf")

    def publish(self, outbound: Outbound, letters: Any, batch: InFlight) -> list[int]:
        assert not letters
        taken = [at for at, value in enumerate(outbound.values) if value not in self.too_large]
        self.sent += [(self.ms, outbound.values[at]) for at in taken]
        self.waiting += [batch] * len(taken)
        return sorted(set(range(len(outbound))) - set(taken))

    def poll(self, wait_ms: int) -> None:
        if self.silent:
            self.sleep(wait_ms)
            return
        for batch in self.waiting:
            batch.outstanding -= 1
        self.waiting.clear()

    def ticks_ms(self) -> float:
        return self.ms

    def now_ms(self) -> int:
        return int(self.ms)

    def sleep(self, ms: float) -> None:
        self.ms += ms
        assert self.ms < 1e6, "it waits for ever"
        if self.ms >= self.stop_at_ms:
            self.stop.set()

    def send(self, messages: Iterator[Message], **options: Any) -> int:
        return send(messages, "events", self, self, stop=self.stop, **options)


def messages(count: int) -> Iterator[Message]:
    return ((b"k", str(number).encode()) for number in range(count))


def test_a_key_may_be_a_field_within_a_record() -> None:
    inner = {"type": "record", "name": "Owner", "fields": [{"name": "id", "type": "string"}]}
    ((key, _),) = encoded([{"owner": {"id": "l-1"}}], record_schema(("owner", inner), schema_id=7), "owner.id")
    assert key == b"l-1"


def test_events_become_key_and_value_in_the_wire_format() -> None:
    ((key, value),) = encoded([{"lead_id": "l-é", "age": 41}], SCHEMA, "lead_id")
    assert key == "l-é".encode()
    assert value[:5] == b"\0\0\0\0\x07"
    assert fastavro.schemaless_reader(io.BytesIO(value[5:]), SCHEMA.parsed) == {"lead_id": "l-é", "age": 41}


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"lead_id": "a", "age": "old"}, r"event 2 is not of the topic's schema \(id 7\): "),
        ({"lead_id": "a"}, r"event 2 is not of the topic's schema \(id 7\): "),
        ({"age": 5}, r"event 2 is not of the topic's schema \(id 7\): "),
    ],
)
def test_an_event_that_is_not_of_the_topics_schema_is_named(event: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        list(encoded([{"lead_id": "a", "age": 1}, event], SCHEMA, "lead_id"))


def test_a_key_that_the_event_lacks_is_named() -> None:
    with pytest.raises(ConfigError, match=r"event 1 is not of .* KeyError: 'customer_id'"):
        list(encoded([{"lead_id": "a", "age": 1}], SCHEMA, "customer_id"))


def test_without_a_rate_everything_is_sent_at_once_in_order_and_confirmed() -> None:
    machine, told = Machine(), []
    assert machine.send(messages(1234), progress=told.append) == 1234
    assert [value for _, value in machine.sent] == [str(number).encode() for number in range(1234)]
    assert machine.ms == 0
    assert machine.waiting == []
    assert told == [CHUNK_ROWS_MAX, 2 * CHUNK_ROWS_MAX, 1234]


@pytest.mark.parametrize("rate", [1.0, 50.0, 1000.0, 20_000.0])
def test_a_rate_is_kept_from_the_first_event_on(rate: float) -> None:
    machine = Machine()
    count = max(3, int(rate / 2))
    assert machine.send(messages(count), rate=rate) == count
    for number, (ms, _) in enumerate(machine.sent):
        due_ms = number * 1000 / rate
        assert due_ms <= ms + 1e-6 <= due_ms + 6 + CHUNK_ROWS_MAX / rate


def test_no_events_are_no_failure() -> None:
    assert Machine().send(messages(0)) == 0


def test_told_to_stop_it_sends_no_more_and_confirms_what_was_sent() -> None:
    machine = Machine(stop_at_ms=1000)
    count = machine.send(messages(10_000), rate=100)
    assert 95 <= count <= 105
    assert len(machine.sent) == count
    assert machine.waiting == []


def test_confirmations_are_awaited_however_long_they_take() -> None:
    machine = Machine(silent=True)

    class Late(Machine):
        def poll(self, wait_ms: int) -> None:
            self.silent = self.ms < 300_000
            super().poll(wait_ms)

    machine = Late()
    assert machine.send(messages(3)) == 3
    assert machine.ms >= 300_000


def test_told_to_stop_while_a_broker_is_silent_it_ends_and_says_how_many_are_not_confirmed() -> None:
    machine = Machine(silent=True, stop_at_ms=50_000)
    with pytest.raises(TransientError, match="3 of 3 events sent to events are not confirmed"):
        machine.send(messages(3))
    assert 50_000 + STOP_MS_MAX <= machine.ms <= 50_500 + STOP_MS_MAX


def test_an_event_that_is_too_large_is_named_instead_of_being_waited_for() -> None:
    machine = Machine(too_large=frozenset({b"503"}))
    with pytest.raises(ConfigError, match=r"event 504 has 3 bytes, .* raise kafka.producer.message.max.bytes"):
        machine.send(messages(600))


def test_a_delivery_that_fails_comes_out() -> None:
    class Failing(Machine):
        def poll(self, wait_ms: int) -> None:
            raise TransientError(f"a delivery failed within {wait_ms} ms")

    with pytest.raises(TransientError, match="a delivery failed"):
        Failing().send(messages(3))
