"""Two topics of a stream that was scored, as a verification reads them. The core and the shelf are real."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any

import fastavro

from scorer.core.account import Account
from scorer.core.dead_letters import dead_letters
from scorer.core.deployments import Activation, Entry, Identity
from scorer.core.letters import Place, Stored, as_originals
from scorer.core.lineage import Lineage
from scorer.core.pieces import Asked, Piece
from scorer.core.ranges import Gone, Range, fixed
from scorer.core.records import Rejection, Stage
from scorer.core.schema import writer_schema
from scorer.core.scoring import Recipe, score_batch
from scorer.core.strict import record_decoder
from scorer.core.wire import prefix, split_frames
from scorer.edges.spill import Spill
from scorer.services.gathering import Gathering
from scorer.services.reading import Decoder
from scorer.services.rescoring import Rescoring
from scorer.services.schemas import Schemas
from scorer.services.suspects import Suspects
from scorer.services.verify import Verify
from tests.unit.services.redrive_world import LETTERS, OUTPUT, SOURCE, World
from tests.unit.services.samples import BASE_MS, EVENT_ID, EVENT_TEXT, PREDICTION_ID, ROOT, lead, recipe

PREDICTION_TEXT = (ROOT / "schemas/predictions.lead-score.avsc").read_text()
WRITER = writer_schema(PREDICTION_ID, PREDICTION_TEXT)
GROUP, TOPIC_ID = "scorer.lead", "now"


class Texts:
    """Implements ports.SchemaRegistry."""

    def text(self, schema_id: int) -> str | None:
        return {EVENT_ID: EVENT_TEXT, PREDICTION_ID: PREDICTION_TEXT}.get(schema_id)


def identity(found: Recipe) -> Identity:
    """Which bundle a recipe scores with."""
    bundle = found.model.bundle
    return Identity(bundle.contract.name, bundle.contract.version, bundle.sha256)


@dataclass
class Scored:
    """A stream that was scored: partitions 0 and 1 of the input, 0 and 1 of the output.

    Attributes:
        world: its topics.
        live: what scored it.
        activations: what the deployments say.
        spare: another recipe for a bundle, by sha256.
        entries: what else the deployments say.
        gone: what the settings of the output topic and of the dead letters say of what may be gone.
        before_judging: done once all is gathered.
    """

    world: World = field(default_factory=lambda: World(logs={SOURCE: {}, LETTERS: {}, OUTPUT: {}}))
    live: Recipe = field(default_factory=recipe)
    activations: list[Activation] = field(default_factory=list)
    spare: dict[str, Recipe | str] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    gone: tuple[Gone, Gone] = (Gone(), Gone())
    before_judging: Callable[[], object] = lambda: None

    def event(self, place: Place, value: bytes | None) -> None:
        """Puts an event into the input topic."""
        self.world.logs[SOURCE][place] = Stored(b"k", value, [], BASE_MS + place[1])

    def score(self, places: Sequence[Place], now_ms: int = 1) -> None:
        """Scores events as the worker does."""
        batch = as_originals(SOURCE, {place: self.world.logs[SOURCE][place] for place in places})
        frames = split_frames(batch.values, 1000)
        schema = writer_schema(EVENT_ID, EVENT_TEXT)
        scored = score_batch(batch, frames, dict.fromkeys(frames.groups, schema), self.live, now_ms)
        for key, value in zip(scored.outbound.keys, scored.outbound.values, strict=True):
            self.publish(key, value)
        for letter in dead_letters(batch, scored.rejections, topic=LETTERS, stream=GROUP, model="lead/1", now_ms=1):
            self.letter(letter.key, letter.value, letter.headers)

    def reject(self, place: Place, group: str = GROUP) -> None:
        """Writes a dead letter about an event, as the worker of a group does."""
        batch = as_originals(SOURCE, {place: self.world.logs[SOURCE][place]})
        why = Rejection(0, Stage.INFER, "kills_process", "why")
        (made,) = dead_letters(batch, [why], topic=LETTERS, stream=group, model="lead/1", now_ms=1)
        self.letter(made.key, made.value, made.headers)

    def letter(self, key: bytes | None, value: bytes | None, headers: Any) -> None:
        """Puts a record into the dead-letter topic."""
        log = self.world.logs[LETTERS]
        log[0, len(log)] = Stored(key, value, headers, BASE_MS)

    def publish(self, key: bytes | None, value: bytes | None) -> Place:
        """Puts a record into the output topic."""
        log = self.world.logs[OUTPUT]
        place = len(log) % 2, len(log) // 2
        log[place] = Stored(key, value, [], BASE_MS + len(log))
        return place

    def change(self, place: Place, **changed: Any) -> None:
        """Changes a prediction where it stands."""
        log = self.world.logs[OUTPUT]
        own = {**record_decoder(WRITER)(log[place].value or b"", 5), **changed}
        body = BytesIO()
        fastavro.schemaless_writer(body, WRITER.parsed, own)
        log[place] = replace(log[place], value=prefix(PREDICTION_ID) + body.getvalue())

    def activate(self, bundle: Identity, partition: int, first_offset: int, topic_id: str = TOPIC_ID) -> None:
        """Says that a bundle is live from an offset on."""
        self.activations.append(
            Activation(GROUP, "lead", bundle, 1, SOURCE, topic_id, partition, first_offset, -1, "w")
        )

    def bundles(self, bundle: Identity) -> Recipe | str:
        """See services.verify.Bundles."""
        if bundle.sha256 in self.spare:
            return self.spare[bundle.sha256]
        return self.live if bundle == identity(self.live) else "not to be had"

    def decoder(self) -> Decoder:
        return Decoder(Schemas(Texts(), lambda *_: None, grace_ms_max=0), self.world, lambda *_: None, self.world.stop)

    def range(self, asked: Asked | None = None) -> Range:
        return fixed(asked or Asked(), self.world.extents(SOURCE), {})

    def verify(
        self,
        window: int = 4,
        asked: Asked | None = None,
        lane: str = "live",
        compacted: bool = False,
        piece: Piece | None = None,
    ) -> Account:
        """All of it."""
        lineage = Lineage(GROUP, TOPIC_ID)
        lineage.apply([*self.activations, *self.entries])
        topics, decoder = self.world.topics(), self.decoder()
        with Spill() as spill:
            live = lineage if lane == "live" else None
            chosen, known = self.range(asked), lineage.recreated
            gathering = Gathering(
                topics, decoder, spill, SOURCE, chosen, lane, known, Account(), compacted, window, live, *self.gone
            )
            spans = self.world.extents(OUTPUT)
            gathering.predictions(OUTPUT, spans, {partition: low for partition, (low, _) in spans.items()})
            if self.world.extents(LETTERS):
                gathering.letters(LETTERS, GROUP, self.world.extents(LETTERS))
            self.before_judging()
            suspects = Suspects(self.world.sandbox, lambda *_: None)
            return Verify(topics, gathering, Rescoring(decoder, self.bundles, 1000, suspects), live, piece).run()


def scored(count: int = 10, live: Recipe | None = None) -> Scored:
    """So many leads in each of two partitions, each with its prediction, by one bundle."""
    made = Scored(live=live or recipe())
    for partition in (0, 1):
        for offset in range(count):
            made.event((partition, offset), lead(partition * count + offset))
        made.activate(identity(made.live), partition, 0)
    made.score([(partition, offset) for offset in range(count) for partition in (0, 1)])
    return made
