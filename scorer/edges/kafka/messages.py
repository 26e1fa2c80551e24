"""Kafka messages as columns, and what all clients of this edge share."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, TypeVar, overload

import numpy as np
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from scorer.core.errors import ConfigError
from scorer.core.ports import Report
from scorer.core.records import Closed, Headers, RecordBatch
from scorer.edges.kafka.credentials import current

Client = TypeVar("Client")

SAY_AGAIN_S = 10.0
NO_PROPERTY = "scorer.none"


class _Lazy(Sequence[Any]):
    """A column read from the messages only where it is asked for."""

    def __init__(self, messages: list[Message], read: Callable[[Message], Any]) -> None:
        self._messages, self._read = messages, read

    def __len__(self) -> int:
        return len(self._messages)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self._read(message) for message in self._messages[index]]
        return self._read(self._messages[index])


def as_batch(topic: str, messages: list[Message], closed: Closed) -> RecordBatch:
    """Columns of messages that carry no error."""
    n = len(messages)
    return RecordBatch(
        topic,
        np.fromiter(map(Message.partition, messages), np.int32, n),
        np.fromiter(map(Message.offset, messages), np.int64, n),
        np.fromiter(map(itemgetter(1), map(Message.timestamp, messages)), np.int64, n),
        list(map(Message.value, messages)),
        _Lazy(messages, _key),
        _Lazy(messages, _headers),
        closed,
    )


def partition_of(message: Message) -> int:
    """The partition of a message or of an error about one."""
    return int(message.partition() or 0)


def _key(message: Message) -> bytes | None:
    return _bytes(message.key())


def _headers(message: Message) -> Headers | None:
    found = message.headers()
    return None if found is None else [(str(header[0]), _bytes(header[1])) for header in found]


def _bytes(value: Any) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def made(
    client: Callable[..., Client],
    properties: Mapping[str, Any],
    report: Report,
    heard: Callable[[str], None] = lambda _: None,
) -> Client:
    """A client of librdkafka with these properties; `heard` is told the lines of its log, in the thread that polls.

    Credentials that stand in files are read now.

    Raises:
        ConfigError: librdkafka does not take one of them, or credentials cannot be read.
    """
    own = {"error_cb": sparingly(report, "kafka.error"), **current(properties)}
    try:
        return client(own, logger=librdkafka_log(report, heard))
    except KafkaException as error:
        raise ConfigError(f"[kafka] librdkafka does not take the properties: {error.args[0].str()}") from error


def refusal(name: str, value: str | float | bool) -> str:
    """Why librdkafka does not take a property's value, or "". No client is made, so no neighbour is asked."""
    # Properties are set in turn, and behind this one is one that there is not: the first complaint counts.
    try:
        Producer({name: value, NO_PROPERTY: ""})
    except KafkaException as error:
        why = error.args[0].str().strip()
        return "" if NO_PROPERTY in why else why
    return ""


def sparingly(report: Report, event: str) -> Callable[[KafkaError], None]:
    """Reports a client's errors, each kind once in a while: a broker that is away makes twenty of them a second."""
    due_s: dict[int, float] = {}

    def say(error: KafkaError) -> None:
        now_s = time.monotonic()
        if now_s >= due_s.get(error.code(), now_s):
            due_s[error.code()] = now_s + SAY_AGAIN_S
            report(event, {"error": str(error)})

    return say


def librdkafka_log(report: Report, heard: Callable[[str], None] = lambda _: None) -> logging.Logger:
    """A logger for one client: what librdkafka would print to stderr becomes log events."""

    class Forward(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            report("kafka.log", {"text": text})
            heard(text)

    logger = logging.Logger("librdkafka")
    logger.addHandler(Forward())
    return logger
