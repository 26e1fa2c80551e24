"""A stream of leads that a worker has worked off: dead letters of every kind, some of which can be helped by now."""

from __future__ import annotations

import itertools
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness.claims import scored_once
from tests.harness.events import encoder, sampled
from tests.harness.lead_stream import LeadStream
from tests.harness.poison import RECURSIVE, SKIPPED, VALUE_BYTES_MAX, Writers, kinds_of, nullable
from tests.harness.topics import DEPLOYMENTS, ROOT, Raw, fresh_group, register, shipped_schema, stream_topics
from tests.harness.workers import scorer, worker, write_settings
from tests.harness.workers import stream as table
from tests.oracle.record import Record

GOOD, PER_KIND, LATER, OLD = 200, 2, 20, 5
BUNDLE = ROOT / "models" / "lead" / "1"
SETTINGS = {
    "batch": {"value_bytes_max": VALUE_BYTES_MAX},
    "rejections": {"ratio_max": 1, "run_rows_max": 1_000_000},
}
HELPED = {"later": ("DECODE", "unknown_schema"), "old": ("ASSEMBLE", "out_of_range")}
"""What a later registry or bundle lets pass."""

Place = tuple[int, int]
Schemas = dict[str, tuple[int, Any, str]]
"""A name to id, schema and subject."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A stream after its worker has rejected what it had to.

    Attributes:
        stream: its surroundings; the registry is the one that knows every schema.
        config: settings with that registry.
        wider: a bundle that takes ages up to 150.
        sources: events by partition and offset.
        kinds: the name of each bad one; "later" and "old" are those that can be helped.
        reasons: what the live run said of them.
    """

    stream: LeadStream
    config: Path
    wider: Path
    sources: dict[Place, Raw]
    kinds: dict[Place, str]
    reasons: dict[Place, str]

    def of(self, *kinds: str) -> list[Raw]:
        """The events of these kinds."""
        return [self.sources[place] for place, kind in self.kinds.items() if kind in kinds]

    @contextmanager
    def deployed(self, bundle: Path) -> Iterator[None]:
        """Another bundle is deployed until the block is left."""
        self._command("deploy", "lead", str(bundle))
        try:
            yield
        finally:
            self._command("rollback", "lead")

    def _command(self, *command: str) -> None:
        done = scorer(*command, "--config", str(self.config), cwd=self.config.parent)
        assert done.returncode == 0, done.stderr

    def run(self, command: str, *arguments: str, code: int = 0, config: Path | None = None) -> Any:
        """Runs a command with --json on the stream, and returns what it says."""
        return dead_letters(config or self.config, command, "lead", *arguments, "--json", code=code)

    def contents(self) -> tuple[int, list[Record], list[Raw]]:
        """How many events there are, the predictions and the letters."""
        return len(self.stream.sources()), self.stream.predictions(), self.stream.letters()


def dead_letters(config: Path, command: str, *arguments: str, code: int = 0) -> Any:
    """Runs `scorer dead-letters` and returns its JSON, or its text without --json."""
    done = scorer("dead-letters", command, *arguments, "--config", str(config), cwd=config.parent)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if "--json" in arguments and done.stdout else done.stdout + done.stderr


@contextmanager
def rejected_leads(kafka: str, registry: str, folder: Path) -> Iterator[Rejected]:
    """Makes the stream, and lets a worker with a registry that lacks one schema work it off."""
    with stream_topics(kafka) as topics:
        schemas = _schemas(registry, topics.events, topics.predictions)
        writers = _writers(schemas)
        later = encoder(*schemas["later"][:2])
        stream = LeadStream(kafka, registry, folder, topics, fresh_group(), writers.encode)
        values, names = _values(writers, later)
        headers = [("kind", b"told"), ("__connect.errors.topic", b"forged"), ("scorer.attempts", b"9")]
        assert stream.send_values(values, headers=headers) == len(values)
        sources = {(each.partition, each.offset): each for each in stream.sources(len(values))}
        kinds = {place: name for place, each in sources.items() if (name := names[(each.key or b"").decode()])}
        verdicts = {**{name: verdict for name, (_, verdict) in kinds_of("lead").items()}, **HELPED}
        reasons = {place: verdicts[kind][1] for place, kind in kinds.items() if verdicts[kind] != SKIPPED}

        def settings(name: str, bundle: Path, url: str) -> Path:
            own = [table("lead", bundle, topics)]
            more = {**SETTINGS, "registry_more": {"grace_ms_max": 300}}
            return write_settings(folder, kafka=kafka, registry=url, group=stream.group, streams=own, name=name, **more)

        early = settings("early.toml", BUNDLE, f"folder:{_without(schemas, 'later', folder / 'schemas')}")
        with worker(early) as running:
            running.wait_ready()  # before there is such a group, confluent-kafka 2.16 dies of being asked about it
            running.until(lambda: stream.committed() == stream.ends(sources.values()), "done")
        assert len(stream.letters()) == len(reasons)
        scored_once(stream.predictions(), [each for place, each in sources.items() if place not in kinds])
        config = settings("scorer.toml", BUNDLE, registry)
        yield Rejected(stream, config, _wider(folder), sources, kinds, reasons)


def source_of(letter: Raw) -> Place:
    """The event that a dead letter is about."""
    notes = dict(letter.headers)
    partition, offset = (notes[f"__connect.errors.{name}"] or b"" for name in ("partition", "offset"))
    return int(partition), int(offset)


def _schemas(registry: str, events: str, predictions: str) -> Schemas:
    schema = shipped_schema("events.new-lead")
    grown = nullable(schema, "age")
    later = {**grown, "fields": [*grown["fields"], {"name": "referrer", "type": "string", "default": ""}]}
    wanted = {
        "predictions": (predictions, shipped_schema("predictions.lead-score")),
        "events": (events, schema),
        "nullable": (events, grown),
        "later": (events, later),
        "foreign": (f"{events}.foreign", shipped_schema("events.login")),
        "recursive": (f"{events}.recursive", RECURSIVE),
        "deployments": (DEPLOYMENTS, shipped_schema(DEPLOYMENTS)),
    }
    return {name: (register(registry, topic, raw), raw, f"{topic}-value") for name, (topic, raw) in wanted.items()}


def _writers(schemas: Schemas) -> Writers:
    own, grown, foreign = (encoder(*schemas[name][:2]) for name in ("events", "nullable", "foreign"))
    (stranger,) = sampled("login", 1)
    return Writers(own, lambda event: grown({**event, "age": None}), foreign(stranger), schemas["recursive"][0])


def _values(by: Writers, later: Any) -> tuple[list[bytes | None], dict[str, str]]:
    """The stream's values, and for each key that they are sent with what kind of record it is."""
    events = iter(sampled("lead", 2_000))
    wanted: list[tuple[bytes | None, str]] = [(by.encode(event), "") for event in itertools.islice(events, GOOD)]
    for name, (make, _) in kinds_of("lead").items():
        wanted += [(make(event, by), name) for event in itertools.islice(events, PER_KIND)]
    wanted += [(later({**event, "referrer": "a friend"}), "later") for event in itertools.islice(events, LATER)]
    wanted += [(by.encode({**event, "age": 140}), "old") for event in itertools.islice(events, OLD)]
    mixed = wanted[::2] + wanted[1::2]
    return [value for value, _ in mixed], {f"key-{number}": name for number, (_, name) in enumerate(mixed)}


def _without(schemas: Schemas, missing: str, folder: Path) -> Path:
    """A folder that stands in for a registry which does not know one of the schemas yet."""
    folder.mkdir()
    index, seen = [], Counter[str]()
    for name, (schema_id, raw, subject) in schemas.items():
        (folder / f"{name}.avsc").write_text(json.dumps(raw))
        seen[subject] += 1
        entry = {"id": schema_id, "subject": subject, "version": seen[subject], "file": f"{name}.avsc"}
        index += [{**entry, "compatibility": "NONE"}] if name != missing else []
    (folder / "registry.json").write_text(json.dumps(index))
    return folder


def _wider(folder: Path) -> Path:
    """The lead bundle's second version, which takes ages up to 150."""
    bundle = folder / "lead-2"
    shutil.copytree(BUNDLE, bundle)
    contract = (bundle / "model.toml").read_text()
    for old, new in (('version = "1"', 'version = "2"'), ("range = [0, 130]", "range = [0, 150]")):
        assert contract.count(old) == 1
        contract = contract.replace(old, new)
    (bundle / "model.toml").write_text(contract)
    return bundle
