"""What `scorer replay` was told, in words; and the plan that fills a lane, written down once for all processes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from scorer.cli.lanes import Lane
from scorer.cli.places import listed, place_of
from scorer.cli.replay_wiring import find, live_history, load_recipes, one_bundle
from scorer.cli.rollout_wiring import group_of, publish_entry, read_entries, whoami
from scorer.cli.settings import Settings
from scorer.cli.times import range_ms, span_ms, time_text
from scorer.core.deployments import Entry, Identity
from scorer.core.errors import ConfigError
from scorer.core.letters import Place
from scorer.core.pieces import Asked, Piece, parse_spans, places_of_ids
from scorer.core.ports import Report
from scorer.core.replays import REPLAY, Replay, noted
from scorer.edges.bundles import read_bundle
from scorer.edges.clock import SystemClock
from scorer.edges.kafka.admin import KafkaAdmin
from scorer.edges.kafka.groups import KafkaGroups
from scorer.edges.locations import absolute, as_location
from scorer.services.following import Following

PLACES_MAX = 50_000
"""So many fit into one record of the deployments."""


@dataclass(frozen=True, slots=True)
class Wish:
    """The options that say what is meant, as they were given; nothing given is to go on with what was begun."""

    since: str | None = None
    until: str | None = None
    lateness: str = "0s"
    offsets: Sequence[str] = ()
    positions: str | None = None
    ids: str | None = None
    bundle: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """The same, understood.

    Attributes:
        asked: what is meant; None to go on with what was begun.
        words: it in words: the same words mean the same replay.
        bundle, place: one bundle for all of it, and where it is.
    """

    asked: Asked | None
    words: str
    bundle: Identity | None = None
    place: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done.

    Attributes:
        replay: as it stands, or will stand, on the topic of deployments.
        planner: what scores which record.
        turns: by partition the first offset and the bundle of each stretch.
        notes: for people.
        begun: whether it stands there.
    """

    replay: Replay
    planner: Following
    turns: Mapping[int, Sequence[tuple[int, Identity]]]
    notes: list[str] = field(default_factory=list)
    begun: bool = False

    @property
    def piece(self) -> Piece:
        """What of the input topic."""
        return self.replay.piece


def understood(wish: Wish, topic: str) -> Request:
    """What is meant, of the stream's input topic.

    Raises:
        ConfigError: it cannot be understood.
    """
    since_ms, until_ms = range_ms(wish.since, wish.until, SystemClock().now_ms())
    given_ms = span_ms("--lateness", wish.lateness)
    lateness_ms = 0 if until_ms is None else given_ms
    words = [f"--{name} {text}" for name, text in (("since", wish.since), ("until", wish.until)) if text is not None]
    words += [f"--lateness {wish.lateness}"] if lateness_ms else []
    try:
        named = _places(wish, topic)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    ranges = parse_spans(wish.offsets)
    words += [f"--offsets {text}" for text in sorted(wish.offsets)]
    if named is not None:
        digest = hashlib.sha256(repr(sorted(named)).encode()).hexdigest()[:12]
        words.append(f"{len(named)} records (list {digest})")
    meant = bool(words)
    bundle, place = None, None
    if wish.bundle is not None:
        place = as_location(wish.bundle)
        found = read_bundle(place)
        bundle = Identity(found.contract.name, found.contract.version, found.sha256)
        words.append(f"--bundle {bundle.label} sha256 {bundle.sha256[:12]}")
    asked = Asked(since_ms, until_ms, lateness_ms, ranges or None, named) if meant else None
    return Request(asked, " ".join(words), bundle, "" if place is None else absolute(place))


def _places(wish: Wish, topic: str) -> frozenset[Place] | None:
    """Single records, or None for all. Raises ValueError, ConfigError."""
    if wish.positions is None and wish.ids is None:
        return None
    found = {place_of(each) for each in listed(wish.positions)}
    found |= places_of_ids(listed(wish.ids), topic)
    if not found:
        raise ConfigError(f"{wish.positions or wish.ids} names no record")
    if len(found) > PLACES_MAX:
        raise ConfigError(f"{len(found)} records are named, {PLACES_MAX} at most: split the list, or give a range")
    return frozenset(found)


def plan_of(
    settings: Settings, lane: Lane, request: Request, entries: Sequence[Entry], registry: Any, report: Report
) -> Plan:
    """What is to be done: what was begun, or what is asked for now.

    Raises:
        ConfigError, ContractError: it cannot be done like this; what to do.
        TransientError: a neighbour does not answer.
    """
    topic, begun = lane.live.from_topic, noted(entries, REPLAY, lane.group)
    notes: list[str] = []
    if begun is not None:
        _same(lane, request, begun)
        topic_id = KafkaAdmin(settings.kafka_for("admin"), report).topic_id(topic)
        if (begun.source_topic, begun.source_topic_id) != (topic, topic_id):
            raise ConfigError(f"{topic} was made anew since lane {lane.name} was begun: give another --lane")
        replay, entries = begun, [each for each in entries if each.number < begun.number]
    else:
        if request.asked is None:
            raise ConfigError(
                f"lane {lane.name} has not been begun: say what to replay with --since, --until, --offsets, "
                "--positions or --ids"
            )
        found = find(settings, topic, request.asked, report)
        notes += found.lacking
        if found.timestamps and (request.asked.since_ms, request.asked.until_ms) != (None, None):
            notes.append(f"times are compared with Kafka's timestamps, which are {found.timestamps} here")
        own = request.bundle
        model = (own.name, own.version, own.sha256) if own else ("", "", "")
        replay = Replay(
            REPLAY,
            lane.group,
            lane.live.name,
            lane.name,
            model,
            request.place,
            whoami(),
            request.words,
            SystemClock().now_ms(),
            topic,
            found.topic_id,
            found.piece,
        )
    if replay.model[2]:
        history = one_bundle(settings, lane.live, Identity(*replay.model), replay.place, replay.piece)
    else:
        history, assumed = live_history(settings, lane.live, replay.source_topic_id, entries, replay.piece)
        notes += assumed
        if begun is None:
            notes += _not_yet_live(settings, lane, replay.piece, report)
    recipes, turns = load_recipes(settings, lane, registry, history, replay.piece)
    return Plan(replay, Following(history, recipes), turns, notes, begun is not None)


def _not_yet_live(settings: Settings, lane: Lane, piece: Piece, report: Report) -> list[str]:
    """For people: which bundle live will score the newest records with is not known yet."""
    groups = KafkaGroups(settings.kafka_for("admin"), report)
    left = piece.left(groups.committed(group_of(settings, lane.live), lane.live.from_topic))
    return (
        [f"{left:,} of the offsets have not been scored live yet: the bundle that is live now is taken"] if left else []
    )


def _same(lane: Lane, request: Request, begun: Replay) -> None:
    if request.words and request.words != begun.asked:
        raise ConfigError(
            f"lane {lane.name} was begun by {begun.who} at {time_text(begun.said_ms)} for something else: "
            f"{begun.asked}. Go on with that: scorer replay {lane.live.name} --lane {lane.name}; for this, give "
            "another --lane"
        )


def write_down(
    settings: Settings, lane: Lane, request: Request, plan: Plan, registry: Any, stop: Event, report: Report
) -> Plan:
    """Publishes a plan that is new, and returns the one that counts.

    Raises:
        ConfigError: somebody else has just begun the lane for something else; or as publish_entry.
        TransientError: a neighbour does not answer.
    """
    if plan.begun:
        return plan
    publish_entry(settings, plan.replay, registry, report)
    entries = read_entries(settings, registry, stop, report)
    if stop.is_set():
        raise KeyboardInterrupt
    return plan_of(settings, lane, request, entries, registry, report)
