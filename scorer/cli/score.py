"""`scorer score`: a file of events through a bundle, without Kafka, by the same core."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scorer.cli.exits import ExitCode
from scorer.cli.options import EVENTS_MAX
from scorer.core.errors import ConfigError

if TYPE_CHECKING:
    from scorer.core.records import RecordBatch, Scored
    from scorer.core.schema import WriterSchema
    from scorer.core.scoring import Recipe

EVENT_SCHEMA_ID, PREDICTION_SCHEMA_ID = 1, 2
ROWS_MAX = 1000
VALUE_BYTES_MAX = 1 << 20


def score(
    file: Annotated[Path, typer.Argument(help="Events: .csv, .jsonl (also .gz) or .avro; or one of the real files.")],
    bundle: Annotated[Path, typer.Option(help="The model's folder.")],
    schema: Annotated[Path | None, typer.Option(help="The event's schema; an .avro file brings its own.")] = None,
    prediction: Annotated[
        Path | None, typer.Option(help="The prediction's schema; by default the shipped one that the contract names.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("-n", "--limit", min=1, max=EVENTS_MAX, help="Only so many events.")
    ] = None,
) -> None:
    """Score a file and print one JSON line per prediction. Rejections go to stderr; exit code 5 if there were any."""
    from scorer.cli.wiring import origin, prove
    from scorer.core.schema import writer_schema
    from scorer.core.scoring import Recipe
    from scorer.edges.bundles import read_bundle
    from scorer.edges.files import read_schema, unmatched

    found = read_bundle(bundle)
    writer = read_schema(_prediction_file(prediction, found.contract.prediction), PREDICTION_SCHEMA_ID)
    seen: set[str] = set()
    events, text = _events(file, schema, seen)
    reader = writer_schema(EVENT_SCHEMA_ID, text)
    model = prove(found, [(str(schema or file), reader)], writer, ROWS_MAX)
    recipe = Recipe(model, writer, "file", origin("file"))
    done = rejected = 0
    for chunk in _chunks(islice(events, limit), ROWS_MAX):
        batch, refused = _batch(chunk, reader, file.name, done)
        scored = _scored(batch, reader, recipe)
        done += len(chunk)
        rejected += len(refused) + len(scored.rejections)
        for prediction_row in _decoded(scored, writer):
            typer.echo(json.dumps(prediction_row))
        for line in refused:
            typer.echo(line, err=True)
        for each in scored.rejections:
            number = int(batch.offsets[each.row]) + 1
            typer.echo(f"event {number}: {each.stage}, {each.reason}: {each.detail}", err=True)
        if sys.stderr.isatty():
            typer.echo(f"\r{done:,} events", nl=False, err=True)
    for line in unmatched(file, reader.root, seen):
        typer.echo(line, err=True)
    typer.echo(f"{done - rejected:,} of {done:,} events scored, {rejected:,} rejected", err=True)
    if rejected:
        raise typer.Exit(ExitCode.REJECTED)


def _events(file: Path, schema: Path | None, seen: set[str]) -> tuple[Iterator[Any], str]:
    from scorer.edges.clock import SystemClock
    from scorer.edges.files import container_schema, read_events, read_schema, read_text
    from scorer.local.events import TOPICS, from_file
    from scorer.local.places import shipped

    if not file.exists() or file.is_dir():
        raise ConfigError(f"{file} is {'a folder' if file.is_dir() else 'not there'}; give a file of events")
    if file.suffix == ".avro":
        if schema is not None:
            raise ConfigError(f"{file} brings its own schema: leave out --schema")
        return read_events(file, None, seen), container_schema(file)
    if schema is not None:
        return read_events(file, read_schema(schema, EVENT_SCHEMA_ID).root, seen), read_text(schema)
    if ".csv" not in file.suffixes:
        raise ConfigError(f"{file} does not say what its fields are: give --schema EVENT.avsc")
    now_ms = SystemClock().now_ms()
    try:
        real = from_file(file, lambda _: now_ms)
    except ConfigError as error:
        raise ConfigError(f"{error}; for other files give --schema EVENT.avsc") from error
    return iter(real.events), read_text(shipped("schemas") / f"{TOPICS[real.kind]}.avsc")


def _prediction_file(path: Path | None, name: str) -> Path:
    from scorer.local.places import shipped

    chosen = path or shipped("schemas") / f"{name}.avsc"
    if path is None and not chosen.is_file():
        raise ConfigError(f"no shipped schema is named {name}: give --prediction {name}.avsc")
    return chosen


def _chunks(events: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(events)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _batch(events: list[Any], schema: WriterSchema, name: str, first: int) -> tuple[RecordBatch, list[str]]:
    """Events as records of a topic that never was: offsets are row numbers, timestamps are now."""
    from io import BytesIO

    import fastavro
    import numpy as np

    from scorer.core.records import Closed, RecordBatch
    from scorer.core.wire import prefix
    from scorer.edges.clock import SystemClock

    values: list[bytes | None] = []
    offsets: list[int] = []
    refused: list[str] = []
    for number, event in enumerate(events, first + 1):
        body = BytesIO()
        body.write(prefix(EVENT_SCHEMA_ID))
        try:
            fastavro.schemaless_writer(body, schema.parsed, event)
        except Exception as error:
            refused.append(f"event {number}: is not of the schema: {error}")
            continue
        values.append(body.getvalue())
        offsets.append(number - 1)
    n = len(values)
    stamps = np.full(n, SystemClock().now_ms(), dtype=np.int64)
    nothing: list[Any] = [None] * n
    positions = np.array(offsets, dtype=np.int64)
    return RecordBatch(name, np.zeros(n, np.int32), positions, stamps, values, nothing, nothing, Closed.FULL), refused


def _scored(batch: RecordBatch, schema: WriterSchema, recipe: Recipe) -> Scored:
    from scorer.core.scoring import score_batch
    from scorer.core.wire import split_frames
    from scorer.edges.clock import SystemClock

    frames = split_frames(batch.values, VALUE_BYTES_MAX)
    return score_batch(batch, frames, {schema.id: schema}, recipe, SystemClock().now_ms())


def _decoded(scored: Scored, writer: WriterSchema) -> Iterator[dict[str, Any]]:
    from scorer.core.strict import record_decoder
    from scorer.core.wire import PREFIX_BYTES

    decode = record_decoder(writer)
    for value in scored.outbound.values:
        yield decode(value, PREFIX_BYTES)
