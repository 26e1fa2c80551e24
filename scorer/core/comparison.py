"""What two lanes say of the same events: quantiles, moves between bins, overlap of lists, the biggest movers. Pure.

Which outputs are compared is the contract's to say: numbers, bins, and lists of records (whose first sub-field that is
neither float nor null names the item).
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np

from scorer.core.contract import Contract

QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
MOVERS_MAX = 10
OVERLAP_AT = 10


@dataclass(slots=True)
class Numbers:
    """One numeric output: every value of each lane (8 bytes each), and those that moved the most.

    Attributes:
        first, second: the values.
        same: how many are bit for bit the same in both.
        movers: (prediction_id, first, second), the biggest move first.
    """

    first: array[float] = field(default_factory=lambda: array("d"))
    second: array[float] = field(default_factory=lambda: array("d"))
    same: int = 0
    movers: list[tuple[str, float, float]] = field(default_factory=list)

    def add(self, name: str, one: float, other: float) -> None:
        """Takes one event's two values."""
        self.first.append(one)
        self.second.append(other)
        if one == other:
            self.same += 1
            return
        if len(self.movers) < MOVERS_MAX or abs(other - one) > abs(self.movers[-1][2] - self.movers[-1][1]):
            self.movers.append((name, one, other))
            self.movers.sort(key=lambda each: -abs(each[2] - each[1]))
            del self.movers[MOVERS_MAX:]

    def quantiles(self) -> list[tuple[float, float, float]]:
        """(quantile, of the first, of the second); empty without values."""
        if not self.first:
            return []
        both = (np.quantile(np.frombuffer(values), QUANTILES).tolist() for values in (self.first, self.second))
        return list(zip(QUANTILES, *both, strict=True))


@dataclass(slots=True)
class Lists:
    """One list output.

    Attributes:
        overlap: the sum over events of the share of the first OVERLAP_AT items that both have.
        same: how many lists have the same items in the same order.
        events: how many events.
    """

    overlap: float = 0.0
    same: int = 0
    events: int = 0

    def add(self, one: list[Any], other: list[Any]) -> None:
        """Takes one event's two lists of items."""
        first, second = one[:OVERLAP_AT], other[:OVERLAP_AT]
        longest = max(len(first), len(second))
        self.overlap += len(set(first) & set(second)) / longest if longest else 1.0
        self.same += first == second
        self.events += 1


@dataclass(slots=True)
class Comparison:
    """What was found.

    Attributes:
        both, first_alone, second_alone: events with a prediction of both lanes, or of one.
        numbers, moves, lists: by output field; moves are (first's label, second's) to events.
        models: of each lane, predictions by name and version.
    """

    contract: Contract
    both: int = 0
    first_alone: int = 0
    second_alone: int = 0
    numbers: dict[str, Numbers] = field(default_factory=dict)
    moves: dict[str, Counter[tuple[str, str]]] = field(default_factory=dict)
    lists: dict[str, Lists] = field(default_factory=dict)
    models: tuple[Counter[str], Counter[str]] = field(default_factory=lambda: (Counter(), Counter()))

    def add(self, first: Mapping[str, Any] | None, second: Mapping[str, Any] | None) -> None:
        """Takes the predictions of one event."""
        for counted, own in zip(self.models, (first, second), strict=True):
            if own is not None:
                counted[f"{own['model_name']}/{own['model_version']}"] += 1
        if first is None or second is None:
            self.first_alone += second is None
            self.second_alone += first is None
            return
        self.both += 1
        for rule in self.contract.outputs:
            one, other = first.get(rule.field), second.get(rule.field)
            if one is None or other is None:
                continue
            if rule.of:
                self.moves.setdefault(rule.field, Counter())[str(one), str(other)] += 1
            elif rule.each and isinstance(one, list) and isinstance(other, list):
                self.lists.setdefault(rule.field, Lists()).add(_items(one), _items(other))
            elif _is_number(one) and _is_number(other):
                numbers = self.numbers.setdefault(rule.field, Numbers())
                numbers.add(str(first["prediction_id"]), float(one), float(other))

    def labels(self, name: str) -> list[str]:
        """The labels of a bins output, in the contract's order; others behind."""
        known = [label for rule in self.contract.outputs if rule.field == name for label, _ in rule.bins]
        found = {label for pair in self.moves.get(name, {}) for label in pair}
        return [*known, *sorted(found - set(known))]


def _is_number(value: Any) -> bool:
    """Whether it has a place on a line: we publish no others, but whoever writes into the topic may."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)


def _items(records: list[dict[str, Any]]) -> list[Any]:
    """What a list is of: the name of each record's item."""
    return [_item(record) for record in records]


def _item(record: dict[str, Any]) -> Any:
    """The first value that is neither a float nor null, as a sub-field is that no output fills; else all values."""
    named = (value for value in record.values() if value is not None and not isinstance(value, float))
    return next(named, tuple(record.values()))
