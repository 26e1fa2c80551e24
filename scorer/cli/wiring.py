"""From settings to what several commands need: the registry, proved bundles, recipes."""

from __future__ import annotations

from typing import Any

from scorer.cli.settings import Settings, Stream
from scorer.core.bundle import Bundle
from scorer.core.compose import Origin
from scorer.core.errors import ConfigError, ContractError
from scorer.core.model import RUNTIME, Model, load_model
from scorer.core.ports import Report, SubjectRegistry
from scorer.core.proof import event_problems, prediction_problems, signature_problems
from scorer.core.rehearsal import golden_problems, invariance_problems
from scorer.core.schema import WriterSchema, writer_schema
from scorer.core.scoring import Recipe
from scorer.edges.bundles import card_front_matter
from scorer.edges.machine import cpu_class, scorer_version

LIVE = "live"
CLOSE_MS_MAX = 1_000


def open_registry(settings: Settings, report: Report) -> Any:
    """The registry that the settings name: over HTTP with a disk cache, or a folder. Implements both registry ports."""
    if settings.registry.folder is not None:
        from scorer.edges.schema_folder import SchemaFolder

        return SchemaFolder(settings.registry.folder)
    from scorer.edges.registry import HttpRegistry, RegistryAccess
    from scorer.edges.schema_cache import CachedRegistry

    chosen = settings.registry
    access = RegistryAccess(
        chosen.url,
        user=chosen.username or "",
        password=chosen.password.reveal if chosen.password else "",
        ca_file=str(chosen.ca or ""),
        timeout_ms=chosen.timeout_ms_max,
    )
    return CachedRegistry(HttpRegistry(access), chosen.url, chosen.cache.expanduser(), report)


def subject(topic: str) -> str:
    """The subject of a topic's values, by topic name."""
    return f"{topic}-value"


def prove(bundle: Bundle, events: list[tuple[str, WriterSchema]], writer: WriterSchema, rows_max: int) -> Model:
    """Loads a bundle and proves it against its schemas, its golden rows and its own batch-mates.

    Args:
        bundle: what is to serve.
        events: every version of the event's schema as (label, schema), oldest first.
        writer: the prediction's schema.
        rows_max: the largest batch that it will see.

    Raises:
        ContractError: with every problem found.
    """
    model = load_model(bundle)
    problems = signature_problems(model.interface)
    if not problems:
        problems = event_problems(model.interface, events) + prediction_problems(model.interface, writer)
    if not problems:
        card = card_front_matter(bundle.card)
        exact = card.get("runtime") == RUNTIME and card.get("cpu_class") == cpu_class()
        latest = events[-1][1]
        problems = golden_problems(model, latest, exact) + invariance_problems(model, latest, rows_max)
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise ContractError(f"bundle {bundle.place} cannot serve:{listed}")
    return model


def versions(registry: SubjectRegistry, topic: str) -> list[tuple[str, WriterSchema]]:
    """Every admitted version of a topic's schema, oldest first.

    Raises:
        ConfigError: none is registered.
        ContractError: one of them is not admitted.
    """
    found = registry.versions(subject(topic))
    if not found:
        raise ConfigError(f"no schema is registered for {subject(topic)}; run: scorer setup")
    return [
        (f"{subject(topic)} version {number} (id {schema_id})", writer_schema(schema_id, text))
        for number, (schema_id, text) in enumerate(found, 1)
    ]


def origin(lane: str = LIVE) -> Origin:
    """Who scores: this build on this machine."""
    return Origin(lane, scorer_version(), RUNTIME, cpu_class())


def recipe_of(settings: Settings, stream: Stream, registry: SubjectRegistry, bundle: Bundle) -> Recipe:
    """What a stream scores with, proved.

    Raises:
        ConfigError, ContractError: see `versions` and `prove`.
        TransientError: the registry does not answer.
    """
    events = versions(registry, stream.from_topic)
    _, writer = versions(registry, stream.to_topic)[-1]
    model = prove(bundle, events, writer, settings.batch.rows_max)
    return Recipe(model, writer, stream.to_topic, origin(), trace=stream.headers == "trace")
