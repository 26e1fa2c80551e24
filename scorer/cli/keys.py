"""Which settings there are, by the names that people write: `batch.rows_max`, `kafka.linger.ms`, `streams.lead.from`.

Derived from the models in settings.py and the names in librdkafka.py, so that nothing is listed twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from scorer.cli.librdkafka import ALIASES, PROPERTIES, RESERVED, Client
from scorer.cli.secrets import Secret
from scorer.cli.settings import URL_OR_FOLDER, Kafka, Settings, Stream, Table

PREFIX = "SCORER_"
STREAM_KEYS = tuple(
    str(field.validation_alias or name) for name, field in Stream.model_fields.items() if name != "name"
)
KAFKA_CLIENTS = tuple(Client(name) for name in Kafka.model_fields if name != "shared")


class Kind(Enum):
    """How a value is read."""

    TEXT = auto()
    SCALAR = auto()
    PATH = auto()
    LOCATION = auto()
    URL = auto()
    SECRET = auto()
    KAFKA = auto()


_KINDS: dict[Any, Kind] = {Path: Kind.PATH, Secret: Kind.SECRET, int: Kind.SCALAR, float: Kind.SCALAR}


@dataclass(frozen=True, slots=True)
class Target:
    """One setting.

    Attributes:
        key: its name with dots, the one spelling that messages and `config show` use.
        path: where it is in the models.
        kind: how its value is read.
        refusal: why it cannot be set, or "".
    """

    key: str
    path: tuple[str, ...]
    kind: Kind
    refusal: str = ""


def targets(streams: Iterable[str]) -> dict[str, Target]:
    """Every key that may be written, for these streams; second names of a property lead to the same target."""
    found: dict[str, Target] = {}
    for name, field in Settings.model_fields.items():
        if name not in ("kafka", "streams"):
            found |= {
                ".".join(path): Target(".".join(path), path, kind_of(inner)) for path, inner in _leaves(name, field)
            }
    for name in PROPERTIES:
        for client in (None, *KAFKA_CLIENTS):
            found[kafka_key(name, client)] = _kafka_target(name, client)
    for stream in streams:
        for field_name, field in Stream.model_fields.items():
            if field_name != "name":
                path = ("streams", stream, str(field.validation_alias or field_name))
                found[".".join(path)] = Target(".".join(path), path, kind_of(field))
    return found


def tables() -> frozenset[str]:
    """The names of tables, which are no settings themselves."""
    own = {name for name, field in Settings.model_fields.items() if _table(field)}
    inner = {".".join(path[:-1]) for name in own for path, _ in _leaves(name, Settings.model_fields[name])}
    return frozenset(own | inner | {f"kafka.{client}" for client in KAFKA_CLIENTS})


def kafka_key(name: str, client: Client | None) -> str:
    """The key of a property, for all clients (None) or for one kind."""
    return f"kafka.{client}.{name}" if client else f"kafka.{name}"


def variable(key: str) -> str:
    """The environment variable of a key: `__` between tables, `_` for what stands within a name."""
    head, _, rest = key.partition(".")
    if head == "kafka":
        client = next((client for client in KAFKA_CLIENTS if rest.startswith(f"{client}.")), None)
        parts = [head, client, rest.removeprefix(f"{client}.")] if client else [head, rest]
    else:
        parts = key.split(".")
    return PREFIX + "__".join(part.replace(".", "_").replace("-", "_").upper() for part in parts if part)


def effective(settings: Settings) -> dict[str, object]:
    """Every key with the value that counts, in the models' order."""
    values: dict[str, object] = {}
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if isinstance(value, Kafka):
            for client in (None, *KAFKA_CLIENTS):
                properties = getattr(value, client or "shared")
                values |= {kafka_key(key, client): properties[key] for key in sorted(properties)}
        elif isinstance(value, BaseModel):
            values |= {
                ".".join(path): _reached(value, path[1:]) for path, _ in _leaves(name, Settings.model_fields[name])
            }
        elif name == "streams":
            for stream in settings.streams:
                values |= {f"streams.{stream.name}.{key}": inner for key, inner in _stream_values(stream).items()}
        else:
            values[name] = value
    return values


def kind_of(field: FieldInfo) -> Kind:
    """How a field's value is read, by its type."""
    if URL_OR_FOLDER in field.metadata:
        return Kind.URL
    if {Path, str} <= set(get_args(field.annotation)):
        return Kind.LOCATION
    for kind in (field.annotation, *get_args(field.annotation)):
        if kind in _KINDS:
            return _KINDS[kind]
    return Kind.TEXT


def _stream_values(stream: Stream) -> dict[str, object]:
    fields = Stream.model_fields.items()
    return {str(field.validation_alias or name): getattr(stream, name) for name, field in fields if name != "name"}


def _leaves(name: str, field: FieldInfo) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    """The settings in a field, with their paths: itself, or those of the tables within."""
    table = _table(field)
    if table is None:
        yield (name,), field
        return
    for key, inner in table.model_fields.items():
        yield from (((name, *path), leaf) for path, leaf in _leaves(key, inner))


def _reached(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        value = getattr(value, name)
    return value


def _table(field: FieldInfo) -> type[Table] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Table) else None


def _kafka_target(name: str, client: Client | None) -> Target:
    name = ALIASES.get(name, name)
    owner = PROPERTIES[name].client
    refusal = ""
    if name in RESERVED:
        refusal = f"is not yours to set, since {RESERVED[name]}"
    elif client and owner not in (Client.ANY, client):
        refusal = f"is for a {owner} only: set it in [kafka.{owner}]"
    return Target(kafka_key(name, client), ("kafka", client or "shared", name), Kind.KAFKA, refusal)
