"""Breaks a worker on purpose, in one way at a time, when RIG_MUTANT names it: the rig has to notice each.

Python imports a module of this name at its start from PYTHONPATH; the rig alone puts this folder there. Nothing of it
is in the product's paths. Every function patches one place in the way in which such a bug is known to have been made.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any


def m1_commit_the_client_s_position() -> None:
    """Offsets are committed as far as they were handed out."""
    from scorer.core.offsets import Ledger
    from scorer.edges.kafka.consumer import KafkaSource

    def committable(self: Any) -> dict[int, int]:
        while self.pending and self.pending[0].outstanding == 0:
            self.pending.popleft()
        source = sources[-1]
        found = source._consumer.position(source._partitions(source._floors))
        return {each.partition: each.offset for each in found if each.offset >= 0}

    sources: list[Any] = []
    init = KafkaSource.__init__

    def made(self: Any, *arguments: Any, **more: Any) -> None:
        init(self, *arguments, **more)
        sources.append(self)

    KafkaSource.__init__ = made  # type: ignore[method-assign]
    Ledger.committable = committable  # type: ignore[method-assign]


def m2_commit_before_producing() -> None:
    """Offsets go first."""
    from scorer.core.errors import TransientError
    from scorer.services.worker import Worker

    score = Worker._score

    def committed_first(self: Any, source: Any, batch: Any, *more: Any, **named: Any) -> Any:
        with suppress(TransientError):  # a rebalance is going on
            source.commit(batch.next_offsets, wait=True)
        source._taken.clear()  # so that the places around a commit are still reached
        return score(self, source, batch, *more, **named)

    Worker._score = committed_first  # type: ignore[method-assign]


def m3_do_not_rewind_after_an_abort() -> None:
    """Reading goes on where it was."""
    from scorer.edges.kafka.consumer import KafkaSource

    KafkaSource.rewind = lambda self: dict(self._floors)  # type: ignore[method-assign]


def m4_commit_as_nobody_in_particular() -> None:
    """Offsets are sent with the group's name alone: no member, no generation."""
    from confluent_kafka import Consumer

    from scorer.edges.kafka.consumer import KafkaSource
    from scorer.edges.kafka.starts import Member

    init, strangers = KafkaSource.__init__, []

    def made(self: Any, properties: Any, *arguments: Any, **more: Any) -> None:
        init(self, properties, *arguments, **more)
        named = ("bootstrap.servers", "group.id")
        strangers.append(Consumer({name: properties[name] for name in named}))

    KafkaSource.__init__ = made  # type: ignore[method-assign]
    KafkaSource.membership = lambda _: Member(strangers[-1].consumer_group_metadata())  # type: ignore[method-assign]


def m5_score_records_of_partitions_that_are_gone() -> None:
    """What was read is scored, whoever owns it by now."""
    from scorer.core.offsets import Ledger
    from scorer.edges.kafka.consumer import KafkaSource

    def keep(self: Any, messages: list[Any]) -> None:
        self._disowned = set()
        self._gathered += [message for message in messages if message.error() is None]

    KafkaSource._keep = keep  # type: ignore[method-assign]
    Ledger.holds = lambda *_: True  # type: ignore[method-assign]


def m6_dead_letters_outside_the_transaction() -> None:
    """Dead letters go by a producer of their own."""
    from confluent_kafka import Producer

    from scorer.edges.kafka.transactions import KafkaTransactions

    publish, outside = KafkaTransactions.publish, []

    def apart(self: Any, outbound: Any, letters: Any, batch: Any) -> Any:
        if not outside:
            outside.append(Producer({"bootstrap.servers": self._properties["bootstrap.servers"]}))
        for each in letters:
            outside[0].produce(
                each.topic, key=each.key, value=each.value, headers=each.headers, timestamp=each.timestamp
            )
        outside[0].flush(10)
        batch.outstanding -= len(letters)
        return publish(self, outbound, [], batch)

    KafkaTransactions.publish = apart  # type: ignore[method-assign]


def m7_take_an_outage_for_a_verdict() -> None:
    """A registry that does not answer is taken for one that does not know the schema."""
    from scorer.core.errors import TransientError
    from scorer.edges.schema_cache import CachedRegistry
    from scorer.services.schemas import Schemas

    text = CachedRegistry.text

    def answered(self: Any, schema_id: int) -> Any:
        try:
            return text(self, schema_id)
        except TransientError:
            return None

    CachedRegistry.text = answered  # type: ignore[method-assign]
    init = Schemas.__init__

    def impatient(self: Any, *arguments: Any, **more: Any) -> None:
        init(self, *arguments, **{**more, "grace_ms_max": 1_000})

    Schemas.__init__ = impatient  # type: ignore[method-assign]


def m8_do_not_wait_for_deliveries() -> None:
    """What was handed to the client counts as delivered."""
    from scorer.core.offsets import Ledger

    def committable(self: Any) -> dict[int, int]:
        while self.pending:
            self.confirmed.update(self.pending.popleft().next_offsets)
        return {p: offset for p, offset in self.confirmed.items() if offset > self.committed.get(p, -1)}

    Ledger.committable = committable  # type: ignore[method-assign]


def guard_keep_the_producer_whatever_happens() -> None:
    """No new producer after a request that nobody answered."""
    from scorer.edges.kafka.transactions import KafkaTransactions

    never = property(lambda _: False, lambda *_: None)
    KafkaTransactions._indefinite = never  # type: ignore[assignment]


BREACHES = {
    "M1": m1_commit_the_client_s_position,
    "M2": m2_commit_before_producing,
    "M3": m3_do_not_rewind_after_an_abort,
    "M4": m4_commit_as_nobody_in_particular,
    "M5": m5_score_records_of_partitions_that_are_gone,
    "M6": m6_dead_letters_outside_the_transaction,
    "M7": m7_take_an_outage_for_a_verdict,
    "M8": m8_do_not_wait_for_deliveries,
    "no guard": guard_keep_the_producer_whatever_happens,
}

if os.environ.get("RIG_MUTANT"):
    BREACHES[os.environ["RIG_MUTANT"]]()
