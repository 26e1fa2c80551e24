"""One stream of leads with topics, schemas and a group of its own: what most tests of a worker's life begin with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness.events import SEED, encoder, sampled
from tests.harness.topics import (
    PARTITIONS,
    Raw,
    Topics,
    committed,
    fresh_group,
    read_raw,
    register,
    send,
    shipped_schema,
    stream_topics,
)
from tests.harness.workers import stream, write_settings
from tests.oracle import python_reader
from tests.oracle.record import Record

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LeadStream:
    """Its surroundings. `encode` writes an event as the shipped schema says."""

    kafka: str
    registry: str
    folder: Path
    topics: Topics
    group: str
    encode: Callable[[Event], bytes]

    def settings(self, more: Mapping[str, Any] | None = None, **tables: Any) -> Path:
        """Writes a scorer.toml that serves it: `more` goes into [[streams]], `tables` are others."""
        streams = [stream("lead", "lead/1", self.topics, **(more or {}))]
        tables.setdefault("registry_url", self.registry)
        url = tables.pop("registry_url")
        return write_settings(self.folder, kafka=self.kafka, registry=url, group=self.group, streams=streams, **tables)

    def send(self, count: int, seed: int = SEED) -> int:
        """Sends so many sampled leads; another seed gives others."""
        return self.send_values(self.encode(event) for event in sampled("lead", count, seed))

    def send_values(self, values: Iterable[bytes | None], **more: Any) -> int:
        """Sends values, with keys that spread them over the partitions."""
        numbered = ({"key": f"key-{number}", "value": value, **more} for number, value in enumerate(values))
        return send(self.kafka, self.topics.events, numbered)

    def sources(self, at_least: int = 0) -> list[Raw]:
        """The events as Kafka holds them."""
        return read_raw(self.kafka, self.topics.events, at_least)

    def letters(self, at_least: int = 0) -> list[Raw]:
        """The dead letters."""
        return read_raw(self.kafka, self.topics.letters, at_least)

    def predictions(self, at_least: int = 0) -> list[Record]:
        """The predictions, once so many are there."""
        topic = self.topics.predictions
        return python_reader.read_all(self.kafka, topic, self.registry, at_least=at_least, wait_s_max=60.0)

    def committed(self) -> dict[int, int]:
        """Partition to the group's next offset."""
        return committed(self.kafka, f"{self.group}.lead", self.topics.events)

    def ends(self, sources: Iterable[Raw] | None = None) -> dict[int, int]:
        """Partition to the offset behind its last event; every partition has to have any."""
        found: dict[int, int] = {}
        for source in self.sources() if sources is None else sources:
            found[source.partition] = max(found.get(source.partition, 0), source.offset + 1)
        assert len(found) == PARTITIONS, "not every partition has events"
        return found


@contextmanager
def lead_stream(
    kafka: str, registry: str, folder: Path, *, delete: bool = True, **settings: str
) -> Iterator[LeadStream]:
    """Makes the stream's topics and schemas. `delete` and `settings` are those of `stream_topics`."""
    with stream_topics(kafka, delete=delete, **settings) as topics:
        schema = shipped_schema("events.new-lead")
        register(registry, topics.predictions, shipped_schema("predictions.lead-score"))
        encode = encoder(register(registry, topics.events, schema), schema)
        yield LeadStream(kafka, registry, folder, topics, fresh_group(), encode)
