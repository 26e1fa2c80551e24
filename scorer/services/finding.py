"""Finds one prediction in its topic without reading it all.

Predictions of one input partition are published in the order of its offsets, so each output partition is narrowed down
by halves; what is left is read through. Where a look at the middle shows none of that input partition, the output
partition is left for a second round, which looks at more places; where that finds nothing (a redrive comes later than
its neighbours), the whole stretch is read through, up to a limit. Nothing is kept in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scorer.core.letters import Place
from scorer.core.pieces import Span
from scorer.core.verdicts import Published
from scorer.services.patience import StoppedError
from scorer.services.reading import Decoder
from scorer.services.spans import Topics

SCAN = 10_000
"""Records of a partition that are read through rather than narrowed down further."""
PROBE = 500
LOOKS = (1 / 2, 1 / 4, 3 / 4, 1 / 8, 3 / 8, 5 / 8, 7 / 8)
READ_MAX = 2_000_000
"""Records that are read through at most."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which prediction: its id, and what its id is made of.

    Attributes:
        prediction_id: in full.
        topic, source: the event's topic and place.
        lane: whose.
    """

    prediction_id: str
    topic: str
    source: Place
    lane: str


@dataclass(slots=True)
class Finder:
    """Looks for predictions.

    Attributes:
        topics, decoder: where records are read, and decoded.
        scan, probe: records of a partition that are read through at the end, and at each halving.
        looked: records that were read through so far.
        whole: whether all of a stretch was read through whenever nothing was found in it.
    """

    topics: Topics
    decoder: Decoder
    scan: int = SCAN
    probe: int = PROBE
    looked: int = 0
    whole: bool = True

    def find(self, output: str, spans: Mapping[int, Span], wanted: Wanted) -> Published | None:
        """The first prediction of that id in these stretches of the output topic.

        Raises:
            StoppedError, ConfigError, TransientError: told to stop; there is no such topic; Kafka does not answer.
        """
        for looks in (LOOKS[:1], LOOKS):
            near = self._narrowed(output, spans, wanted, looks)
            found = self._scan(output, near, wanted)
            if found is not None:
                return found
        return self._scan(output, spans, wanted)

    def _narrowed(
        self, output: str, spans: Mapping[int, Span], wanted: Wanted, looks: tuple[float, ...]
    ) -> dict[int, Span]:
        """Where it stands if it stands in order; partitions where nothing of ours was met are left out.

        Args:
            output, spans, wanted: see `find`.
            looks: where to look for records of ours, as shares of what is left, one after another.
        """
        near = dict(spans)
        failed: dict[int, int] = {}
        while True:
            wide = [each for each, (low, high) in near.items() if high - low > self.scan]
            halves = {
                each: near[each][0] + int((near[each][1] - near[each][0]) * looks[failed.get(each, 0)])
                for each in wide
                if failed.get(each, 0) < len(looks)
            }
            if not halves:
                return {each: span for each, span in near.items() if each not in wide or span != spans[each]}
            sources = self._sources(output, {each: (at, at + self.probe) for each, at in halves.items()}, wanted)
            for partition, at in halves.items():
                low, high = near[partition]
                offset = sources.get(partition)
                after = (low, high)
                if offset is not None:
                    after = (at, high) if offset <= wanted.source[1] else (low, min(high, at + self.probe))
                failed[partition] = failed.get(partition, 0) + 1 if after == (low, high) else 0
                near[partition] = after
            if self.topics.stop.is_set():
                raise StoppedError

    def _sources(self, output: str, spans: Mapping[int, Span], wanted: Wanted) -> dict[int, int]:
        """Partition to the offset of the first event of the wanted partition that these stretches are about."""
        sign = f"/{wanted.topic}/{wanted.source[0]}/".encode()  # of every id that is about that partition
        found: dict[int, int] = {}
        for batch in self.topics.stretch(output, spans):
            for partition, value in zip(batch.partitions.tolist(), batch.values, strict=True):
                if partition in found or value is None or sign not in value:
                    continue
                (record,) = self.decoder.records([value])
                if record is not None and _is_about(record[1], wanted):
                    found[partition] = record[1]["source_offset"]
            if len(found) == len(spans):
                break
        return found

    def _scan(self, output: str, spans: Mapping[int, Span], wanted: Wanted) -> Published | None:
        sought = wanted.prediction_id.encode()
        left = READ_MAX
        for batch in self.topics.stretch(output, spans):
            rows = [row for row, value in enumerate(batch.values) if value is not None and sought in value]
            for row in rows:
                (record,) = self.decoder.records([batch.values[row]])
                if record is None or record[1].get("prediction_id") != wanted.prediction_id:
                    continue
                if record[1].get("lane") == wanted.lane:
                    place = int(batch.partitions[row]), int(batch.offsets[row])
                    return Published(place, batch.keys[row], *record)
            self.looked += len(batch)
            left -= len(batch)
            if left <= 0:
                self.whole = False
                return None
        if self.topics.stop.is_set():
            raise StoppedError
        return None


def _is_about(fields: Mapping[str, Any], wanted: Wanted) -> bool:
    """Whether it stands in the order of the wanted one: what a promotion copied there has an order of its own."""
    own = fields.get("source_topic"), fields.get("source_partition"), fields.get("lane")
    return own == (wanted.topic, wanted.source[0], wanted.lane) and isinstance(fields.get("source_offset"), int)
