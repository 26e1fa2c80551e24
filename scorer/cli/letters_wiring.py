"""From settings to dead letters: builds the edges that `scorer dead-letters` reads and scores with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event

from scorer.cli.rollout_wiring import live_recipe
from scorer.cli.settings import Settings, Stream
from scorer.cli.start_checks import written_bytes_max
from scorer.cli.wiring import CLOSE_MS_MAX, open_registry
from scorer.core.dissect import Dissection, dissect
from scorer.core.errors import ContractError, TransientError
from scorer.core.letters import Letter, Place, Stored, letter_of
from scorer.core.ports import Report
from scorer.core.schema import writer_schema
from scorer.core.wire import PREFIX_BYTES, split_frames
from scorer.edges.clock import SystemClock
from scorer.edges.kafka.extents import TopicExtents
from scorer.edges.kafka.producer import OVERHEAD_BYTES, KafkaPublisher
from scorer.edges.kafka.reader import KafkaReader
from scorer.edges.kafka.settings import producer_properties
from scorer.edges.sandbox import Sandbox
from scorer.services.redrive import Outcome, Publishing, Redrive, Rehearsal
from scorer.services.schemas import Schemas
from scorer.services.spans import Topics
from scorer.services.suspects import Suspects

GRACE_MS_MAX = 0
"""An operator asks now: an id that the registry does not know now is unknown."""


@dataclass(frozen=True, slots=True)
class Found:
    """A dead letter with its bytes.

    Attributes:
        letter, content: what it says and holds.
        value: the original value; None if neither the letter nor the source topic has it.
        retained: whether the source topic still holds the same bytes at the record's place.
        schema_id: what the value is framed with; None if it is not framed.
        undecoded: why no schema could be tried; "" if one was.
        dissection: the value taken apart with that schema.
    """

    letter: Letter
    content: Stored
    value: bytes | None
    retained: bool
    schema_id: int | None
    undecoded: str
    dissection: Dissection | None


@contextmanager
def topics(settings: Settings, stop: Event, report: Report) -> Iterator[Topics]:
    """Where letters and original records are read, for the length of a `with` block."""
    consumer = settings.kafka_for("consumer")

    def opened(topic: str, positions: Mapping[int, int]) -> KafkaReader:
        places = {(topic, partition): offset for partition, offset in positions.items()}
        return KafkaReader(consumer, [topic], start="latest", report=report, positions=places, to_end=True)

    with TopicExtents(consumer, settings.kafka_for("admin"), report) as extents:
        yield Topics(opened, extents, stop)


def find(reading: Topics, stream: Stream, place: Place, *, is_event: bool) -> tuple[Letter, Stored] | None:
    """The letter at a place of the dead-letter topic, or the newest one about the record at a place of the source's."""
    if is_event:
        letters, _ = reading.letters(stream.dead_letters)
        about = [each for each in letters if (each.topic, each.source) == (stream.from_topic, place)]
        if not about:
            return None
        place = max(about, key=lambda each: (each.rejected_at_ms, each.place)).place
    content = reading.fetch(stream.dead_letters, [place]).get(place)
    letter = None if content is None else letter_of(place, content)
    return None if letter is None or content is None else (letter, content)


def examine(settings: Settings, reading: Topics, letter: Letter, content: Stored, report: Report) -> Found:
    """Fetches what is there of the original, and takes it apart with its writer's schema."""
    original = reading.fetch(letter.topic, [letter.source]).get(letter.source)
    retained = original is not None and letter.tells_of(original.value)
    value = content.value if original is None or not retained else original.value
    if value is None:
        return Found(letter, content, None, retained, None, "its bytes are in neither topic", None)
    frames = split_frames([value], settings.batch.value_bytes_max)
    if frames.rejections:
        return Found(letter, content, value, retained, None, frames.rejections[0].detail, None)
    (schema_id,) = frames.groups
    try:
        text = open_registry(settings, report).text(schema_id)
        schema = None if text is None else writer_schema(schema_id, text)
    except (ContractError, TransientError) as error:
        return Found(letter, content, value, retained, schema_id, str(error), None)
    if schema is None:
        return Found(letter, content, value, retained, schema_id, f"the registry does not know id {schema_id}", None)
    return Found(letter, content, value, retained, schema_id, "", dissect(value, PREFIX_BYTES, schema))


def redrive(
    settings: Settings,
    stream: Stream,
    reading: Topics,
    letters: Sequence[Letter],
    *,
    attempts_max: int | None,
    dry_run: bool,
    report: Report,
    progress: Callable[[Outcome], None],
) -> Outcome:
    """Scores the records of these letters with the stream's bundle and schemas as they are now.

    Raises:
        ConfigError, ContractError: the bundle cannot serve, or a topic is missing.
        StoppedError: told to stop.
        TransientError: an outage.
    """
    registry = open_registry(settings, report)
    recipe = live_recipe(settings, stream, registry, reading.stop, report)
    bytes_max = written_bytes_max(settings, stream, report)
    publisher: KafkaPublisher | None = None
    if not dry_run:
        user = settings.kafka_for("producer")
        properties = producer_properties(user, stream.profile, max(bytes_max.values()), min(bytes_max.values()))
        publisher = KafkaPublisher(properties, report, bytes_max)
    sandbox = Sandbox(settings.batch.value_bytes_max)
    chosen: Publishing = publisher or Rehearsal(bytes_max, OVERHEAD_BYTES)
    job = Redrive(
        topics=reading,
        source_topic=stream.from_topic,
        letters_topic=stream.dead_letters,
        group=f"{settings.group}.{stream.name}",
        publisher=chosen,
        schemas=Schemas(registry, report, grace_ms_max=GRACE_MS_MAX),
        recipe=recipe,
        suspects=Suspects(sandbox, report),
        clock=SystemClock(),
        report=report,
        attempts_max=attempts_max,
        rows_max=settings.batch.rows_max,
        value_bytes_max=settings.batch.value_bytes_max,
        stop=reading.stop,
        progress=progress,
    )
    try:
        return job.run(letters)
    finally:
        sandbox.close()
        if publisher is not None:
            publisher.close(CLOSE_MS_MAX)
