"""`scorer watch`: follows a stream's predictions or dead letters, readable on a terminal, JSON lines in a pipe."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scorer.cli.letters_view import plain, shown, time_text
from scorer.cli.options import AsJson, ConfigFile, Sets, load
from scorer.core.errors import ContractError

if TYPE_CHECKING:
    from scorer.core.records import RecordBatch
    from scorer.core.schema import WriterSchema

READ_MS_MAX = 200
TIMES = ("occurred_at", "scored_at", "source_timestamp")
NEEDED = {"prediction_id": str, "scored_at": int, "source_timestamp": int, "model_name": str, "model_version": str}
"""What a record needs to be shown as a prediction; other writers' records may lack it."""


def watch(
    stream: Annotated[str, typer.Argument(help="Stream of the settings whose output is followed.")],
    dead_letters: Annotated[bool, typer.Option("--dead-letters", help="Follow the rejections instead.")] = False,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="Start with what is there.")] = False,
    limit: Annotated[int, typer.Option(min=0, help="Stop after so many; 0 never does.")] = 0,
    once: Annotated[
        bool, typer.Option("--once", help="Stop at the end of the topic; implies --from-beginning.")
    ] = False,
    config: ConfigFile = None,
    sets: Sets = None,
    as_json: AsJson = False,
) -> None:
    """Follow what comes out of a stream. Belongs to no consumer group and commits nothing."""
    from scorer.cli.stopping import stopped_by_signals
    from scorer.cli.wiring import open_registry
    from scorer.edges.kafka.reader import KafkaReader
    from scorer.edges.logs import configure, reporter

    settings = load(config, sets).settings
    chosen = settings.stream(stream)
    configure(settings.log.level, settings.log.format)
    report, stop = reporter(stream=stream), stopped_by_signals()
    topic = chosen.dead_letters if dead_letters else chosen.to_topic
    start = "earliest" if from_beginning or once else "latest"
    registry = open_registry(settings, report)
    schemas: dict[int, WriterSchema] = {}
    machine = as_json or not sys.stdout.isatty()
    reader = KafkaReader(settings.kafka_for("consumer"), [topic], start=start, report=report, to_end=once)
    count = 0
    try:
        ends = reader.ends() if once else None
        while not stop.is_set() and (ends is None or ends):
            for batch in reader.read(1000, READ_MS_MAX):
                for record in _letters(batch) if dead_letters else _predictions(batch, schemas, registry):
                    typer.echo(json.dumps(_told(record), default=_text) if machine else _line(record))
                    count += 1
                    if count == limit:
                        return
            if ends is not None:
                ends = {place: end for place, end in ends.items() if reader.ended.get(place, -1) < end}
    finally:
        reader.close()
    if ends:  # told to stop before the end of the topic, which was asked for
        raise KeyboardInterrupt


def _predictions(batch: RecordBatch, schemas: dict[int, WriterSchema], registry: Any) -> Iterator[dict[str, Any]]:
    """Decoded predictions; a value that does not decode is shown as what it is."""
    from scorer.core.strict import MalformedError, record_decoder
    from scorer.core.wire import PREFIX_BYTES, split_frames

    frames = split_frames(batch.values, 1 << 30)
    by_row: dict[int, dict[str, Any]] = {each.row: {"undecodable": each.detail} for each in frames.rejections}
    for schema_id, rows in frames.groups.items():
        if schema_id not in schemas:
            found = _schema(schema_id, registry)
            if isinstance(found, str):
                by_row |= {row: {"undecodable": found} for row in rows.tolist()}
                continue
            schemas[schema_id] = found
        decode = record_decoder(schemas[schema_id])
        for row in rows.tolist():
            try:
                by_row[row] = decode(batch.values[row] or b"", PREFIX_BYTES)
            except MalformedError as error:
                by_row[row] = {"undecodable": str(error)}
    for row in sorted(by_row):
        yield by_row[row]


def _schema(schema_id: int, registry: Any) -> WriterSchema | str:
    """A schema, or for people why there is none."""
    from scorer.core.schema import writer_schema

    try:
        text = registry.text(schema_id)
        return f"schema id {schema_id} is unknown to the registry" if text is None else writer_schema(schema_id, text)
    except ContractError as error:
        return str(error)


def _told(value: Any) -> Any:
    """A value as JSON has it, but for bytes, which stay: Avro's JSON has its own way for them, see _text."""
    return shown(value, of_bytes=bytes)


def _text(value: bytes) -> str:
    """Bytes as Avro writes them in JSON."""
    return value.decode("latin-1")


def _letters(batch: RecordBatch) -> Iterator[dict[str, Any]]:
    from scorer.core.dead_letters import PREFIX

    for row in range(len(batch)):
        notes = {name: (value or b"").decode(errors="replace") for name, value in batch.headers[row] or []}
        own = {name.removeprefix(PREFIX): text for name, text in notes.items() if name.startswith((PREFIX, "scorer."))}
        yield {**own, "value_bytes": len(batch.values[row] or b"")}


def _line(record: dict[str, Any]) -> str:
    """What a person wants to see first: when, who, what came out, and which model said so."""
    if not all(isinstance(record.get(name), kind) for name, kind in NEEDED.items()):
        return plain("  ".join(f"{name}={value}" for name, value in record.items()))
    when = time_text(record["scored_at"])[11:19]
    known = {
        "prediction_id",
        "event_id",
        "source_topic",
        "source_partition",
        "source_offset",
        "source_schema_id",
        "event_digest",
        "lane",
        "scorer_version",
        "runtime",
        "cpu_class",
        "model_name",
        "model_version",
        "model_sha256",
        *TIMES,
    }
    own = "  ".join(f"{name}={_short(value)}" for name, value in record.items() if name not in known)
    delay = record["scored_at"] - record["source_timestamp"]
    return plain(f"{when}  {own}  by {record['model_name']}/{record['model_version']} after {delay} ms")


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, list):
        head = " ".join(_short(next(iter(item.values())) if isinstance(item, dict) else item) for item in value[:5])
        return f"[{head}{' ...' if len(value) > 5 else ''}]"
    return str(value)
