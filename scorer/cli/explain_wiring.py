"""From one prediction's id to all that is known of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from scorer.cli.settings import Settings, Stream
from scorer.cli.verify_wiring import Scene, since
from scorer.core.compose import digest
from scorer.core.deployments import Activation, Identity, Intent
from scorer.core.dissect import Dissection, dissect
from scorer.core.errors import ConfigError, ScorerError
from scorer.core.explanation import Default, Inside, defaults, inside
from scorer.core.letters import OFFSET_MAX, PARTITION_MAX, Author, Place, Stored, as_originals
from scorer.core.lineage import Standing, before_scoring, in_turn, nowhere
from scorer.core.pieces import Span
from scorer.core.ranges import LATE_MS
from scorer.core.records import RecordBatch
from scorer.core.schema import WriterSchema
from scorer.core.scoring import Recipe
from scorer.core.strict import MalformedError, record_decoder
from scorer.core.verdicts import Event, Published, Rescored, Verdict
from scorer.core.wire import PREFIX_BYTES, split_frames
from scorer.edges.bundles import read_bundle
from scorer.services.finding import Finder, Wanted
from scorer.services.patience import StoppedError


@dataclass(frozen=True, slots=True)
class Id:
    """A prediction's id by its parts."""

    text: str
    model: str
    version: str
    topic: str
    place: Place

    def stream_of(self, settings: Settings) -> Stream:
        """The stream that made it: of those that read its topic the one whose model has its name, else the first.

        Raises:
            ConfigError: no stream reads its topic.
        """
        found = [each for each in settings.streams if each.from_topic == self.topic]
        if not found:
            there = ", ".join(sorted({each.from_topic for each in settings.streams})) or "none"
            raise ConfigError(f"no stream of the settings reads {self.topic}; topics that are read: {there}")
        return next((each for each in found if len(found) > 1 and _name(each) == self.model), found[0])


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that is known of one prediction.

    Attributes:
        id, stream, lane: which.
        event: the record, or None: gone, or never there; `absent` says which.
        schema_id, dissection, undecoded: what its value is framed with, and taken apart with; why it is not.
        live, intent: the activation that covers the event, and what it carries out.
        bundle: which one is used here; None if nothing names one.
        recipe: what scores with it, or why nothing does.
        defaults, inside: what the model saw, and gave.
        again: the prediction as it comes out now.
        published, looked, whole: the prediction as it was published, how many records were read through for it, and
            whether that was all there are where it was not found.
        verdict: of the two against each other; None where there is no prediction.
    """

    id: Id
    stream: str
    lane: str
    output: str
    event: Stored | None
    absent: str
    schema_id: int | None
    dissection: Dissection | None
    undecoded: str
    live: Activation | None
    intent: Intent | None
    bundle: Identity | None
    recipe: Recipe | str
    defaults: list[Default]
    inside: Inside | None
    again: Rescored | None
    published: Published | None
    looked: int
    whole: bool
    verdict: Verdict | None


def parse_id(text: str) -> Id:
    """The parts of an id.

    Raises:
        ConfigError: it is none.
    """
    match = re.fullmatch(r"([^/]+)/([^/]+)/([^/]+)/([0-9]{1,10})/([0-9]{1,19})", text)
    if match is None or int(match[4]) > PARTITION_MAX or int(match[5]) > OFFSET_MAX:
        raise ConfigError(f"{text!r} is no prediction's id: it is MODEL/VERSION/TOPIC/PARTITION/OFFSET")
    return Id(text, match[1], match[2], match[3], (int(match[4]), int(match[5])))


def explanation(it: Scene, wanted: Id, lane: str) -> Explanation:
    """Reads what there is of a prediction, and scores its event again.

    Raises:
        ConfigError: a topic or the lane is not there.
        StoppedError: told to stop.
        TransientError: Kafka or the registry does not answer.
    """
    partition, offset = wanted.place
    low, high = extent = it.extents.extents(wanted.topic).get(partition, (0, 0))
    event = None
    if low <= offset < high:
        event = it.topics.fetch(wanted.topic, [wanted.place]).get(wanted.place)
        low, _ = it.extents.extents(wanted.topic).get(partition, extent)  # it may have expired meanwhile
        extent = low, high
    output = it.where(lane).to_topic
    finder = Finder(it.topics, it.decoder)
    published = _found(it, finder, output, Wanted(wanted.text, wanted.topic, wanted.place, lane), event)
    if published is not None and lane == "live" and not it.lineage.knows(published.bundle):
        it.catch_up()  # it may have been deployed a moment ago
    live = it.lineage.at(partition, offset) if lane == "live" else None
    bundle = _bundle(it, wanted, published, live)
    recipe = "no activation, intent or prediction names its bundle" if bundle is None else it.bundles.recipe(bundle)
    schema_id, taken, undecoded = _dissected(it, event)
    batch = None if event is None else as_originals(wanted.topic, {wanted.place: event})
    again = _again(it, batch, bundle)
    filled, seen = _seen(it, batch, recipe)
    return Explanation(
        id=wanted,
        stream=it.stream.name,
        lane=lane,
        output=output,
        event=event,
        absent=_absent(offset, low, high) if event is None else "",
        schema_id=schema_id,
        dissection=taken,
        undecoded=undecoded,
        live=live,
        intent=_intent(it, live, bundle),
        bundle=bundle,
        recipe=recipe,
        defaults=filled,
        inside=seen,
        again=again,
        published=published,
        looked=finder.looked,
        whole=finder.whole,
        verdict=None if published is None else _verdict(it, published, batch, live, again, lane, recipe, extent),
    )


def _found(it: Scene, finder: Finder, output: str, wanted: Wanted, event: Stored | None) -> Published | None:
    """The prediction; looked for from before its event on, and before that where the event's time leads astray."""
    extents = it.extents.extents(output)
    spans = since(it, output, extents, None if event is None else max(0, event.timestamp - LATE_MS))
    earlier = {partition: (low, spans[partition][0]) for partition, (low, _) in extents.items()}
    published = finder.find(output, spans, wanted)
    if published is None and any(low < end for low, end in earlier.values()):
        published = finder.find(output, earlier, wanted)
    if published is None:  # an open transaction, whoever's, hides what was written behind its beginning
        written = it.appended.ends(output, sorted(extents))
        finder.whole &= all(extents[partition][1] >= end for partition, end in written.items())
    return published


def _verdict(
    it: Scene,
    published: Published,
    batch: RecordBatch | None,
    live: Activation | None,
    again: Rescored | None,
    lane: str,
    recipe: Recipe | str,
    extent: Span,
) -> Verdict:
    at = Standing(it.stream.from_topic, it.lineage.recreated, it.lineage if lane == "live" else None, live)
    if batch is None:
        low, high = extent
        within = low <= published.source[1] < high
        compacted = within and "compact" in it.held(it.stream.from_topic).get("cleanup.policy", "")
        return nowhere(published, at, extent, compacted=compacted)
    event = Event(digest(batch.values[0] or b""), int(batch.timestamps[0]))
    before = before_scoring(published, event, at)
    if before is not None:
        return before
    scored: Rescored | str = str(recipe) if again is None else again
    verdict = it.rescoring().judged(published, batch, 0, scored)
    found = in_turn(published, verdict, at)
    return verdict if found is not verdict and _has_letter(it, lane, batch) else found


def _has_letter(it: Scene, lane: str, batch: RecordBatch) -> bool:
    """Whether the stream has rejected that event, so that a later bundle may have scored it by a redrive."""
    topic, place = it.where(lane).dead_letters, (int(batch.partitions[0]), int(batch.offsets[0]))
    author = Author(batch.topic, it.lineage.group)
    letters = (
        letter
        for found in it.topics.stretch(topic, it.extents.extents(topic))
        for _, letter in author.letters(found)
        if letter.source == place
    )
    found = any(not letter.sha256 or letter.tells_of(batch.values[0]) for letter in letters)
    if it.topics.stop.is_set():  # reading ends early then
        raise StoppedError
    return found


def _bundle(it: Scene, wanted: Id, published: Published | None, live: Activation | None) -> Identity | None:
    """The bundle that the id means: the prediction's own, the one that was live, or the newest of that name."""
    label = f"{wanted.model}/{wanted.version}"
    if published is not None:
        return published.bundle
    if live is not None and live.bundle.label == label:
        return live.bundle
    named = [each.bundle for _, each in sorted(it.lineage.intents.items()) if each.bundle.label == label]
    return named[-1] if named else None


def _intent(it: Scene, live: Activation | None, bundle: Identity | None) -> Intent | None:
    if live is not None and (bundle is None or live.bundle == bundle):
        return it.lineage.intent_of(live)
    return None if bundle is None else it.lineage.intent_for(bundle)


def _again(it: Scene, batch: RecordBatch | None, bundle: Identity | None) -> Rescored | None:
    if batch is None or bundle is None:
        return None
    scored = it.rescoring().score(batch, bundle)
    return None if isinstance(scored, str) else scored[0]


def _seen(it: Scene, batch: RecordBatch | None, recipe: Recipe | str) -> tuple[list[Default], Inside | None]:
    if batch is None or isinstance(recipe, str):
        return [], None
    frames = split_frames(batch.values, it.settings.batch.value_bytes_max)
    known = it.decoder.known(frames.groups)
    seen = inside(batch, frames, known, recipe.model)
    for schema in known.values():
        if isinstance(schema, WriterSchema):
            try:
                record = record_decoder(schema)(batch.values[0] or b"", PREFIX_BYTES)
            except MalformedError:
                continue
            return defaults(recipe.model.contract, record), seen
    return [], seen


def _dissected(it: Scene, event: Stored | None) -> tuple[int | None, Dissection | None, str]:
    if event is None or event.value is None:
        return None, None, "" if event is None else "it is a tombstone"
    frames = split_frames([event.value], it.settings.batch.value_bytes_max)
    if frames.rejections:
        return None, None, frames.rejections[0].detail
    (schema_id,) = frames.groups
    schema = it.decoder.known([schema_id])[schema_id]
    if isinstance(schema, str):
        return schema_id, None, schema
    return schema_id, dissect(event.value, PREFIX_BYTES, schema), ""


def _absent(offset: int, low: int, high: int) -> str:
    if offset < low:
        return f"gone by retention: the partition begins at offset {low}"
    if offset >= high:
        return f"not there: the partition ends at offset {high}"
    return "not there: at that offset the topic holds no record"


def _name(stream: Stream) -> str:
    try:
        return read_bundle(stream.bundle).contract.name
    except ScorerError:
        return ""
