"""The load: sample events as bytes, made once and sent to every contender; and sending them.

No data file is needed: events are drawn from the shipped profiles. Every event has an event_id of its own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Event
from typing import Any

from confluent_kafka import Producer

from bench.plan import SEED, WARM_EVENTS
from bench.stage import silent
from scorer.core.schema import writer_schema
from scorer.edges.kafka.messages import librdkafka_log
from scorer.local.events import KEYS, TOPICS, samples
from scorer.local.places import shipped
from scorer.local.sending import Message, encoded

FIRST_MS = 1_700_000_000_000
CHUNK_ROWS = 5_000
SEND_S_MAX = 60.0
GATHERED_PER_S = 3_000
"""From this rate on the sender waits 1 ms for company. One request an event chokes the broker by the load alone: with
nobody between, 6,000/s had a 99th percentile of 61 ms so, and of 15 ms with the millisecond (3,000/s: 29 and 18)."""
NOTES = "notes"


@dataclass(frozen=True, slots=True)
class Load:
    """Events of one kind in the registry's wire format.

    Attributes:
        kind: lead or login.
        warm: a few to begin with.
        messages: key and value of those that count, in order.
        ids: their event_ids, in the same order.
        schema: text of the schema they are encoded with.
    """

    kind: str
    warm: list[Message]
    messages: list[Message]
    ids: list[str]
    schema: str

    @property
    def bytes_mean(self) -> float:
        """Mean size of a value in bytes."""
        return sum(len(value) for _, value in self.messages) / len(self.messages)

    def first(self, count: int) -> Load:
        """The same, with no more than so many."""
        return replace(self, messages=self.messages[:count], ids=self.ids[:count])

    def twice(self) -> Load:
        """The same, with all of it to begin with."""
        return replace(self, warm=self.messages)

    def repeated(self, count: int) -> Load:
        """So many, the same ones again and again: their predictions still have an id each."""
        turns = -(-count // len(self.messages))
        return replace(self, messages=(self.messages * turns)[:count], ids=(self.ids * turns)[:count])


def make_load(kind: str, count: int, notes_bytes: int = 0) -> Load:
    """Draws events and encodes them; the same every time.

    Args:
        kind: lead or login.
        count: how many.
        notes_bytes: the size of a text that no model reads, in a field of its own; none with 0.
    """
    index = json.loads((shipped("schemas") / "registry.json").read_text(encoding="utf-8"))
    entry = next(each for each in index if each["subject"] == f"{TOPICS[kind]}-value")
    text = (shipped("schemas") / entry["file"]).read_text(encoding="utf-8")
    if notes_bytes:
        record = json.loads(text)
        record["fields"].append({"name": NOTES, "type": "string", "default": ""})
        text = json.dumps(record)
    events = list(samples(kind, count + WARM_EVENTS, SEED, lambda number: FIRST_MS + number).events)
    padded = ({**each, NOTES: "n" * notes_bytes} for each in events) if notes_bytes else events
    messages = list(encoded(padded, writer_schema(entry["id"], text), KEYS[kind]))
    ids = [str(event["event_id"]) for event in events[WARM_EVENTS:]]
    return Load(kind, messages[:WARM_EVENTS], messages[WARM_EVENTS:], ids, text)


def fill(bootstrap: str, topic: str, messages: Sequence[Message]) -> float:
    """Sends all messages as fast as they are taken and waits until each is confirmed. Returns how long it took, s.

    Raises:
        RuntimeError: not all were confirmed.
    """
    producer = _producer(bootstrap, {"linger.ms": 20, "batch.size": 262_144})
    started_s = time.monotonic()
    for at in range(0, len(messages), CHUNK_ROWS):
        rows = [{"key": key, "value": value} for key, value in messages[at : at + CHUNK_ROWS]]
        while producer.produce_batch(topic, rows) < len(rows):  # the client's queue is full
            producer.poll(0.01)
            rows = [{"key": row["key"], "value": row["value"]} for row in rows if "_error" in row]
    if producer.flush(SEND_S_MAX):
        raise RuntimeError(f"not all events were taken by {topic}")
    return time.monotonic() - started_s


def pace(
    bootstrap: str, topic: str, messages: Sequence[Message], per_s: float, stop: Event
) -> tuple[list[float], float]:
    """Sends messages one by one, evenly spaced, each at once (linger.ms 0) below GATHERED_PER_S, else within 1 ms.

    Returns:
        when each was handed to the client (time.monotonic(), s), and how late the worst one was, s.
    """
    problems: list[str] = []

    def delivered(error: Any, _: Any) -> None:
        if error is not None:
            problems.append(str(error))

    producer = _producer(bootstrap, {"linger.ms": int(per_s >= GATHERED_PER_S)})
    producer.list_topics(topic, timeout=10)
    sent: list[float] = []
    started_s, late_s = time.monotonic() + 0.2, 0.0
    for number, (key, value) in enumerate(messages):
        _sleep_until(started_s + number / per_s)
        now_s = time.monotonic()
        late_s = max(late_s, now_s - started_s - number / per_s)
        producer.produce(topic, value, key, on_delivery=delivered)
        sent.append(now_s)
        producer.poll(0)
        if stop.is_set():
            break
    if producer.flush(SEND_S_MAX) or problems:
        raise RuntimeError(f"not all events were taken by {topic}: {problems[:1]}")
    return sent, late_s


def _producer(bootstrap: str, own: Mapping[str, Any]) -> Producer:
    return Producer(
        {"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", **own}, logger=librdkafka_log(silent)
    )


def _sleep_until(due_s: float) -> None:
    while (left_s := due_s - time.monotonic()) > 0:
        time.sleep(left_s)
