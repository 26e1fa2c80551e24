"""`scorer send`: events to a stream's input topic, from one's own file, a real one or the fitted profile."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scorer.cli.options import EVENTS_MAX, AsJson, ConfigFile, Sets, load
from scorer.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from scorer.cli.settings import Stream
    from scorer.core.schema import WriterSchema
    from scorer.local.events import Events

MESSAGE_BYTES_MAX = 1_000_000


def send(
    stream: Annotated[str, typer.Argument(help="Stream of the settings that the events are for.")],
    events: Annotated[
        Path | None,
        typer.Option(help="Your own: .csv, .jsonl (both also .gz) or .avro, by the topic's newest schema."),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(help="A real file: Bank Marketing or Online Retail, plain or .gz.")
    ] = None,
    count: Annotated[
        int | None,
        typer.Option("-n", "--count", min=1, max=EVENTS_MAX, help="How many; all of a file, or 1000 samples."),
    ] = None,
    rate: Annotated[
        float, typer.Option(min=0, max=1_000_000_000, help="Events a second; 0 is as fast as they are taken.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of the samples; the same seed gives the same events.")] = 1,
    kind: Annotated[str, typer.Option(help="lead or login; by default told by the stream's input topic.")] = "",
    config: ConfigFile = None,
    sets: Sets = None,
    as_json: AsJson = False,
) -> None:
    """Send events, with progress on a terminal. Without a file, samples that look like the real data.

    Your own are keyed by the field that the contract of the stream's bundle calls the entity.
    """
    from itertools import islice

    from scorer.cli.stopping import stopped_by_signals
    from scorer.cli.wiring import open_registry, versions
    from scorer.edges.clock import SystemClock
    from scorer.edges.files import unmatched
    from scorer.edges.kafka.admin import KafkaAdmin
    from scorer.edges.kafka.producer import KafkaPublisher
    from scorer.edges.kafka.settings import producer_properties
    from scorer.edges.logs import configure, reporter
    from scorer.local.events import KEYS
    from scorer.local.sending import encoded
    from scorer.local.sending import send as send_all

    settings = load(config, sets).settings
    chosen = settings.stream(stream)
    configure(settings.log.level, settings.log.format)
    report, clock, stop = reporter(stream=stream), SystemClock(), stopped_by_signals()
    if events is None:
        given = _events(chosen.from_topic, csv, kind, count, seed)
    elif csv is not None or kind:
        raise ConfigError("--events are your own: leave out --csv and --kind")
    _, schema = versions(open_registry(settings, report), chosen.from_topic)[-1]
    seen: set[str] = set()
    rows, key = (given.events, KEYS[given.kind]) if events is None else _own(events, chosen, schema, seen)
    if chosen.from_topic not in KafkaAdmin(settings.kafka_for("admin"), report).topics():
        raise ConfigError(f"topic {chosen.from_topic} does not exist; run: scorer setup")
    properties = producer_properties(settings.kafka_for("producer"), chosen.profile, MESSAGE_BYTES_MAX)
    publisher = KafkaPublisher(properties, report)
    started_ms = clock.ticks_ms()
    messages = islice(encoded(rows, schema, key), count)
    with _progress(count) as progress:
        sent = send_all(messages, chosen.from_topic, publisher, clock, rate=rate, stop=stop, progress=progress)
    for line in unmatched(events, schema.root, seen) if events else ():
        typer.echo(line, err=True)
    typer.echo(_said(sent, chosen.from_topic, (clock.ticks_ms() - started_ms) / 1000, as_json))
    if stop.is_set():
        raise KeyboardInterrupt


def _said(sent: int, topic: str, took_s: float, as_json: bool) -> str:
    if as_json:
        return json.dumps({"sent": sent, "topic": topic, "seconds": round(took_s, 3)})
    return f"{sent:,} events sent to {topic} in {took_s:.1f} s ({sent / max(took_s, 1e-9):,.0f}/s)"


def _own(path: Path, stream: Stream, schema: WriterSchema, seen: set[str]) -> tuple[Iterator[Mapping[str, Any]], str]:
    """The events of a person's own file, and the path of the field that is their key."""
    from scorer.edges.bundles import read_bundle
    from scorer.edges.files import read_events

    return read_events(path, schema.root, seen), read_bundle(stream.bundle).contract.entity


def _events(topic: str, csv: Path | None, kind: str, count: int | None, seed: int) -> Events:
    from scorer.edges.clock import SystemClock
    from scorer.local.events import TOPICS, from_file, samples

    clock = SystemClock()
    if kind and kind not in TOPICS:
        raise ConfigError(f"--kind {kind} is none of {', '.join(TOPICS)}")
    kinds = {name: each for each, name in TOPICS.items()}
    told = kind or kinds.get(topic, "")
    if csv is not None:
        real = from_file(csv, lambda _: clock.now_ms())
        if told not in ("", real.kind):
            raise ConfigError(f"{csv} holds {real.kind} events, topic {topic} takes {told} events")
        return real
    if not told:
        raise ConfigError(f"no samples fit topic {topic}: say --kind lead or --kind login, or give --events FILE")
    return samples(told, count or 1000, seed, lambda _: clock.now_ms())


class _progress:  # noqa: N801 -- reads as a function: with _progress(total) as progress
    """A bar on a terminal, nothing elsewhere."""

    def __init__(self, total: int | None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("  sent"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
            transient=True,
        )
        self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> _progress:
        self._bar.start()
        return self

    def __call__(self, done: int) -> None:
        self._bar.update(self._task, completed=done)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
