"""Where a replay writes: a lane's topics, schema and groups."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from threading import Event
from typing import Any

from scorer.cli.rollout_wiring import group_of
from scorer.cli.settings import Settings, Stream
from scorer.cli.wiring import LIVE, subject
from scorer.core.deployments import Entry
from scorer.core.errors import ConfigError, TransientError
from scorer.core.pieces import Piece, Span
from scorer.core.ports import Report
from scorer.core.replays import REPLAY, noted
from scorer.core.topics import letters_kept
from scorer.edges.kafka.admin import KafkaAdmin, Topic
from scorer.edges.kafka.extents import TopicExtents
from scorer.edges.kafka.groups import KafkaGroups
from scorer.services.patience import wait_out

ATTEMPTS_MAX = 8
"""How often a neighbour is asked while a replay is prepared: about 10 s."""


@dataclass(frozen=True, slots=True)
class Lane:
    """Where a replay writes.

    Attributes:
        name: of the lane.
        live: the stream.
        stream: the same, with the lane's topics and the replay's delivery.
        group: the replay's consumer group.
    """

    name: str
    live: Stream
    stream: Stream
    group: str

    def piece(self, entries: Iterable[Entry]) -> Piece | None:
        """What its replay was for, as the deployments say; None where that was not written down."""
        begun = noted(entries, REPLAY, self.group)
        return None if begun is None else begun.piece


def in_lane(stream: Stream, name: str) -> Stream:
    """The stream with the topics that it has in a lane; as it is, for the live one."""
    if name == LIVE:
        return stream
    topics = {"to_topic": f"{stream.to_topic}.lane.{name}", "dead_letters": f"{stream.dead_letters}.lane.{name}"}
    return stream.model_copy(update=topics)


def in_begun_lane(admin: KafkaAdmin, stream: Stream, name: str) -> Stream:
    """As in_lane, of a lane that is there.

    Raises:
        ConfigError: no replay has begun it.
        TransientError: Kafka does not answer.
    """
    found = in_lane(stream, name)
    if name != LIVE and found.to_topic not in admin.topics():
        raise ConfigError(f"lane {name} of {stream.name} was never begun; see: scorer replay")
    return found


def lane_of(settings: Settings, stream: Stream, name: str, delivery: str = "exactly_once") -> Lane:
    """A lane of a stream.

    Raises:
        ConfigError: that is no name for one.
    """
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,60}", name) or name == LIVE:
        raise ConfigError(f"{name!r} is no name for a lane: up to 60 letters, digits, - and _, and not {LIVE}")
    own = in_lane(stream, name).model_copy(update={"delivery": delivery})
    return Lane(name, stream, own, f"{group_of(settings, stream)}.replay.{name}")


def open_lane(settings: Settings, lane: Lane, registry: Any, report: Report) -> None:
    """Makes the lane's topics as the live ones are, and registers the prediction's schema; what is there stays.

    Raises:
        ConfigError: a live topic is missing, or one cannot be made.
        TransientError: a neighbour does not answer.
    """
    admin = KafkaAdmin(settings.kafka_for("admin"), report)
    admin.create(topics_of(lane, admin, admin.topics()))

    def visible() -> None:
        there = admin.topics()
        for name in (lane.stream.to_topic, lane.stream.dead_letters):
            if name not in there:
                raise TransientError(f"topic {name} is not there yet")

    wait_out(visible, Event(), lambda *_: None, ATTEMPTS_MAX)
    versions = registry.versions(subject(lane.live.to_topic))
    if not versions:
        raise ConfigError(f"no schema is registered for {subject(lane.live.to_topic)}; run: scorer setup")
    registry.register(subject(lane.stream.to_topic), versions[-1][1], "FULL_TRANSITIVE")


def topics_of(lane: Lane, admin: KafkaAdmin, there: Collection[str]) -> list[Topic]:
    """A lane's topics that are not there yet: as the live ones are, but a dead letter is kept as long as its record.

    Raises:
        ConfigError: a live topic is missing.
        TransientError: Kafka does not answer.
    """
    wanted = []
    if lane.stream.to_topic not in there:
        wanted.append(replace(admin.topic(lane.live.to_topic)[0], name=lane.stream.to_topic))
    if lane.stream.dead_letters not in there:
        live, _ = admin.topic(lane.live.dead_letters)
        _, source = admin.topic(lane.live.from_topic)
        own = {**live.settings, **letters_kept(source)}
        wanted.append(replace(live, name=lane.stream.dead_letters, settings=own))
    return wanted


def begin_group(
    settings: Settings,
    group: str,
    topic: str,
    piece: Piece,
    report: Report,
    *,
    filled: Callable[[], bool],
    done: bool = False,
) -> int:
    """Gives a group its positions where it has none yet. Returns how many offsets it has not passed; see left_of.

    Raises:
        ConfigError: it had positions, and they are gone.
        TransientError: Kafka does not answer.
    """
    groups = KafkaGroups(settings.kafka_for("admin"), report)

    def begun() -> int:
        there = groups.committed(group, topic)
        left = left_of(group, piece, there, filled=filled, done=done)
        if left and not there:
            groups.put(group, topic, piece.starts)
        return left

    return wait_out(begun, Event(), lambda *_: None, ATTEMPTS_MAX)


def left_of(
    group: str, piece: Piece, committed: Mapping[int, int], *, filled: Callable[[], bool], done: bool = False
) -> int:
    """How many offsets of a piece a group has not passed.

    Args:
        group: its name.
        piece: what it has to pass.
        committed: its positions.
        filled: whether it has written already, so that it had positions.
        done: whether it is written down that it has passed all.

    Raises:
        ConfigError: it had positions, and they are gone, so that nobody knows.
    """
    if done:
        return 0
    if not piece.starts.keys() <= committed.keys() and (committed or filled()):
        raise ConfigError(
            f"group {group} has lost its positions (offsets.retention.minutes), so nobody knows how far it was: "
            "begin again with another lane"
        )
    return piece.left(committed)


def has_records(settings: Settings, topic: str, report: Report) -> bool:
    """Whether anything was ever written to a topic.

    Raises:
        ConfigError: there is no such topic.
        TransientError: Kafka does not answer.
    """
    return any(high > 0 for _, high in extents_of(settings, topic, report).values())


def extents_of(settings: Settings, topic: str, report: Report) -> dict[int, Span]:
    """Partition to its first offset and the one behind the last. Raises as has_records."""
    with TopicExtents(settings.kafka_for("consumer"), settings.kafka_for("admin"), report) as topics:
        return topics.extents(topic)
