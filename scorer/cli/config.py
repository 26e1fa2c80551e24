"""`scorer config`: what is set, by whom, and whether it holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from scorer.cli.options import AsJson, ConfigFile, Sets, add_command, load
from scorer.core.errors import ConfigError

if TYPE_CHECKING:
    from scorer.cli.layers import Loaded
    from scorer.cli.settings import Kafka

app = typer.Typer(help="Show and check the settings.", no_args_is_help=True, rich_markup_mode=None)

MADE = frozenset({"registry.cache", "gateway.store"})
"""Paths that are made where they are not there."""


def show(config: ConfigFile = None, sets: Sets = None, as_json: AsJson = False) -> None:
    """Print every setting that counts, with where it came from. Secrets are printed as ***."""
    loaded = load(config, sets)
    rows = {key: _shown(value) for key, value in _effective(loaded).items()}
    if as_json:
        document = {key: {"value": value, "origin": loaded.origins[key]} for key, value in rows.items()}
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    lines = {key: f"{key} = {_toml(value)}" for key, value in rows.items()}
    width = min(max(map(len, lines.values())), 70)
    for key, line in lines.items():
        typer.echo(f"{line:<{width}}  # {loaded.origins[key]}")


def check(config: ConfigFile = None, sets: Sets = None) -> None:
    """Check the settings, the secrets and the paths in them, without asking any neighbour. Exit code 3 if not ok."""
    loaded = load(config, sets)
    if loaded.file is None and not loaded.settings.streams:
        raise ConfigError("there is no scorer.toml in this folder and no stream is set: give --config PATH")
    if problems := list(_problems(loaded)):
        raise ConfigError("\n".join(problems))
    typer.echo("ok")


add_command(app, show, "scorer config show", "scorer config show --json", "scorer config show --set batch.rows_max=500")
add_command(app, check, "scorer config check", "scorer config check --config deploy/scorer.toml")


def _effective(loaded: Loaded) -> dict[str, object]:
    from scorer.cli.keys import effective

    return effective(loaded.settings)


def _shown(value: object) -> str | int | float | bool | None:
    """A value as it may be printed; a Secret's text is ***."""
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _toml(value: str | int | float | bool | None) -> str:
    return "(unset)" if value is None else json.dumps(value, ensure_ascii=False)


def _problems(loaded: Loaded) -> Iterator[str]:
    from scorer.cli.secrets import Secret
    from scorer.edges.kafka.messages import refusal

    for key, value in _effective(loaded).items():
        try:
            plain = value.reveal() if isinstance(value, Secret) else value
        except ConfigError as error:
            yield str(error)
            continue
        path = _path(key, plain)
        if path is not None and not path.exists():
            yield f"{loaded.origins[key]}: {key} = {value if isinstance(value, Secret) else path} does not exist"
    for key, name, value in _typed(loaded.settings.kafka):
        if why := refusal(name, value):
            yield f"{loaded.origins[key]}: {key} = {_toml(value)}: {why}"


def _path(key: str, value: object) -> Path | None:
    """What has to be there already if a setting is to hold; None where nothing has to."""
    from scorer.cli.librdkafka import NO_PATHS, holds_path
    from scorer.cli.settings import FOLDER_SCHEME

    if key in MADE:
        return None
    if isinstance(value, str) and key.startswith("kafka."):
        return Path(value) if value and holds_path(key) and value not in NO_PATHS else None
    if isinstance(value, str) and value.startswith(FOLDER_SCHEME):
        return Path(value.removeprefix(FOLDER_SCHEME))
    return value if isinstance(value, Path) else None


def _typed(kafka: Kafka) -> Iterator[tuple[str, str, Any]]:
    """Kafka's properties that are no free text, and so no secrets: key, name and value."""
    from scorer.cli.keys import KAFKA_CLIENTS, kafka_key
    from scorer.cli.librdkafka import PROPERTIES

    for client in (None, *KAFKA_CLIENTS):
        for name, value in getattr(kafka, client or "shared").items():
            if not PROPERTIES[name].text:
                yield kafka_key(name, client), name, value
