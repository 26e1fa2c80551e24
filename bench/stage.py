"""What one contender gets for one run: topics, group, settings and schemas of its own, on the broker of all."""

from __future__ import annotations

import json
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.plan import PARTITIONS
from scorer.edges.kafka.admin import KafkaAdmin, Topic
from scorer.local.events import DEPLOYMENTS, KEYS, OUTPUTS, TOPICS
from scorer.local.places import shipped
from scorer.local.ports import free_ports

BUNDLES = {"lead": "lead/1", "login": "recommend/1"}


@dataclass(frozen=True, slots=True)
class Stage:
    """The surrounding of one run.

    Attributes:
        bootstrap: the broker.
        kind: lead or login.
        source, target: topics of events and of predictions, new and empty.
        group: a consumer group that nobody has had.
        folder: for settings and logs.
        schemas: a folder as SchemaFolder reads it, with the two topics' subjects.
        bundle: the model.
        port: free, for whoever serves metrics.
        partitions: of each of the two topics.
    """

    bootstrap: str
    kind: str
    source: str
    target: str
    group: str
    folder: Path
    schemas: Path
    bundle: Path
    port: int
    partitions: int

    @property
    def letters(self) -> str:
        """The topic of dead letters."""
        return f"{self.source}.dead-letter"

    @property
    def key(self) -> str:
        """The event's field that is the record's key."""
        return KEYS[self.kind]

    def schema(self, topic: str) -> tuple[int, str]:
        """Id and text of the schema of a topic's values."""
        entry = next(each for each in _index(self.schemas) if each["subject"] == f"{topic}-value")
        return int(entry["id"]), (self.schemas / entry["file"]).read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a stage may differ from the others'.

    Attributes:
        partitions: of the topics.
        bundle: the model; the shipped one if None.
        events: text of the events' schema; the shipped one if empty.
    """

    partitions: int = PARTITIONS
    bundle: Path | None = None
    events: str = ""


@contextmanager
def new_stage(bootstrap: str, kind: str, work: Path, shape: Shape = Shape()) -> Iterator[Stage]:
    """Makes topics under new names and deletes them when the block is left."""
    mark = uuid.uuid4().hex[:8]
    source, target = f"{TOPICS[kind]}.{mark}", f"{OUTPUTS[kind]}.{mark}"
    admin = KafkaAdmin({"bootstrap.servers": bootstrap}, silent)
    names = [source, target, f"{source}.dead-letter"]
    with tempfile.TemporaryDirectory(dir=work) as name:
        folder = Path(name)
        schemas = _schemas(folder / "schemas", {TOPICS[kind]: source, OUTPUTS[kind]: target})
        if shape.events:
            entry = next(each for each in _index(schemas) if each["subject"] == f"{source}-value")
            (schemas / entry["file"]).write_text(shape.events, encoding="utf-8")
        bundle = shape.bundle or shipped("models") / BUNDLES[kind]
        (port,) = free_ports(1)
        admin.create([*(Topic(name, shape.partitions, 1) for name in names), Topic(DEPLOYMENTS, 1, 1)])
        try:
            yield Stage(
                bootstrap, kind, source, target, f"bench-{mark}", folder, schemas, bundle, port, shape.partitions
            )
        finally:
            admin.delete(names)


def silent(_: str, __: Mapping[str, Any]) -> None:
    """Client messages of the harness itself; the contenders have their logs."""


def _schemas(folder: Path, topics: Mapping[str, str]) -> Path:
    """Copies the shipped schemas under the subjects of this run's topics, with the same ids."""
    shutil.copytree(shipped("schemas"), folder)
    subjects = {f"{name}-value": f"{topic}-value" for name, topic in {**topics, DEPLOYMENTS: DEPLOYMENTS}.items()}
    kept = [
        {**entry, "subject": subjects[entry["subject"]]} for entry in _index(folder) if entry["subject"] in subjects
    ]
    (folder / "registry.json").write_text(json.dumps(kept), encoding="utf-8")
    return folder


def _index(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "registry.json").read_text(encoding="utf-8"))
    return found
