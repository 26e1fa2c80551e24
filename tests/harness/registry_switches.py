"""A registry that can be taken away: an HTTP server with switches, behind a way that can be cut."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.harness.proxy import Proxy, proxy
from tests.unit.edges.registry_stub import Registry, Running, serve


@dataclass(slots=True)
class RegistrySwitches:
    """What workers ask for schemas. `url` is theirs, `direct` is the test's own."""

    running: Running
    way: Proxy
    _hidden: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        reply = self._registry.reply

        def without_hidden(method: str, path: str, body: Any) -> tuple[int, Any]:
            if path.partition("?")[0] in self._hidden:
                return 404, {"error_code": 40403, "message": "not found"}
            return reply(method, path, body)

        self._registry.reply = without_hidden  # type: ignore[method-assign]

    @property
    def url(self) -> str:
        """Where workers find it."""
        return f"http://127.0.0.1:{self.way.port}"

    @property
    def direct(self) -> str:
        """Where it always answers, as its switches are."""
        return f"http://127.0.0.1:{self.running.port}"

    @property
    def asked(self) -> int:
        """How many requests it has had."""
        return len(self._registry.requests)

    def knows(self, user: str, password: str) -> bool:
        """Whether the last request was made in that name."""
        basic = base64.b64encode(f"{user}:{password}".encode()).decode()
        return self._registry.authorization == f"Basic {basic}"

    def add(self, topic: str, schema: Any) -> int:
        """Registers a schema of a topic's values, whatever the switches say. Returns its id."""
        body = {"schema": json.dumps(schema)}
        return int(self._registry.reply("POST", f"/subjects/{topic}-value/versions", body)[1]["id"])

    def down(self) -> None:
        """Refuses connections."""
        self.way.cut()

    def up(self) -> None:
        """Answers as it should again."""
        hang, self._registry.hang = self._registry.hang, None
        if hang is not None:
            hang.set()
        self._registry.answer = None
        if self.way._listener is None:
            self.way.open()

    def silent(self) -> None:
        """Takes requests and does not answer."""
        self._registry.hang = threading.Event()

    def failing(self, status: int) -> None:
        """Answers every request with an error."""
        self._registry.answer = (status, b'{"error_code": 50001, "message": "no"}')

    def hide(self, schema_id: int) -> None:
        """Does not know an id for now; its subjects are as they were."""
        self._hidden.add(f"/schemas/ids/{schema_id}")

    def show(self, schema_id: int) -> None:
        """Knows it again."""
        self._hidden.discard(f"/schemas/ids/{schema_id}")

    @property
    def _registry(self) -> Registry:
        return self.running.registry


@contextmanager
def registry_switches() -> Iterator[RegistrySwitches]:
    """A registry for the length of a block."""
    with serve() as running, proxy(running.port) as way:
        yield RegistrySwitches(running, way)
