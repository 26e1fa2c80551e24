"""`scorer setup`: what the streams need of their neighbours, topics and schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scorer.cli.options import AsJson, ConfigFile, Sets, load
from scorer.core.errors import ConfigError, TransientError

if TYPE_CHECKING:
    from scorer.cli.settings import Settings, Stream
    from scorer.core.contract import Contract
    from scorer.edges.kafka.admin import KafkaAdmin
    from scorer.edges.locations import Location

DEPLOYMENTS = "scorer.deployments"
DEAD_LETTER_ROOM_BYTES = 64 * 1024
"""A dead letter is its record with more headers, so its topic takes that much more."""


def setup(
    config: ConfigFile = None,
    sets: Sets = None,
    schemas: Annotated[
        Path | None, typer.Option(help="Folder with a TOPIC.avsc per topic; the shipped ones by default.")
    ] = None,
    partitions: Annotated[
        int, typer.Option(min=1, max=10_000, help="Of each topic that is made; deployments' has 1.")
    ] = 4,
    replication: Annotated[int, typer.Option(min=-1, max=10, help="Copies; -1 is the broker's default.")] = -1,
    attempts: Annotated[int, typer.Option(min=1, help="How often to ask a neighbour that does not answer.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Create the topics and register the schemas of every stream. Safe to run again: what is there stays.

    An event's schema is registered as BACKWARD, a prediction's as FULL_TRANSITIVE: readers of any age can read it.
    """
    from threading import Event

    from scorer.cli.wiring import open_registry
    from scorer.edges.kafka.admin import KafkaAdmin
    from scorer.edges.logs import configure, reporter
    from scorer.services.patience import wait_out

    settings = load(config, sets).settings
    if not settings.streams:
        raise ConfigError("no stream is configured: add [[streams]] to scorer.toml, or give --config PATH")
    configure(settings.log.level, settings.log.format)
    report, never = reporter(), Event()
    entries = list(_entries(settings, schemas))  # what is wrong with files comes out before anything is made
    admin = KafkaAdmin(settings.kafka_for("admin"), report)
    registry = open_registry(settings, report)
    made: list[str] = []
    wait_out(lambda: _make_topics(settings, admin, partitions, replication, made), never, report, attempts)
    registered: dict[str, int] = {}
    for entry in entries:
        register = partial(registry.register, *entry)
        registered[entry[0]] = wait_out(register, never, report, attempts)
    if as_json:
        typer.echo(json.dumps({"topics_created": made, "schemas": registered}))
        return
    for topic in made:
        count = 1 if topic == settings.deployments.topic else partitions
        typer.echo(f"topic   {topic} created with {count} partition{'s'[: count != 1]}")
    if not made:
        typer.echo("topic   all are there")
    for subject, schema_id in registered.items():
        typer.echo(f"schema  {subject} has id {schema_id}")


def _make_topics(settings: Settings, admin: KafkaAdmin, partitions: int, replication: int, made: list[str]) -> None:
    """Makes what is not there. Adds to `made` what it made, also where it fails later and is tried again."""
    from scorer.core.topics import letters_kept
    from scorer.edges.kafka.admin import Topic

    there = admin.topics()
    wanted = dict.fromkeys(name for stream in settings.streams for name in (stream.from_topic, stream.to_topic))
    safe = {"min.insync.replicas": "2"} if replication >= 3 else {}
    made += admin.create([Topic(name, partitions, replication, safe) for name in wanted if name not in there])
    if settings.deployments.topic not in there:
        for_ever = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1", **safe}
        made += admin.create([Topic(settings.deployments.topic, 1, replication, for_ever)])
    letters: dict[str, Topic] = {}
    for stream in settings.streams:
        if stream.dead_letters not in there:
            try:
                _, source = admin.topic(stream.from_topic)
            except ConfigError as error:  # another broker than the one that made it has not heard of it yet
                raise TransientError(f"topic {stream.from_topic} is not there yet") from error
            room = int(source["max.message.bytes"]) + DEAD_LETTER_ROOM_BYTES
            own = {"max.message.bytes": str(room), **letters_kept(source)}
            if (other := letters.get(stream.dead_letters)) is not None:  # streams may share one: it fits them all
                own = {**other.settings, **own, **_larger(other.settings, own)}
            letters[stream.dead_letters] = Topic(stream.dead_letters, partitions, replication, {**own, **safe})
    made += admin.create(list(letters.values()))


def _larger(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, str]:
    """Of each number that both have, the larger one."""
    return {name: str(max(int(first[name]), int(second[name]))) for name in first.keys() & second.keys()}


def _contract(bundle: Location) -> Contract:
    """Of a folder model.toml alone is read: the rest may come later."""
    from scorer.core.contract import parse_contract
    from scorer.edges.bundles import read_bundle
    from scorer.edges.files import read_text

    if isinstance(bundle, Path):
        return parse_contract(read_text(bundle / "model.toml"))
    return read_bundle(bundle).contract


def _entries(settings: Settings, folder: Path | None) -> Iterator[tuple[str, str, str]]:
    """Subject, schema and compatibility of every topic, each subject once."""
    from scorer.cli.wiring import subject
    from scorer.local.places import shipped

    place = folder or shipped("schemas")
    seen: set[str] = set()

    def entry(stream: Stream) -> Iterator[tuple[str, str, str]]:
        contract = _contract(stream.bundle)
        yield stream.from_topic, stream.from_topic, "BACKWARD"
        yield stream.to_topic, contract.prediction, "FULL_TRANSITIVE"

    deployments = settings.deployments.topic
    yield subject(deployments), _schema_text(shipped("schemas"), DEPLOYMENTS, deployments), "FULL_TRANSITIVE"
    for stream in settings.streams:
        for topic, name, compatibility in entry(stream):
            if topic not in seen:
                seen.add(topic)
                yield subject(topic), _schema_text(place, name, topic), compatibility


def _schema_text(folder: Path, name: str, topic: str) -> str:
    from scorer.edges.files import read_schema, read_text

    path = folder / f"{name}.avsc"
    if not path.is_file():
        there = ", ".join(sorted(each.name for each in folder.glob("*.avsc"))) or "nothing"
        raise ConfigError(f"no schema for topic {topic}: {path} is missing (there: {there}); give --schemas FOLDER")
    read_schema(path, 0)
    return read_text(path)
