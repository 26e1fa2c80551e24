"""One value, from what somebody wrote to what the models take: text to TOML scalars, paths, secrets."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any

from scorer.cli.keys import Kind, Target, variable
from scorer.cli.librdkafka import NO_PATHS, PROPERTIES, SAFE_TEXT, SECRETS, holds_path
from scorer.cli.secrets import Secret, has_credentials
from scorer.cli.settings import FOLDER_SCHEME
from scorer.edges.home import expanded
from scorer.edges.locations import as_location


class Layer(Enum):
    """Who set a value."""

    FILE = auto()
    ENVIRONMENT = auto()
    FLAG = auto()


@dataclass(frozen=True, slots=True)
class Raw:
    """A value as it was written.

    Attributes:
        key: the setting's name with dots.
        value: what tomllib gave, or text.
        origin: `scorer.toml:12`, a variable's name or `--set`.
        layer: who set it.
        folder: what relative paths are relative to; absolute.
    """

    key: str
    value: Any
    origin: str
    layer: Layer
    folder: Path

    @property
    def place(self) -> str:
        """The beginning of a message about this value."""
        return {
            Layer.FILE: f"{self.origin}: {self.key}",
            Layer.ENVIRONMENT: self.origin,
            Layer.FLAG: f"{self.origin} {self.key}",
        }[self.layer]


def takes_secret(target: Target) -> bool:
    """Whether a setting's value may be read from a file or a variable that somebody names."""
    return target.kind is Kind.SECRET or (target.kind is Kind.KAFKA and PROPERTIES[target.path[-1]].text)


def value_of(raw: Raw, target: Target, environ: Mapping[str, str]) -> Any:
    """The value as the models take it.

    Raises:
        ValueError: it cannot be; the message goes on from `raw.place`, and repeats no secret.
    """
    if target.refusal:
        raise ValueError(target.refusal)
    value = raw.value if raw.layer is Layer.FILE or not isinstance(raw.value, str) else _parsed(raw, target)
    if isinstance(value, dict):
        return _reference(raw, value, target, environ)
    if target.kind is Kind.SECRET or (target.kind is Kind.KAFKA and target.path[-1] in SECRETS):
        return _secret(raw, value, target)
    if isinstance(value, str):
        _refuse_credentials(value, target)
    if target.kind is Kind.KAFKA:
        return _kafka(raw, value, target, environ)
    if target.kind is Kind.PATH and isinstance(value, str) and value:
        return _placed(raw, value, environ)
    if target.kind is Kind.LOCATION and isinstance(value, str) and value:
        found = as_location(value)
        return found if isinstance(found, str) else _placed(raw, str(found), environ)
    if target.kind is Kind.URL and isinstance(value, str) and value.startswith(FOLDER_SCHEME):
        return f"{FOLDER_SCHEME}{_placed(raw, value.removeprefix(FOLDER_SCHEME), environ)}"
    return value


def _parsed(raw: Raw, target: Target) -> Any:
    """Text of the environment and of flags, as a TOML scalar where the setting is not text."""
    if target.kind is Kind.SCALAR:
        value = _toml(raw.value)
        if value is None:
            raise ValueError(f'= "{raw.value}" should be a number')
        return value
    if takes_secret(target):
        as_table = _toml(raw.value) if raw.layer is Layer.FLAG and raw.value.startswith("{") else None
        return as_table if isinstance(as_table, dict) else raw.value
    if target.kind is Kind.KAFKA:
        value = _toml(raw.value)
        return value if isinstance(value, int | float) else raw.value
    return raw.value


def _toml(text: str) -> Any:
    try:
        document = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return None
    return document["value"] if document.keys() == {"value"} else None


def _reference(raw: Raw, value: dict[str, Any], target: Target, environ: Mapping[str, str]) -> Secret:
    if not takes_secret(target):
        raise ValueError("is neither a secret nor free text of Kafka's, so it is written as it is")
    if len(value) != 1 or not value.keys() <= {"file", "env"} or not all(isinstance(at, str) for at in value.values()):
        raise ValueError('should be { file = "PATH" } or { env = "NAME" }')
    if "file" in value:
        path = _placed(raw, value["file"], environ)
        return Secret(target.key, f"file {path}", path=path)
    name = value["env"]
    return Secret(target.key, f"variable {name}", value=environ.get(name) or None)


def _secret(raw: Raw, value: Any, target: Target) -> Secret:
    if raw.layer is not Layer.ENVIRONMENT:
        name = variable(target.key)
        where = f'write {{ file = "PATH" }} or {{ env = "NAME" }}, or set {name} or {name}_FILE'
        raise ValueError(f"is a secret and does not belong here: {where}")
    return Secret(target.key, value=str(value))


def _kafka(raw: Raw, value: Any, target: Target, environ: Mapping[str, str]) -> str | int | float | bool | Secret:
    if not isinstance(value, str | int | float):
        raise ValueError("should be text, a number or a boolean")  # noqa: TRY004 - all of these become one ConfigError
    name = target.path[-1]
    plain: str | int | float | bool = value
    if isinstance(value, str) and value and holds_path(name) and value not in NO_PATHS:
        plain = str(_placed(raw, value, environ))
    hidden = PROPERTIES[name].text and name not in SAFE_TEXT
    return Secret(target.key, value=str(plain)) if hidden else plain


def _refuse_credentials(value: str, target: Target) -> None:
    if has_credentials(value) or (target.path[-1] == "bootstrap.servers" and "@" in value):
        place = ".".join(target.path[:-1])
        by = {
            Kind.KAFKA: "set sasl.username and sasl.password",
            Kind.LOCATION: "leave them to the environment or to the store's own profile (docs/deployments.md)",
        }.get(target.kind, f"set {place}.username and {place}.password")
        raise ValueError(f"holds a user or password, which would be printed: {by} instead")


def _placed(raw: Raw, path: str, environ: Mapping[str, str]) -> Path:
    if path == "~" or path.startswith("~/"):
        home = environ.get("HOME")
        return Path(home) / path[2:] if home else expanded(Path(path))
    return raw.folder / path
