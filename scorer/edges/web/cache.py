"""Answers in memory by entity: the least recently asked for go first."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from scorer.core.answers import Answer


@dataclass(slots=True)
class Cache:
    """At most so many answers, of at most so many bytes. Each is the newest of its entity."""

    rows_max: int
    bytes_max: int
    _held: OrderedDict[str, Answer] = field(default_factory=OrderedDict)
    _bytes: int = 0

    def __len__(self) -> int:
        return len(self._held)

    def get(self, entity: str) -> Answer | None:
        """The entity's, if it is here."""
        found = self._held.get(entity)
        if found is not None:
            self._held.move_to_end(entity)
        return found

    def put(self, answer: Answer) -> None:
        """Takes one up, in the place of another of its entity."""
        self.drop(answer.entity)
        self._held[answer.entity] = answer
        self._bytes += len(answer.body or b"")
        while len(self._held) > self.rows_max or self._bytes > self.bytes_max:
            self.drop(next(iter(self._held)))

    def renew(self, answer: Answer) -> None:
        """Takes one up if an older one of its entity is here."""
        found = self._held.get(answer.entity)
        if found is not None and answer.order > found.order:
            self.put(answer)

    def drop(self, entity: str) -> None:
        """Forgets an entity."""
        found = self._held.pop(entity, None)
        if found is not None:
            self._bytes -= len(found.body or b"")

    def clear(self) -> None:
        """Forgets all."""
        self._held.clear()
        self._bytes = 0
