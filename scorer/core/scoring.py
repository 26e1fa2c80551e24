"""One micro-batch from raw records to encoded predictions: decode, assemble, infer, compose, encode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scorer.core.assemble import assemble
from scorer.core.compose import Origin, compose
from scorer.core.decode import decode
from scorer.core.encode import encode
from scorer.core.model import Model, predict
from scorer.core.records import RecordBatch, Scored
from scorer.core.schema import WriterSchema
from scorer.core.wire import Frames


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a stream scores with: the model, how predictions are written and where they go."""

    model: Model
    writer: WriterSchema
    topic: str
    origin: Origin
    trace: bool = False


def score_batch(
    batch: RecordBatch, frames: Frames, schemas: Mapping[int, WriterSchema | str], recipe: Recipe, now_ms: int
) -> Scored:
    """Scores a micro-batch. Pure: the same arguments give the same predictions.

    Every row comes back as a prediction, a rejection or a counted tombstone.

    Args:
        batch: the raw records.
        frames: its rows by schema id (wire.split_frames).
        schemas: schema id to the admitted schema, or to the reason code why its rows are rejected.
        recipe: what to score with.
        now_ms: milliseconds since the epoch, UTC.
    """
    events, undecodable = decode(batch, frames, schemas)
    features, incomplete = assemble(events, batch, recipe.model.interface)
    outputs, kept, unscorable = predict(recipe.model, features.tensors, features.rows)
    scored = features if len(kept) == len(features) else features.take(kept)
    predictions = compose(scored, outputs, batch, recipe.model, origin=recipe.origin, now_ms=now_ms)
    outbound, unencodable = encode(predictions, recipe.writer, recipe.topic, batch, recipe.trace)
    rejections = sorted([*undecodable, *incomplete, *unscorable, *unencodable], key=lambda rejection: rejection.row)
    assert len(outbound) + len(rejections) + frames.tombstones == len(batch), "a row is lost"
    return Scored(outbound, rejections, frames.tombstones)
