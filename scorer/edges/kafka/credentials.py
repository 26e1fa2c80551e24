"""Credentials that change while a client lives: noticed where they stand, as soon as a broker refuses the old ones.

A new password counts from the moment the broker knows it, not from the moment the file holds it; so the file is read
once the old one is refused, which is right in whichever order the two are changed. Only a new client takes it up:
librdkafka 2.16 can be told, but that call may not return while the brokers are away: 9 of 24 tries had not recovered
after 15 to 60 s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from math import inf
from typing import Any

from confluent_kafka import KafkaError

from scorer.core.errors import ConfigError
from scorer.edges.kafka.failures import is_shut

LOOK_EVERY_S = 0.5
REFUSED_S = 300.0
"""How long a refusal counts. It is not over when a broker answers: another one may, over a connection from before."""
CHANGED = "the credentials for Kafka have changed: a new process takes them up"


class Reread(str):
    """A secret's text as it was read, and how to read it again."""

    __slots__ = ("again",)
    again: Callable[[], str]


def reread(again: Callable[[], str]) -> Reread:
    """Reads a text now, to be read again later.

    Raises:
        ConfigError: as `again` does.
    """
    text = Reread(again())
    text.again = again
    return text


def current(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The properties with credentials as they stand now.

    Raises:
        ConfigError: they cannot be read.
    """
    return {name: value.again() if isinstance(value, Reread) else value for name, value in properties.items()}


class Rotation:
    """Whether the credentials that a client was made with were refused, and stand otherwise in their files by now."""

    def __init__(self, properties: Mapping[str, Any]) -> None:
        self._properties = {name: value for name, value in properties.items() if isinstance(value, Reread)}
        self._known = current(self._properties)
        self._look_at_s, self._look_until_s = 0.0, -inf

    def heard(self, error: KafkaError) -> None:
        """The client has told of an error; its callback may call this."""
        if is_shut(error):
            self._look_until_s = time.monotonic() + REFUSED_S

    def due(self) -> bool:
        """Looks, at most every LOOK_EVERY_S; a file that cannot be read just now is no change."""
        if not self._properties or not self._look_at_s <= time.monotonic() <= self._look_until_s:
            return False
        self._look_at_s = time.monotonic() + LOOK_EVERY_S
        try:
            return current(self._properties) != self._known
        except ConfigError:
            return False
