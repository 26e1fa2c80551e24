"""Credentials that change while a client lives: read again where they stand as soon as a broker refuses them.

A new password counts from the moment the broker knows it, not from the moment the file holds it; so the file is not
watched but read when the old one is refused, which is right in whichever order the two are changed. librdkafka connects
again by itself. Keys and certificates are read by librdkafka when a client is made, so new ones need a restart.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from threading import Lock, Thread
from typing import Any

from scorer.core.errors import ConfigError
from scorer.core.ports import Report

USER, PASSWORD = "sasl.username", "sasl.password"
READ_EVERY_S = 1.0


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


class Renewal:
    """Gives one client the credentials that have changed, where they can be read again.

    The client is told in a thread of its own: it must not be called from its own callbacks.
    """

    def __init__(self, properties: Mapping[str, Any], report: Report) -> None:
        self._properties = {name: properties[name] for name in (USER, PASSWORD) if name in properties}
        self._known = {str(name): str(value) for name, value in current(self._properties).items()}
        self._report = report
        self._due_s = 0.0
        self._lock = Lock()
        self.client: Any = None

    @property
    def possible(self) -> bool:
        """Whether anything can be read again."""
        return any(isinstance(value, Reread) for value in self._properties.values())

    def refused(self) -> None:
        """A broker has refused what the client has; called as often as it does."""
        if self.client is not None and time.monotonic() >= self._due_s:
            self._due_s = time.monotonic() + READ_EVERY_S
            Thread(target=self._renew, name="credentials", daemon=True).start()

    def _renew(self) -> None:
        with self._lock:
            try:
                found = {name: str(value) for name, value in current(self._properties).items()}
            except ConfigError as error:
                self._report("kafka.credentials_not_read", {"why": str(error)})
                return
            if found != self._known:
                self._known = found
                self.client.set_sasl_credentials(found.get(USER, ""), found.get(PASSWORD, ""))
                self._report("kafka.credentials_read", {})
