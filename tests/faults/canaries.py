"""Whether something shows that should not: entities' ids, events' ids and secrets are canaries in every run of the rig.

They are searched for in everything that a run leaves: logs and all other files of the workers, what /metrics and the
health checks answered, and the headers of predictions and dead letters.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from tests.harness.load import CANARY
from tests.oracle.watcher import Read

USER = "rig"
SECRET = f"{CANARY}-secret-5f1e"
MARKS = tuple(
    mark.encode() for mark in (CANARY, base64.b64encode(f"{USER}:{SECRET}".encode()).decode(), quote("@example.org"))
)
"""What gives one away: any canary, the secret as HTTP's basic authentication has it, an address as a URL has it."""


@dataclass(slots=True)
class Search:
    """What was searched, by kind, and where something was found."""

    searched: Counter[str] = field(default_factory=Counter)
    found: set[str] = field(default_factory=set)

    def files(self, folder: Path) -> None:
        """Every file below a folder."""
        for path in folder.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                self.searched.update(files=1, bytes=len(content))
                self._look(content, path.name)

    def page(self, text: str, name: str) -> None:
        """An answer to a request."""
        self.searched["pages"] += 1
        self._look(text.encode(), name)

    def headers(self, records: Iterable[Read], what: str) -> None:
        """The headers of records; their keys and values are the entity's own."""
        for record in records:
            for name, value in record.headers:
                self.searched["headers"] += 1
                self._look(name.encode() + b"=" + (value or b""), f"the header {name} of {what}")

    def told(self) -> list[str]:
        """The finding, if there is one."""
        return [f"privacy: a canary shows in {', '.join(sorted(self.found))}"] if self.found else []

    def _look(self, content: bytes, where: str) -> None:
        if any(mark in content for mark in MARKS):
            self.searched["hits"] += 1
            self.found.add(where)
