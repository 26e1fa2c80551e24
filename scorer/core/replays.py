"""Replays as they stand on the topic of deployments: what a lane was filled with, so that any process goes on with it.

A replay is written down before its first record is scored; of two of one group the first counts. It is written down
once more when all is scored, and a promotion before its first record is copied: Kafka forgets a group's positions after
some days, and then these alone say how far it was. A promotion is written down when the lane has been copied, whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from scorer.core.pieces import Piece

REPLAY, REPLAY_DONE = "replay", "replay_done"
PROMOTION_BEGUN, PROMOTION = "promotion_begun", "promotion"
KINDS = frozenset({REPLAY, REPLAY_DONE, PROMOTION_BEGUN, PROMOTION})


@dataclass(frozen=True, slots=True)
class Replay:
    """A piece of a topic goes through a stream's models once more, or a lane to the live topic.

    Attributes:
        kind: one of KINDS.
        group: the consumer group that does it, no stream's own.
        stream: its name.
        lane: where the predictions go, or come from.
        model: name, version and sha256 of the bundle for all of it; empty texts: what was live at each position.
        place: where that bundle is.
        who: for the auditor.
        asked: what was asked for, in words; the same words go on with it.
        said_ms: when, milliseconds since the epoch, UTC.
        source_topic, source_topic_id: what is read, and what tells it from one of the same name that was made anew.
        piece: what of it.
        number: its offset in the topic of deployments; -1 before it is there.
    """

    kind: str
    group: str
    stream: str
    lane: str
    model: tuple[str, str, str]
    place: str
    who: str
    asked: str
    said_ms: int
    source_topic: str
    source_topic_id: str
    piece: Piece
    number: int = -1


def noted(entries: Iterable[object], kind: str, group: str) -> Replay | None:
    """What was written down first of this kind and group, or None."""
    found = (each for each in entries if isinstance(each, Replay) and (each.kind, each.group) == (kind, group))
    return next(found, None)


def fields_of(replay: Replay) -> dict[str, Any]:
    """The record's fields, but for the writing build's."""
    piece = replay.piece
    name, version, sha256 = replay.model
    ranges = [
        {"partition": partition, "first_offset": first, "end_offset": end}
        for partition, (first, end) in sorted(piece.ranges.items())
    ]
    positions = None
    if piece.positions is not None:
        positions = [
            {"partition": partition, "offsets": list(own)} for partition, own in sorted(piece.positions.items())
        ]
    return {
        "kind": replay.kind,
        "group": replay.group,
        "stream": replay.stream,
        "lane": replay.lane,
        "model_name": name,
        "model_version": version,
        "model_sha256": sha256,
        "place": replay.place,
        "who": replay.who,
        "why": replay.asked,
        "said_at": replay.said_ms,
        "source_topic": replay.source_topic,
        "source_topic_id": replay.source_topic_id,
        "ranges": ranges,
        "since": piece.since_ms,
        "until": piece.until_ms,
        "positions": positions,
    }


def replay_of(record: Mapping[str, Any], number: int) -> Replay:
    """The inverse; `number` is the record's offset."""
    positions = record["positions"]
    piece = Piece(
        {each["partition"]: (each["first_offset"], each["end_offset"]) for each in record["ranges"]},
        record["since"],
        record["until"],
        None if positions is None else {each["partition"]: tuple(each["offsets"]) for each in positions},
    )
    return Replay(
        record["kind"],
        record["group"],
        record["stream"],
        record["lane"],
        (record["model_name"], record["model_version"], record["model_sha256"]),
        record["place"],
        record["who"],
        record["why"],
        record["said_at"],
        record["source_topic"],
        record["source_topic_id"],
        piece,
        number,
    )
