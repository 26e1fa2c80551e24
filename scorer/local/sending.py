"""Sends events at a given rate: a CSV's rows or a profile's samples, as Avro in the registry's wire format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from io import BytesIO
from itertools import islice
from threading import Event
from typing import Any

import fastavro
import numpy as np

from scorer.core.offsets import InFlight
from scorer.core.ports import Clock, Publisher
from scorer.core.records import Outbound
from scorer.core.schema import WriterSchema
from scorer.core.wire import prefix

CHUNK_ROWS_MAX = 500
TICK_MS = 5.0

Message = tuple[bytes, bytes]
"""Key and value."""


def encoded(events: Iterable[Mapping[str, Any]], schema: WriterSchema, key: str) -> Iterator[Message]:
    """Events as key and value. `key` names the field that becomes the key."""
    head, parsed = prefix(schema.id), schema.parsed
    for event in events:
        body = BytesIO()
        body.write(head)
        fastavro.schemaless_writer(body, parsed, event)
        yield str(event[key]).encode(), body.getvalue()


def send(
    messages: Iterator[Message],
    topic: str,
    publisher: Publisher,
    clock: Clock,
    *,
    rate: float = 0.0,
    stop: Event,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Sends all messages and waits until each is confirmed. Returns how many were.

    Args:
        messages: keys and values, in order.
        topic: where to.
        publisher: the producer.
        clock: for pacing.
        rate: messages a second; 0 sends as fast as they are taken.
        stop: set to end early; what was sent is still confirmed.
        progress: told how many have been handed over so far.
    """
    sent = InFlight({}, 0)
    count, started_ms = 0, clock.ticks_ms()
    while not stop.is_set():
        due = CHUNK_ROWS_MAX
        if rate > 0:
            due = min(due, int((clock.ticks_ms() - started_ms) / 1000 * rate) + 1 - count)
        chunk = list(islice(messages, due)) if due > 0 else []
        if due > 0 and not chunk:
            break
        if chunk:
            sent.outstanding += len(chunk)
            keys, values = [key for key, _ in chunk], [value for _, value in chunk]
            publisher.publish(Outbound(topic, np.arange(len(chunk)), keys, values), (), sent)
            count += len(chunk)
            progress(count)
        publisher.poll(0)
        if rate > 0:
            clock.sleep(max(0.0, min(TICK_MS, 1000 / rate)))
    while sent.outstanding:
        publisher.poll(100)
    return count
