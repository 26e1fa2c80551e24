"""From settings to what `scorer verify`, `explain` and `compare` read and score with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any

from scorer.cli.lanes import in_begun_lane, lane_of
from scorer.cli.letters_wiring import GRACE_MS_MAX, topics
from scorer.cli.progress import progress
from scorer.cli.rollout_wiring import group_of, read_entries
from scorer.cli.settings import Settings, Stream
from scorer.cli.wiring import LIVE, open_registry, origin, versions
from scorer.core.account import Account
from scorer.core.bundle import Bundle
from scorer.core.deployments import Entry, Identity
from scorer.core.errors import ConfigError, ContractError
from scorer.core.lineage import Lineage
from scorer.core.model import load_model
from scorer.core.pieces import Asked, Piece, Span
from scorer.core.ports import Report
from scorer.core.proof import event_problems, prediction_problems, signature_problems
from scorer.core.ranges import Range, fixed
from scorer.core.scoring import Recipe
from scorer.edges.bundles import find_bundle, read_bundle
from scorer.edges.clock import SystemClock
from scorer.edges.kafka.admin import KafkaAdmin
from scorer.edges.kafka.extents import TopicExtents
from scorer.edges.kafka.groups import KafkaGroups
from scorer.edges.locations import Location, as_location, within
from scorer.edges.spill import Spill
from scorer.services.gathering import Gathering
from scorer.services.patience import StoppedError
from scorer.services.reading import Decoder
from scorer.services.schemas import Schemas
from scorer.services.spans import Topics
from scorer.services.verify import Rescoring, Verify

LATE_MS = 3_600_000
"""Predictions are looked for from so long before their events on: upstream's clock may be ahead of the broker's, which
refuses more than this (message.timestamp.after.max.ms)."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What the commands work with.

    Attributes:
        settings, stream: what is looked at.
        topics: where records are read.
        extents: where topics begin and end, and what they hold since when.
        groups, admin: how far groups are, and what topics are like.
        decoder: for records.
        registry: both ports of it.
        lineage: what was live.
        bundles: what scores.
        entries: all that the topic of deployments holds.
    """

    settings: Settings
    stream: Stream
    topics: Topics
    extents: TopicExtents
    groups: KafkaGroups
    admin: KafkaAdmin
    decoder: Decoder
    registry: Any
    lineage: Lineage
    bundles: AtHand
    entries: Sequence[Entry] = ()

    def rescoring(self) -> Rescoring:
        """Scores events again, as live."""
        return Rescoring(self.decoder, self.bundles.recipe, self.settings.batch.value_bytes_max)

    def where(self, lane: str) -> Stream:
        """The stream with the topics of a lane. Raises as in_begun_lane."""
        return in_begun_lane(self.admin, self.stream, lane)

    def piece(self, lane: str) -> Piece | None:
        """What a lane's replay was for; None for live, and where that was not written down."""
        return None if lane == LIVE else lane_of(self.settings, self.stream, lane).piece(self.entries)


@contextmanager
def scene(settings: Settings, stream: Stream, bundles: Path | None, stop: Event, report: Report) -> Iterator[Scene]:
    """Opens what the commands work with, and reads the deployments.

    Raises:
        ConfigError, ContractError: a topic or a schema is missing.
        StoppedError: told to stop.
        TransientError: Kafka or the registry does not answer.
    """
    registry, admin = open_registry(settings, report), KafkaAdmin(settings.kafka_for("admin"), report)
    decoder = Decoder(Schemas(registry, report, grace_ms_max=GRACE_MS_MAX), SystemClock(), report, stop)
    lineage = Lineage(group_of(settings, stream), admin.topic_id(stream.from_topic))
    entries = read_entries(settings, registry, stop, report)
    lineage.apply(entries)
    if stop.is_set():  # then not all of them were read
        raise StoppedError
    hand = AtHand(settings, stream, registry, lineage, bundles)
    consumer, own = settings.kafka_for("consumer"), settings.kafka_for("admin")
    with TopicExtents(consumer, own, report) as extents, topics(settings, stop, report) as reading:
        groups = KafkaGroups(own, report)
        yield Scene(settings, stream, reading, extents, groups, admin, decoder, registry, lineage, hand, entries)


@dataclass(slots=True)
class AtHand:
    """Bundles as they are where they are looked for: by sha256, else by name and version with what bytes they have.

    Attributes:
        folder: NAME/VERSION is looked for there first.
    """

    settings: Settings
    stream: Stream
    registry: Any
    lineage: Lineage
    folder: Location | None
    _known: dict[str, Recipe | str] = field(default_factory=dict)

    def recipe(self, bundle: Identity) -> Recipe | str:
        """What scores with a bundle, or why nothing does."""
        if bundle.sha256 not in self._known:
            self._known[bundle.sha256] = self._loaded(bundle)
        return self._known[bundle.sha256]

    def _loaded(self, bundle: Identity) -> Recipe | str:
        places = list(dict.fromkeys(self._places(bundle)))
        try:
            return self._made(find_bundle(places, bundle.sha256))
        except (ConfigError, ContractError) as error:
            why = str(error)
        for place in places:
            try:
                other = read_bundle(place)
                if other.label == bundle.label and other.sha256 != bundle.sha256:
                    return self._made(other)
            except (ConfigError, ContractError) as error:
                why = f"{why}; {error}"
        return why

    def _places(self, bundle: Identity) -> Iterator[Location]:
        if self.folder is not None:
            yield within(self.folder, bundle.name, bundle.version)
        for number in sorted(self.lineage.intents, reverse=True):
            if self.lineage.intents[number].bundle == bundle:
                yield as_location(self.lineage.intents[number].place)
        if self.settings.deployments.bundles is not None:
            yield within(self.settings.deployments.bundles, bundle.name, bundle.version)
        yield self.stream.bundle

    def _made(self, bundle: Bundle) -> Recipe:
        """Not proved again with golden rows: its bytes are those that were, or else that is what is said of it."""
        model = load_model(bundle)
        _, writer = versions(self.registry, self.stream.to_topic)[-1]
        problems = signature_problems(model.interface)
        if not problems:
            problems = event_problems(model.interface, versions(self.registry, self.stream.from_topic))
            problems += prediction_problems(model.interface, writer)
        if problems:
            raise ContractError(f"bundle {bundle.place} cannot serve: {problems[0]}")
        return Recipe(model, writer, self.stream.to_topic, origin())


def verification(it: Scene, spill: Spill, asked: Asked, lane: str) -> tuple[Verify, Callable[[], Account]]:
    """A verification, with its range and all ends fixed; calling the second part does it.

    What the group has committed is asked for first and the input's end last: so what is judged was published, and no
    prediction is about an event that is not there yet.

    Raises:
        ConfigError: a topic, a partition or the lane is not there.
        TransientError: Kafka does not answer.
    """
    where = it.where(lane)
    done = it.groups.committed(it.lineage.group, it.stream.from_topic) if lane == LIVE else {}
    published = it.extents.extents(where.to_topic)
    letters = it.extents.extents(where.dead_letters)
    chosen = chosen_range(it, asked, done)
    from_then = from_ms(it, asked, chosen)
    _, held = it.admin.topic(it.stream.from_topic)
    compacted = "compact" in held.get("cleanup.policy", "")
    gathering = gathered(it, spill, chosen, lane, recreated=it.lineage.recreated, compacted=compacted)
    judged = progress(SystemClock(), "events judged")
    lineage = it.lineage if lane == LIVE else None
    verify = Verify(it.topics, gathering, it.rescoring(), lineage, it.piece(lane), judged)

    def run() -> Account:
        lows = {partition: low for partition, (low, _) in published.items()}
        gathering.predictions(where.to_topic, since(it, where.to_topic, published, from_then), lows)
        gathering.letters(where.dead_letters, it.lineage.group, letters)
        if it.topics.stop.is_set():  # reading ends early then, and what was not read is not missing
            raise StoppedError
        return verify.run()

    return verify, run


def gathered(
    it: Scene, spill: Spill, chosen: Range, lane: str, *, recreated: bool = False, compacted: bool = False
) -> Gathering:
    """Where the predictions of a lane are put aside; it says how far it has read."""
    topics = replace(it.topics, progress=progress(SystemClock(), f"offsets of lane {lane} read"))
    return Gathering(topics, it.decoder, spill, it.stream.from_topic, chosen, lane, recreated, Account(), compacted)


def chosen_range(it: Scene, asked: Asked, done: Mapping[int, int]) -> Range:
    """What of the input topic was asked for, as it is now; see `verification`."""
    topic = it.stream.from_topic
    first = None if asked.since_ms is None else it.extents.since(topic, asked.since_ms)
    end = None if asked.until_ms is None else it.extents.since(topic, asked.until_ms)
    return fixed(asked, it.extents.extents(topic), done, first, end)


def since(it: Scene, topic: str, extents: Mapping[int, Span], from_ms: int | None) -> dict[int, Span]:
    """What a topic holds from a time on, up to the end that was fixed."""
    if from_ms is None:
        return dict(extents)
    found = it.extents.since(topic, from_ms)
    return {partition: (max(low, found.get(partition, low)), high) for partition, (low, high) in extents.items()}


def from_ms(it: Scene, asked: Asked, chosen: Range) -> int | None:
    """From when on predictions of the range are looked for; None for all there are."""
    if asked.since_ms is not None:
        return asked.since_ms - LATE_MS
    if asked.offsets is None:
        return None
    firsts = {partition: (first, first + 1) for partition, (first, _) in chosen.spans.items()}
    times = [each for batch in it.topics.stretch(it.stream.from_topic, firsts) for each in batch.timestamps.tolist()]
    return None if len(times) < len(firsts) or not times else max(0, min(times) - LATE_MS)
