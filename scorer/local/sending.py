"""Sends events at a given rate: a file's or a profile's samples, as Avro in the registry's wire format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from io import BytesIO
from itertools import islice
from threading import Event
from typing import Any

import fastavro
import numpy as np

from scorer.core.errors import ConfigError, TransientError
from scorer.core.offsets import InFlight
from scorer.core.ports import Clock, Publisher
from scorer.core.records import Outbound
from scorer.core.schema import WriterSchema
from scorer.core.wire import prefix

CHUNK_ROWS_MAX = 500
TICK_MS = 5.0
POLL_MS = 100
STOP_MS_MAX = 10_000
"""How long confirmations are waited for once told to stop."""

Message = tuple[bytes, bytes]
"""Key and value."""


def encoded(events: Iterable[Mapping[str, Any]], schema: WriterSchema, key: str) -> Iterator[Message]:
    """Events as key and value. `key` is the path of the field that becomes the key.

    Raises:
        ConfigError: an event is not of the schema, or has no such field.
    """
    head, parsed = prefix(schema.id), schema.parsed
    for number, event in enumerate(events, 1):
        body = BytesIO()
        body.write(head)
        try:
            fastavro.schemaless_writer(body, parsed, event)
            owner = str(_at(event, key)).encode()
        except Exception as error:  # fastavro raises many types
            what = f"{type(error).__name__}: {error}"
            raise ConfigError(f"event {number} is not of the topic's schema (id {schema.id}): {what}") from error
        yield owner, body.getvalue()


def _at(event: Mapping[str, Any], path: str) -> Any:
    value: Any = event
    for name in path.split("."):
        value = value[name]
    return value


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
        stop: set to end early; what was sent is still confirmed, if that takes no longer than STOP_MS_MAX.
        progress: told how many have been handed over so far.

    Raises:
        ConfigError: an event is larger than the producer takes.
        TransientError: a delivery failed, or confirmations have not come in time after `stop`.
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
            too_large = publisher.publish(Outbound(topic, np.arange(len(chunk)), keys, values), (), sent)
            if too_large:
                at = too_large[0]
                raise ConfigError(
                    f"event {count + at + 1} has {len(values[at])} bytes, which the producer does not take; "
                    "raise kafka.producer.message.max.bytes, and the topic's max.message.bytes"
                )
            count += len(chunk)
            progress(count)
        publisher.poll(0)
        if rate > 0:
            clock.sleep(max(0.0, min(TICK_MS, 1000 / rate)))
    stopped_ms = clock.ticks_ms()
    while sent.outstanding:
        publisher.poll(POLL_MS)
        if not stop.is_set():
            stopped_ms = clock.ticks_ms()
        elif clock.ticks_ms() - stopped_ms > STOP_MS_MAX:
            raise TransientError(f"{sent.outstanding} of {count} events sent to {topic} are not confirmed")
    return count
