"""From a scored batch to messages that are handed over: predictions, and a dead letter for each rejection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scorer.core.dead_letters import dead_letters
from scorer.core.deployments import Entry, encode_entry
from scorer.core.offsets import Ledger
from scorer.core.ports import Clock
from scorer.core.records import DeadLetter, Outbound, RecordBatch, Rejection, Scored, Stage, no_rows
from scorer.core.schema import WriterSchema
from scorer.core.scoring import Recipe
from scorer.services.delivery import Delivery


@dataclass(frozen=True, slots=True)
class Published:
    """A batch as it was published.

    Attributes:
        all: predictions and rejections, those that were too large among the latter.
        too_large: those alone.
    """

    all: Scored
    too_large: list[Rejection]


@dataclass(frozen=True, slots=True)
class Output:
    """Where the records of one stream go.

    Attributes:
        group: the stream's consumer group, for dead letters.
        letters_topic: where rejections go.
        deployments_topic: where entries of the deployments go.
        deployments_schema: what they are written with.
        scorer_version: of this build.
        clock: for their time.
    """

    group: str
    letters_topic: str
    deployments_topic: str
    deployments_schema: WriterSchema
    scorer_version: str
    clock: Clock

    def publish(
        self, delivery: Delivery, batch: RecordBatch, scored: Scored, since: Mapping[int, int], recipe: Recipe
    ) -> Published:
        """Hands over what is still ours of a batch.

        Args:
            delivery: takes it.
            batch: the records.
            scored: what came of them.
            since: delivery.ledger.generations as they were when the batch was read.
            recipe: what scored them.
        """
        ours = _still_ours(delivery.ledger, batch, scored, since)
        outbound, letters = ours.outbound, self._letters(batch, ours.rejections, recipe)
        delivery.begin(len(batch))
        in_flight = delivery.ledger.begin(batch.next_offsets, len(outbound) + len(letters), since)
        refused = delivery.publisher.publish(outbound, letters, in_flight)
        if not refused:
            return Published(ours, [])
        # A dead letter takes the place of each, and is waited for in its stead.
        detail = f"{outbound.topic} does not take it"
        too_large = [Rejection(int(outbound.rows[at]), Stage.ENCODE, "prediction_too_large", detail) for at in refused]
        delivery.publisher.publish(outbound.take([]), self._letters(batch, too_large, recipe), in_flight)
        stays = sorted(set(range(len(outbound))) - set(refused))
        return Published(Scored(outbound.take(stays), [*ours.rejections, *too_large], ours.tombstones), too_large)

    def entries(self, entries: Sequence[Entry]) -> Outbound:
        """Entries of the deployments as messages."""
        values = [encode_entry(each, self.deployments_schema, self.scorer_version) for each in entries]
        return Outbound(self.deployments_topic, no_rows(len(values)), [self.group.encode()] * len(values), values)

    def _letters(self, batch: RecordBatch, rejections: list[Rejection], recipe: Recipe) -> list[DeadLetter]:
        return dead_letters(
            batch,
            rejections,
            topic=self.letters_topic,
            stream=self.group,
            model=recipe.model.bundle.label,
            now_ms=self.clock.now_ms(),
        )


def _still_ours(ledger: Ledger, batch: RecordBatch, scored: Scored, since: Mapping[int, int]) -> Scored:
    """Leaves out rows of partitions that changed hands while we waited: their new owner scores them."""
    gone = [p for p in batch.next_offsets if not ledger.holds(p, since)]
    if not gone:
        return scored
    stays = ~np.isin(batch.partitions, gone)
    kept = np.flatnonzero(stays[scored.outbound.rows]).tolist()
    return Scored(
        scored.outbound.take(kept), [each for each in scored.rejections if stays[each.row]], scored.tombstones
    )
