"""What a scene is set with: schemas in its registry, and the workers' settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.harness.events import encoder, sampled
from tests.harness.poison import RECURSIVE, VALUE_BYTES_MAX, Writers, nullable
from tests.harness.registry_switches import RegistrySwitches
from tests.harness.topics import Topics, register, shipped_schema

EXACTLY, AT_LEAST = "exactly_once", "at_least_once"
SESSION_MS, POLL_MS_MAX, TIMEOUT_MS = 6_000, 15_000, 10_000
LINGER_MS = 300
"""Of predictions delivered at least once: so that some are always on their way when a process is killed."""


def tables_of(name: str, delivery: str, tables: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """A worker's tables of scorer.toml."""
    mine: dict[str, dict[str, Any]] = {
        "kafka_consumer": {"session.timeout.ms": SESSION_MS, "max.poll.interval.ms": POLL_MS_MAX},
        "kafka_producer": {"client.id": name, **({"linger.ms": LINGER_MS} if delivery == AT_LEAST else {})},
        "registry_more": {"grace_ms_max": 1_000, "timeout_ms_max": 1_000},
        "batch": {"value_bytes_max": VALUE_BYTES_MAX},
        "transaction": {"timeout_ms": TIMEOUT_MS, "slot": name[0]},
    }
    for table, values in tables.items():
        merged = {**mine.get(table, {}), **values}
        mine[table] = {setting: value for setting, value in merged.items() if value is not None}
    return mine


def registered_schemas(registry: RegistrySwitches, topics: Topics) -> tuple[Writers, dict[int, Any]]:
    """Registers all schemas of a scene. Returns how values are written, and the schemas that are read by their ids."""
    shipped, predictions = shipped_schema("events.new-lead"), shipped_schema("predictions.lead-score")
    later, login = nullable(shipped, "age"), shipped_schema("events.login")
    wanted = [(topics.predictions, predictions), (topics.events, shipped), (topics.events, later)]
    wanted += [(f"{topics.events}.foreign", login), (f"{topics.events}.recursive", RECURSIVE)]
    ids = [register(registry.direct, topic, schema) for topic, schema in wanted]
    grown = encoder(ids[2], later)
    (stranger,) = sampled("login", 1)
    writers = Writers(
        encoder(ids[1], shipped),
        lambda event: grown({**event, "age": None}),
        encoder(ids[3], login)(stranger),
        ids[4],
    )
    return writers, {schema_id: schema for schema_id, (_, schema) in zip(ids[:3], wanted, strict=False)}
