"""The settings: their names, types, defaults and limits, frozen once they are read.

Guarantee: a Settings object has passed every check that needs no neighbour. It holds no readable secret: what may
not be printed is a Secret, and `kafka_for` is the one place that turns Kafka's into plain text.
docs/configuration.md describes each setting; a test compares it with these models.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from scorer.cli.conflicts import conflict, refuse_conflicts
from scorer.cli.librdkafka import PROPERTIES, Client
from scorer.cli.nearest import did_you_mean
from scorer.cli.secrets import Secret
from scorer.core.errors import ConfigError
from scorer.edges.kafka.credentials import reread
from scorer.edges.locations import Location

if TYPE_CHECKING:
    from scorer.core.floods import FloodLimit
    from scorer.core.ports import BatchLimits

FOLDER_SCHEME = "folder:"
URL_OR_FOLDER = "http:, https: or folder:PATH"
KafkaValue = str | int | float | bool | Secret
Topic = Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]+$", max_length=249)]


def _is_registry(address: str) -> bool:
    """Whether this is one registry's address over HTTP."""
    try:
        parts = urlsplit(address.strip())
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        return False
    return named and parts.scheme in ("http", "https") and not any(mark in address.strip() for mark in "?# ")


class Table(BaseModel):
    """How every table is checked: no unknown key, no conversion between types, no change afterwards."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        validate_by_name=True,
        validate_by_alias=True,
        hide_input_in_errors=True,
    )


class Kafka(Table):
    """librdkafka's own properties: for all clients, and what one kind of client has otherwise."""

    shared: Mapping[str, KafkaValue] = {"bootstrap.servers": "127.0.0.1:9092"}
    consumer: Mapping[str, KafkaValue] = {}
    producer: Mapping[str, KafkaValue] = {}


class Registry(Table):
    """Where schemas come from."""

    url: Annotated[str, URL_OR_FOLDER] = "http://127.0.0.1:8081"
    timeout_ms_max: Annotated[int, Field(ge=1, le=60_000)] = 3000
    grace_ms_max: Annotated[int, Field(ge=0, le=3_600_000)] = 10_000
    cache: Path = Path("~/.cache/scorer/schemas")
    username: Annotated[str, Field(min_length=1)] | None = None
    password: Secret | None = None
    ca: Path | None = None

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, url: str) -> str:
        if url.startswith(FOLDER_SCHEME) and url != FOLDER_SCHEME:
            return url
        if not all(map(_is_registry, url.split(","))):
            raise ValueError("should be http://HOST:PORT, https://HOST:PORT or folder:PATH, without a query")
        return url

    @property
    def folder(self) -> Path | None:
        """The folder that stands in for a registry, or None where there is a real one."""
        return Path(self.url.removeprefix(FOLDER_SCHEME)) if self.url.startswith(FOLDER_SCHEME) else None


class Batch(Table):
    """When a micro-batch is closed."""

    rows_max: Annotated[int, Field(ge=1, le=100_000)] = 4000
    wait_ms_max: Annotated[int, Field(ge=0, le=10_000)] = 5
    value_bytes_max: Annotated[int, Field(ge=1, le=1_000_000_000)] = 1 << 20

    @property
    def limits(self) -> BatchLimits:
        """The same, as the core takes it."""
        from scorer.core.ports import BatchLimits

        return BatchLimits(self.rows_max, self.wait_ms_max, self.value_bytes_max)


class Rejections(Table):
    """When rejections halt the stream."""

    ratio_max: Annotated[float, Field(gt=0, le=1)] = 0.5
    window_rows: Annotated[int, Field(ge=1, le=10_000_000)] = 1000
    run_rows_max: Annotated[int, Field(ge=1, le=10_000_000)] = 500

    @property
    def limit(self) -> FloodLimit:
        """The same, as the core takes it."""
        from scorer.core.floods import FloodLimit

        return FloodLimit(self.ratio_max, self.window_rows, self.run_rows_max)


class Commit(Table):
    """When offsets are committed."""

    every_ms: Annotated[int, Field(ge=1, le=60_000)] = 500


class Transaction(Table):
    """Transactions of streams that are delivered exactly once."""

    every_ms: Annotated[int, Field(ge=1, le=60_000)] = 100
    rows_max: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000
    timeout_ms: Annotated[int, Field(ge=1_000, le=900_000)] = 10_000
    slot: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]+$", max_length=100)] = "0"

    @model_validator(mode="after")
    def _ends_in_time(self) -> Self:
        if self.every_ms > self.timeout_ms / 3:
            text = (
                f"= {self.every_ms} is more than a third of transaction.timeout_ms: the broker would abort what is late"
            )
            raise conflict("transaction.every_ms", text)
        return self


class Deployments(Table):
    """Where it stands which bundle is live from which record on."""

    topic: Topic = "scorer.deployments"
    bundles: Location | None = None


class Checks(Table):
    """What the topics must hold for the guarantee to be true."""

    weak: Literal["warn", "refuse", "off"] = "warn"
    recovery_h: Annotated[int, Field(ge=0, le=87_600)] = 24


class Shutdown(Table):
    """How long draining may take."""

    grace_ms_max: Annotated[int, Field(ge=0, le=600_000)] = 20_000
    revoke_ms_max: Annotated[int, Field(ge=0, le=240_000)] = 10_000


class Metrics(Table):
    """Where /metrics and the health checks are served."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=-1, le=65_535)] = 9464


class Gateway(Table):
    """What `scorer gateway` serves, to whom, and how much of it."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8090
    store: Path = Path("~/.cache/scorer/gateway.sqlite3")
    tokens: Path | None = None
    hosts: str = ""
    origins: str = ""
    rate_per_s: Annotated[int, Field(ge=0, le=1_000_000)] = 500
    wait_ms_max: Annotated[int, Field(ge=0, le=60_000)] = 5000
    streams_max: Annotated[int, Field(ge=1, le=100_000)] = 2000
    stream_rows_max: Annotated[int, Field(ge=1, le=100_000)] = 500
    stream_ms_max: Annotated[int, Field(ge=10, le=86_400_000)] = 3_600_000
    beat_ms: Annotated[int, Field(ge=50, le=60_000)] = 15_000
    log_rows_max: Annotated[int, Field(ge=0, le=100_000_000)] = 100_000
    log_ms_max: Annotated[int, Field(ge=1000, le=2_592_000_000)] = 86_400_000
    cache_rows_max: Annotated[int, Field(ge=0, le=10_000_000)] = 20_000
    cache_bytes_max: Annotated[int, Field(ge=0, le=10_000_000_000)] = 64 << 20


class Log(Table):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


class Stream(Table):
    """One input topic with its output topic and its model. `from` is a word of Python's, hence `from_topic`."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9-]+$", max_length=100)]
    bundle: Location
    from_topic: Annotated[Topic, Field(validation_alias="from")]
    to_topic: Annotated[Topic, Field(validation_alias="to")]
    dead_letters: Annotated[
        Topic, Field(default_factory=lambda data: f"{data.get('from_topic', '')}.dead-letter", validate_default=True)
    ]
    delivery: Literal["at_least_once", "exactly_once"] = "at_least_once"
    start: Literal["earliest", "latest"] = "earliest"
    profile: Literal["paced", "eager"] = "paced"
    headers: Literal["none", "trace"] = "none"


class SqlSink(Table):
    """`scorer sink sql`: predictions in a database."""

    url: Annotated[str, Field(min_length=1)] = "sqlite:///scorer.db"
    username: Annotated[str, Field(min_length=1)] | None = None
    password: Secret | None = None
    rows_max: Annotated[int, Field(ge=1, le=1_000_000)] = 15_000
    wait_ms_max: Annotated[int, Field(ge=0, le=60_000)] = 500


class Sink(Table):
    """Readers of predictions that write them elsewhere. Their health ports are beside the workers' own."""

    port: Annotated[int, Field(ge=-1, le=65_535)] = 9484
    sql: SqlSink = SqlSink()


class Settings(Table):
    """Everything that can be set."""

    group: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]+$", max_length=200)] = "scorer"
    kafka: Kafka = Kafka()
    registry: Registry = Registry()
    batch: Batch = Batch()
    rejections: Rejections = Rejections()
    commit: Commit = Commit()
    transaction: Transaction = Transaction()
    deployments: Deployments = Deployments()
    checks: Checks = Checks()
    shutdown: Shutdown = Shutdown()
    metrics: Metrics = Metrics()
    gateway: Gateway = Gateway()
    log: Log = Log()
    sink: Sink = Sink()
    streams: tuple[Stream, ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        refuse_conflicts(self)
        return self

    def kafka_for(self, client: Literal["consumer", "producer", "admin"]) -> dict[str, Any]:
        """librdkafka's properties for one kind of client, secrets in plain text: never log it.

        Properties of [kafka] that are for the other kind of client only are left out.

        Raises:
            ConfigError: a secret cannot be read.
        """
        own = {"consumer": self.kafka.consumer, "producer": self.kafka.producer, "admin": {}}[client]
        understood = (Client.ANY, client)
        shared = {name: value for name, value in self.kafka.shared.items() if PROPERTIES[name].client in understood}
        return {name: _plain(value) for name, value in {**shared, **own}.items()}

    def stream(self, name: str) -> Stream:
        """The stream of that name.

        Raises:
            ConfigError: there is none; the message says which there are.
        """
        found = {stream.name: stream for stream in self.streams}
        if name in found:
            return found[name]
        there = f"there are {', '.join(found)}" if found else "no stream is configured"
        raise ConfigError(f"there is no stream {name}{did_you_mean(name, list(found)) or f'; {there}'}")


def _plain(value: KafkaValue) -> str | int | float | bool:
    if not isinstance(value, Secret):
        return value
    return reread(value.reveal) if value.path is not None else value.reveal()
