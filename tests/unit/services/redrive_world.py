"""The surroundings of a redrive, written by hand: two topics, a registry and a clock. The core is real."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from scorer.core.dead_letters import dead_letters
from scorer.core.errors import HaltError, TransientError
from scorer.core.letters import Letter, Place, Stored, as_originals, letter_of
from scorer.core.offsets import InFlight
from scorer.core.records import DeadLetter, Outbound, RecordBatch, Rejection, Scored, Stage
from scorer.core.sandbox import Death, End
from scorer.core.schema import WriterSchema
from scorer.core.scoring import Recipe, score_batch
from scorer.core.wire import split_frames
from scorer.services.redrive import Redrive
from scorer.services.schemas import Schemas
from scorer.services.spans import Topics
from scorer.services.suspects import Suspects
from tests.unit.services.samples import BASE_MS, EVENT_ID, EVENT_TEXT, lead, recipe

SOURCE, LETTERS, OUTPUT = "events.new-lead", "events.new-lead.dead-letter", "predictions.lead-score"
UNKNOWN_ID = 99


@dataclass
class Sandbox:
    """Implements ports.Sandbox: dies of records at these offsets; `scored` notes the others'."""

    deadly: frozenset[int]
    scored: list[int] = field(default_factory=list)

    def score(
        self, batch: RecordBatch, schemas: Mapping[int, WriterSchema | str], recipe: Recipe, now_ms: int
    ) -> Scored | Death:
        offsets = batch.offsets.tolist()
        if self.deadly.intersection(offsets):
            return Death(End.DIED, False, "SIGSEGV")
        self.scored += offsets
        return score_batch(batch, split_frames(batch.values, 1000), schemas, recipe, now_ms)

    def close(self) -> None:
        """Nothing to end."""


@dataclass
class World:
    """Kafka, a registry and a clock, as one redrive sees them.

    Attributes:
        logs: topic to its records by place.
        emptied: topic to partitions of which nothing is left, and where they end.
        invisible: topic to how many offsets at the end of each partition hold no record.
        silences: how often a reader says nothing before it goes on.
        registry_down: how many questions go unanswered.
        too_large: offsets of records whose predictions the broker does not take.
        silent: whether deliveries are never confirmed.
        after_publish: done once a batch was handed over.
    """

    logs: dict[str, dict[Place, Stored]] = field(default_factory=lambda: {SOURCE: {}, LETTERS: {}})
    lows: dict[str, int] = field(default_factory=dict)
    emptied: dict[str, dict[int, int]] = field(default_factory=dict)
    invisible: int = 0
    silences: int = 0
    on_silence: Callable[[], object] = lambda: None
    expires: bool = False
    registry_down: int = 0
    too_large: frozenset[int] = frozenset()
    silent: bool = False
    after_publish: Callable[[], object] = lambda: None
    published: list[tuple[Outbound, list[DeadLetter]]] = field(default_factory=list)
    opened: list[tuple[str, dict[int, int]]] = field(default_factory=list)
    closed: int = 0
    said: list[str] = field(default_factory=list)
    stop: Event = field(default_factory=Event)
    ms: float = 0.0
    sandbox: Sandbox = field(default_factory=lambda: Sandbox(frozenset()))

    def reject(self, offset: int, value: bytes | None = None, reason: str = "out_of_range") -> Letter:
        """Puts a record into the source topic and its dead letter into the other."""
        value = lead(offset) if value is None else value
        original = Stored(b"key", value, [("own", b"x")], BASE_MS + offset)
        self.logs[SOURCE][0, offset] = original
        batch = as_originals(SOURCE, {(0, offset): original})
        why = Rejection(0, Stage.ASSEMBLE, reason, "why")
        (made,) = dead_letters(batch, [why], topic=LETTERS, stream="scorer.lead", model="lead/0", now_ms=7)
        place = (1, len(self.logs[LETTERS]))
        self.logs[LETTERS][place] = Stored(made.key, made.value, made.headers, made.timestamp)
        found = letter_of(place, self.logs[LETTERS][place])
        assert found is not None
        return found

    def topics(self) -> Topics:
        return Topics(lambda topic, positions: _Reader(self, topic, dict(positions)), self, self.stop)

    def extents(self, topic: str) -> Mapping[int, tuple[int, int]]:
        log = self.logs[topic]
        ends = {partition: max(o for p, o in log if p == partition) + 1 for partition, _ in log}
        emptied = {partition: (end, end) for partition, end in self.emptied.get(topic, {}).items()}
        own = {partition: (self.lows.get(topic, 0), end + self.invisible) for partition, end in ends.items()}
        return {**emptied, **own}

    def redrive(self, **more: Any) -> Redrive:
        wanted: dict[str, Any] = {
            "topics": self.topics(),
            "source_topic": SOURCE,
            "letters_topic": LETTERS,
            "group": "scorer.lead",
            "publisher": self,
            "schemas": Schemas(self, lambda *_: None, grace_ms_max=0),
            "recipe": recipe(),
            "suspects": Suspects(self.sandbox, lambda *_: None),
            "clock": self,
            "report": lambda event, _: self.said.append(event),
            "attempts_max": 3,
            "rows_max": 10,
            "value_bytes_max": 1000,
            "stop": self.stop,
            **more,
        }
        return Redrive(**wanted)

    def publish(self, outbound: Outbound, letters: Sequence[DeadLetter], batch: InFlight) -> list[int]:
        self.published.append((outbound, list(letters)))
        too_large = [at for at, key in enumerate(outbound.keys) if self._offset(outbound, at) in self.too_large]
        if not self.silent:
            batch.outstanding -= len(outbound) + len(letters) - len(too_large)
        self.after_publish()
        return too_large

    def _offset(self, outbound: Outbound, at: int) -> int:
        return sorted(offset for _, offset in self.logs[SOURCE])[int(outbound.rows[at])]

    def poll(self, wait_ms: int) -> None:
        self.ms += wait_ms
        assert self.ms < 60_000, "it waits for ever"

    def text(self, schema_id: int) -> str | None:
        if self.registry_down:
            self.registry_down -= 1
            raise TransientError("the registry does not answer")
        return EVENT_TEXT if schema_id == EVENT_ID else None

    def now_ms(self) -> int:
        return BASE_MS + int(self.ms)

    def ticks_ms(self) -> float:
        self.ms += 1000
        return self.ms

    def sleep(self, ms: float) -> None:
        self.ms += ms

    @property
    def letters(self) -> list[DeadLetter]:
        """The dead letters that were published."""
        return [each for _, letters in self.published for each in letters]


@dataclass
class _Reader:
    world: World
    topic: str
    positions: dict[int, int]
    ended: dict[tuple[str, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.world.opened.append((self.topic, dict(self.positions)))

    def read(self, *_: int) -> list[RecordBatch]:
        if self.world.expires:
            raise HaltError("the position is out of range")
        if self.world.silences:
            self.world.silences -= 1
            self.world.on_silence()
            return []
        log = self.world.logs[self.topic]
        ahead = sorted((p, o) for p, o in log if p in self.positions and o >= self.positions[p])[:3]
        for partition, offset in ahead:
            self.positions[partition] = offset + 1
        if not ahead:
            self.ended = {(self.topic, p): end for p, (_, end) in self.world.extents(self.topic).items()}
        return [as_originals(self.topic, {place: log[place] for place in ahead})] if ahead else []

    def close(self) -> None:
        self.positions.clear()
        self.world.closed += 1
