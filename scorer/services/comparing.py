"""Reads two lanes about a range of events and holds their predictions side by side, window by window.

Memory holds one window's predictions of both lanes, and eight bytes per number and lane for the quantiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scorer.core.comparison import Comparison
from scorer.core.letters import Place
from scorer.services.gathering import Gathering
from scorer.services.patience import StoppedError
from scorer.services.reading import Decoder


@dataclass(slots=True)
class Comparing:
    """Compares what was gathered of two lanes, about one range."""

    decoder: Decoder
    first: Gathering
    second: Gathering
    comparison: Comparison

    def run(self) -> Comparison:
        """Takes both lanes' predictions back.

        Raises:
            StoppedError: told to stop.
        """
        for number, (partition, _) in enumerate(self.first.cut):
            one, other = (self._taken(each, number, partition) for each in (self.first, self.second))
            for place in sorted(one.keys() | other.keys()):
                self.comparison.add(one.get(place), other.get(place))
            if self.decoder.stop.is_set():
                raise StoppedError
        return self.comparison

    def _taken(self, gathering: Gathering, number: int, partition: int) -> dict[Place, dict[str, Any]]:
        """The last prediction of each event of a piece."""
        rows = gathering.shelf.take(number)
        records = self.decoder.records([row.value for row in rows])
        return {(partition, row.offset): each[1] for row, each in zip(rows, records, strict=True) if each is not None}
