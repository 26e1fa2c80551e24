"""From settings to what `scorer verify`, `explain` and `compare` read and score with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

from scorer.cli.at_hand import AtHand
from scorer.cli.lanes import in_begun_lane, lane_of
from scorer.cli.letters_wiring import GRACE_MS_MAX, topics
from scorer.cli.progress import progress
from scorer.cli.rollout_wiring import group_of, read_entries
from scorer.cli.settings import Settings, Stream
from scorer.cli.wiring import LIVE, open_registry
from scorer.core.account import Account
from scorer.core.deployments import Entry
from scorer.core.lineage import Lineage
from scorer.core.pieces import Asked, Piece, Span
from scorer.core.ports import Report
from scorer.core.ranges import LATE_MS, Gone, Range, fixed
from scorer.core.topics import kept_ms
from scorer.edges.clock import SystemClock
from scorer.edges.kafka.admin import KafkaAdmin
from scorer.edges.kafka.appended import Appended
from scorer.edges.kafka.extents import TopicExtents
from scorer.edges.kafka.groups import KafkaGroups
from scorer.edges.sandbox import Sandbox
from scorer.edges.spill import Spill
from scorer.services.gathering import Gathering
from scorer.services.patience import StoppedError
from scorer.services.reading import Decoder
from scorer.services.rescoring import Rescoring
from scorer.services.schemas import Schemas
from scorer.services.spans import Topics, settled
from scorer.services.suspects import Suspects
from scorer.services.verify import Verify


@dataclass(frozen=True, slots=True)
class Scene:
    """What the commands work with.

    Attributes:
        settings, stream: what is looked at.
        topics: where records are read.
        extents: where topics begin and end, and what they hold since when.
        groups, admin: how far groups are, and what topics are like.
        appended: how far topics are written.
        decoder: for records.
        registry: both ports of it.
        lineage: what was live.
        bundles: what scores.
        deployments: reads all that their topic holds now.
        entries: what it held when this was opened; `lineage` is made of it.
    """

    settings: Settings
    stream: Stream
    topics: Topics
    extents: TopicExtents
    groups: KafkaGroups
    admin: KafkaAdmin
    appended: Appended
    decoder: Decoder
    registry: Any
    lineage: Lineage
    bundles: AtHand
    deployments: Callable[[], Sequence[Entry]]
    entries: Sequence[Entry] = ()

    def rescoring(self, suspects: Suspects | None = None) -> Rescoring:
        """Scores events again, as live."""
        return Rescoring(self.decoder, self.bundles.recipe, self.settings.batch.value_bytes_max, suspects)

    def where(self, lane: str) -> Stream:
        """The stream with the topics of a lane. Raises as in_begun_lane."""
        return in_begun_lane(self.admin, self.stream, lane)

    def catch_up(self) -> None:
        """Takes in what was deployed and activated meanwhile: what has been published by now was activated before."""
        self.lineage.apply(self.deployments()[len(self.entries) :])

    def held(self, topic: str) -> Mapping[str, str]:
        """A topic's settings.

        Raises:
            ConfigError, TransientError: there is no such topic; Kafka does not answer.
            RefusedError: we may not look at it.
        """
        return self.admin.topic(topic)[1]

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
    deployments = partial(read_entries, settings, registry, stop, report)
    entries = deployments()
    lineage.apply(entries)
    if stop.is_set():  # then not all of them were read
        raise StoppedError
    hand = AtHand(settings, stream, registry, lineage, bundles)
    consumer, own = settings.kafka_for("consumer"), settings.kafka_for("admin")
    with TopicExtents(consumer, own, report) as extents, topics(settings, stop, report) as reading:
        groups, appended = KafkaGroups(own, report), Appended(own, report)
        yield Scene(
            *(settings, stream, reading, extents, groups, admin, appended, decoder, registry, lineage, hand),
            *(deployments, entries),
        )


def verification(it: Scene, spill: Spill, asked: Asked, lane: str) -> tuple[Verify, Callable[[], Account]]:
    """A verification, with its range and all ends fixed; calling the second part does it.

    What the group has committed is asked for first and the input's end last: so what is judged was published, and no
    prediction is about an event that is not there yet.

    Raises:
        ConfigError: a topic, a partition or the lane is not there.
        RefusedError: we may not look at a topic's settings.
        StoppedError: told to stop.
        TransientError: Kafka does not answer, or a transaction stays open.
    """
    where, stop = it.where(lane), it.topics.stop
    done = committed(it) if lane == LIVE else {}
    published = settled(it.extents, it.appended, where.to_topic, stop)
    letters = settled(it.extents, it.appended, where.dead_letters, stop)
    if lane == LIVE:
        it.catch_up()
    chosen = chosen_range(it, asked, done)
    held = it.held(it.stream.from_topic)
    from_then = from_ms(it, asked, chosen, late_ms(held))
    lineage = it.lineage if lane == LIVE else None
    gathering = replace(
        gathered(it, spill, chosen, lane),
        recreated=it.lineage.recreated,
        compacted="compact" in held.get("cleanup.policy", ""),
        lineage=lineage,
        predictions_gone=gone(it.held(where.to_topic)),
        letters_gone=gone(it.held(where.dead_letters)),
    )
    sandbox = Sandbox(it.settings.batch.value_bytes_max)
    judged = progress(SystemClock(), "events judged")
    rescoring = it.rescoring(Suspects(sandbox, it.decoder.report))
    verify = Verify(it.topics, gathering, rescoring, lineage, it.piece(lane), judged)

    def run() -> Account:
        lows = {partition: low for partition, (low, _) in published.items()}
        gathering.predictions(where.to_topic, since(it, where.to_topic, published, from_then), lows)
        gathering.letters(where.dead_letters, it.lineage.group, letters)
        if stop.is_set():  # reading ends early then, and what was not read is not missing
            raise StoppedError
        try:
            return verify.run()
        finally:
            sandbox.close()

    return verify, run


def committed(it: Scene) -> dict[int, int]:
    """How far the stream's group is, by partition; nothing where it has no positions at all.

    Where it has some, a partition without one has been begun at most: what is live on it is not committed yet.
    """
    found = it.groups.committed(it.lineage.group, it.stream.from_topic)
    if found:
        for partition in it.extents.extents(it.stream.from_topic):
            begun = it.lineage.first(partition)
            if begun is not None:
                found.setdefault(partition, begun)
    return found


def gone(held: Mapping[str, str]) -> Gone:
    """What a topic with these settings may have no more; which of it, the reading tells."""
    by_time = kept_ms(held) >= 0 and int(held.get("retention.bytes", "-1")) < 0
    compacted = "compact" in held.get("cleanup.policy", "")
    return Gone(kept_ms=kept_ms(held) if by_time else None, now_ms=SystemClock().now_ms(), compacted=compacted)


def late_ms(held: Mapping[str, str]) -> int:
    """How far the clocks of an input topic's writers may be ahead."""
    if held.get("message.timestamp.type") == "LogAppendTime":
        return LATE_MS
    return max(LATE_MS, int(held.get("message.timestamp.after.max.ms", "0")))


def gathered(it: Scene, spill: Spill, chosen: Range, lane: str) -> Gathering:
    """Where the predictions of a lane are put aside; it says how far it has read."""
    topics = replace(it.topics, progress=progress(SystemClock(), f"offsets of lane {lane} read"))
    return Gathering(topics, it.decoder, spill, it.stream.from_topic, chosen, lane, False, Account())


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


def from_ms(it: Scene, asked: Asked, chosen: Range, late_ms: int = LATE_MS) -> int | None:
    """From when on predictions of the range are looked for; None for all there are.

    Args:
        it, asked, chosen: what is looked at.
        late_ms: how far the clocks of the input topic's writers may be ahead.
    """
    if asked.since_ms is not None:
        return max(0, asked.since_ms - late_ms)
    if asked.offsets is None:
        return None
    firsts = {partition: (first, first + 1) for partition, (first, _) in chosen.spans.items()}
    times = [each for batch in it.topics.stretch(it.stream.from_topic, firsts) for each in batch.timestamps.tolist()]
    return None if len(times) < len(firsts) or not times else max(0, min(times) - late_ms)
