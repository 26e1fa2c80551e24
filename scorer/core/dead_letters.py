"""Rejections as published: the original bytes untouched, and headers in Kafka Connect's words.

No stack trace and no value of the payload goes into a header; `exception.class.name` holds the reason code. Source of
the names: Kafka Connect, KIP-298 (`__connect.errors.*`).
"""

from __future__ import annotations

from scorer.core.records import DeadLetter, RecordBatch, Rejection

PREFIX = "__connect.errors."


def dead_letters(
    batch: RecordBatch, rejections: list[Rejection], *, topic: str, stream: str, model: str, now_ms: int
) -> list[DeadLetter]:
    """One dead letter per rejection, in offset order per partition.

    Args:
        batch: where the original bytes are.
        rejections: rows of it.
        topic: the dead-letter topic.
        stream: the stream's consumer group, as Connect names the connector.
        model: name and version of the model that was live.
        now_ms: milliseconds since the epoch, UTC.
    """
    letters: list[DeadLetter] = []
    for rejection in rejections:
        row = rejection.row
        notes = {
            f"{PREFIX}topic": batch.topic,
            f"{PREFIX}partition": str(batch.partitions[row]),
            f"{PREFIX}offset": str(batch.offsets[row]),
            f"{PREFIX}connector.name": stream,
            f"{PREFIX}stage": rejection.stage.name,
            f"{PREFIX}class.name": "scorer",
            f"{PREFIX}exception.class.name": rejection.reason,
            f"{PREFIX}exception.message": rejection.detail,
            "scorer.model": model,
            "scorer.rejected_at_ms": str(now_ms),
        }
        own = [(name, text.encode()) for name, text in notes.items()]
        timestamp = max(0, int(batch.timestamps[row]))
        headers = [*(batch.headers[row] or []), *own]
        letters.append(DeadLetter(topic, batch.keys[row], batch.values[row], timestamp, headers))
    return letters
