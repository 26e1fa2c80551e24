"""Scores events again, with the bundle that a prediction names, and judges it by what comes out. Publishes nothing.

The same core as the worker's scores (core/scoring.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from scorer.core.deployments import Identity
from scorer.core.records import RecordBatch
from scorer.core.scoring import Recipe, score_batch
from scorer.core.verdicts import Cause, Level, Published, Rescored, Verdict, judge
from scorer.core.wire import split_frames
from scorer.services.patience import StoppedError
from scorer.services.reading import Decoder
from scorer.services.suspects import Suspects

Bundles = Callable[[Identity], Recipe | str]
"""What scores with a bundle, or why there is none. Where its bytes are others now, the recipe has their sha256."""


@dataclass(slots=True)
class Rescoring:
    """Scores events again. All calls come from one thread.

    Attributes:
        decoder: for schemas, and for what was encoded.
        bundles: what scores.
        value_bytes_max: of an event that is decoded, as live.
        suspects: scores, elsewhere, events that may have ended a process.
    """

    decoder: Decoder
    bundles: Bundles
    value_bytes_max: int
    suspects: Suspects | None = None

    def score(self, batch: RecordBatch, bundle: Identity) -> list[Rescored] | str:
        """What a bundle makes of each row of a batch; or why it cannot be had.

        Raises:
            StoppedError: told to stop.
        """
        recipe = self.bundles(bundle)
        if isinstance(recipe, str):
            return recipe
        frames = split_frames(batch.values, self.value_bytes_max)
        scored = score_batch(batch, frames, self.decoder.known(frames.groups), recipe, 0)
        nothing = Rescored(
            None, "tombstone", recipe.writer.id, recipe.model.bundle.sha256, recipe.model.contract, recipe.origin
        )
        found = [nothing] * len(batch)
        for each in scored.rejections:
            found[each.row] = replace(nothing, reason=each.reason)
        records = self.decoder.records(scored.outbound.values)
        for row, record in zip(scored.outbound.rows.tolist(), records, strict=True):
            assert record is not None, "what we encode, we decode"
            found[row] = replace(nothing, fields=record[1], reason="")
        return found

    def judged(self, published: Published, batch: RecordBatch, row: int, again: Rescored | str) -> Verdict:
        """The verdict on a prediction of that row, whose event is the one that was scored.

        Raises:
            StoppedError: told to stop.
        """
        if isinstance(again, str):
            return Verdict(Level.UNCHECKED, Cause.BUNDLE, again)
        verdict = judge(published, again)
        if verdict.cause is not Cause.UNEXPLAINED or again.fields is None:
            return verdict
        alone = self.score(batch.row(row), published.bundle)
        return verdict if isinstance(alone, str) else judge(published, again, alone[0].fields)

    def rejects(self, batch: RecordBatch, row: int, bundle: Identity) -> bool:
        """Whether a bundle rejects the event of that row, which nobody may have scored before.

        Raises:
            StoppedError: told to stop.
            HaltError: it cannot be told, since scoring it was ended from outside again and again.
        """
        recipe = self.bundles(bundle)
        if isinstance(recipe, str) or self.suspects is None:
            return False
        part, stop = batch.row(row), self.decoder.stop
        known = self.decoder.known(split_frames(part.values, self.value_bytes_max).groups)
        scored = self.suspects.score(part, known, recipe, 0, lambda _, wait_ms: not stop.wait(wait_ms / 1000))
        if scored is None:
            raise StoppedError
        return bool(scored.rejections)
