"""Leads sent at a rate while faults happen, and the table of what has to come of each: the oracle's half of the test.

Every lead's ids are canaries: e-mail addresses and marks that must never be seen in a log, a metric or a header.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from confluent_kafka import Producer

from tests.harness.poison import Writers, kinds_of
from tests.harness.topics import Raw
from tests.oracle.watcher import end_of, read_to_end

Place = tuple[int, int]
POOL = 2_000
CANARY = "canary"
FLUSH_S_MAX = 90.0


@dataclass(frozen=True, slots=True)
class Sent:
    """A record that the input topic holds.

    Attributes:
        raw: as Kafka took it.
        event_id: of the lead; of a bad record, of the lead that it was made from.
        kind: of poison, or "" for a good lead.
    """

    raw: Raw
    event_id: str
    kind: str


@dataclass(slots=True)
class Load:
    """Sends until told to stop. `rate` in records a second may be changed on the way; 0 pauses.

    Attributes:
        sent: what has been delivered, by partition and offset.
        writers: how values are written, swapped to change the schema on the way.
        poison_every: each so many records one is bad, all kinds in turn; 0 for none.
        unplaced: what a broker has taken without saying where: it had it already, and no longer knew.
    """

    kafka: str
    topic: str
    writers: Writers
    leads: Sequence[Mapping[str, Any]]
    rate: float
    seed: int
    poison_every: int = 0
    sent: dict[Place, Sent] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    number: int = 0
    unplaced: list[Sent] = field(default_factory=list)
    _enough: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Sends, paced."""
        chance = random.Random(self.seed)
        kinds = _endless(list(kinds_of("lead").items()), chance)
        producer = Producer(
            {
                "bootstrap.servers": self.kafka,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,  # else a broker's death doubles records that are no fault of the worker's
                "linger.ms": 5,
                "log_level": 0,
            }
        )
        due_s = time.monotonic()
        while not self._enough.is_set():
            if self.rate <= 0:
                producer.poll(0.05)
                due_s = time.monotonic()
                continue
            self._one(producer, kinds)
            due_s += 1 / self.rate
            ahead_s = due_s - time.monotonic()
            if ahead_s > 0.01:
                producer.poll(0)
                time.sleep(ahead_s)
        left = producer.flush(FLUSH_S_MAX)
        if left:
            self.problems.append(f"{left} records were not taken")

    def stop(self) -> None:
        """Ends the sending; the thread then waits until all are delivered."""
        self._enough.set()

    def place(self) -> None:
        """Sets `sent` right by what the topic holds, where the client was not told all of it.

        Records are told apart by key and value: of 33,000 keys of 32 bits two are the same in one run of eight.

        A record may be unplaced, and it may be doubled: the client's idempotence does not outlive its producer's epoch,
        which a broker's death can end. A double is an event like any other to those who read it.
        """
        if not self.unplaced and end_of(self.kafka, self.topic) == len(self.sent):
            return
        known = {(each.raw.key, each.raw.value): each for each in [*self.sent.values(), *self.unplaced]}
        self.unplaced = []
        for record in read_to_end(self.kafka, self.topic, "read_committed"):
            each = known[record.key, record.value]
            if record.at not in self.sent or self.sent[record.at] is not each:
                moved = replace(each.raw, partition=record.partition, offset=record.offset)
                self.sent[record.at] = replace(each, raw=moved)

    def _one(self, producer: Producer, kinds: Iterator[tuple[str, Any]]) -> None:
        number, self.number = self.number, self.number + 1
        mark = hashlib.sha1(f"{self.seed}:{number}".encode()).hexdigest()[:20]
        lead_id = f"{CANARY}.{mark[:8]}@example.org"
        lead = {**self.leads[number % len(self.leads)], "event_id": f"{CANARY}-{mark}", "lead_id": lead_id}
        kind, value = "", None
        if self.poison_every and number % self.poison_every == self.poison_every - 1:
            kind, (make, _) = next(kinds)
            value = make(lead, self.writers)
        else:
            value = self.writers.encode(lead)
        self._produce(producer, lead_id.encode(), value, lead["event_id"], kind)

    def _produce(self, producer: Producer, key: bytes, value: bytes | None, event_id: str, kind: str) -> None:
        stamp = time.time_ns() // 1_000_000  # a report may tell another one, of a batch that was sent twice

        def delivered(error: Any, message: Any) -> None:
            if error is not None:
                self.problems.append(str(error))
                return
            partition, offset = message.partition(), message.offset()
            known = offset is not None and offset >= 0
            sent = Sent(Raw(self.topic, partition, offset if known else -1, stamp, key, value, []), event_id, kind)
            if known:
                self.sent[partition, offset] = sent
            else:
                self.unplaced.append(sent)

        while True:
            try:
                producer.produce(self.topic, key=key, value=value, timestamp=stamp, on_delivery=delivered)
            except BufferError:
                producer.poll(0.05)
            else:
                return


@contextmanager
def load(**arguments: Any) -> Iterator[tuple[Load, Callable[[], None]]]:
    """A load for the length of a block, and what ends it and waits until all is delivered."""
    made = Load(**arguments)
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()

    def finish() -> None:
        made.stop()
        thread.join(FLUSH_S_MAX + 30)
        assert not thread.is_alive(), "the load has not ended"
        assert not made.problems, made.problems[:3]
        made.place()

    try:
        yield made, finish
    finally:
        made.stop()


def _endless(kinds: list[tuple[str, Any]], chance: random.Random) -> Iterator[tuple[str, Any]]:
    while True:
        chance.shuffle(kinds)
        yield from kinds
