"""Credentials that change while a client lives: noticed where they stand, as soon as a broker refuses the old ones.

A new password counts from the moment the broker knows it, not from the moment the file holds it; so the file is read
once the old one is refused, which is right in whichever order the two are changed. Only a new client takes it up:
librdkafka 2.16 can be told, but that call may not return while the brokers are away: 9 of 24 tries had not recovered
after 15 to 60 s.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from math import inf
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError

from scorer.core.errors import ConfigError
from scorer.edges.kafka.failures import is_shut

FILES = ("ssl.ca.location", "ssl.certificate.location", "ssl.key.location", "ssl.keystore.location")
"""Properties that name files which librdkafka reads once, for all connections to come."""
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
        self._texts = {name: value for name, value in properties.items() if isinstance(value, Reread)}
        places = {name: Path(properties[name]) for name in FILES if properties.get(name)}
        self._files = {name: path for name, path in places.items() if path.is_file()}  # a CA may be a folder
        self._known = self._seen = self._standing()
        self._look_at_s, self._look_until_s = 0.0, -inf

    def heard(self, error: KafkaError) -> None:
        """The client has told of an error; its callback may call this."""
        if is_shut(error):
            self._look_until_s = time.monotonic() + REFUSED_S

    def due(self) -> bool:
        """Looks, at most every LOOK_EVERY_S; a file that cannot be read just now is no change.

        What has changed must stand still for two looks: between a new certificate and its key, and between the halves
        of a file that is being written, a new process would find what does not belong together, and end for good.
        """
        if not self._look_at_s <= time.monotonic() <= self._look_until_s:
            return False
        self._look_at_s = time.monotonic() + LOOK_EVERY_S
        try:
            found = self._standing()
        except ConfigError:
            return False
        still, self._seen = found == self._seen, found
        return still and found != self._known and all(found.values())

    def _standing(self) -> dict[str, str]:
        return {**current(self._texts), **{name: _digest(path) for name, path in self._files.items()}}


def _digest(path: Path) -> str:
    """What tells a file's contents from others; nothing where there is no file to read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
