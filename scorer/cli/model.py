"""`scorer model`: draft, check and list bundles."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scorer.cli.options import AsJson, ConfigFile, Sets, add_command, load
from scorer.core.errors import ConfigError, ScorerError

if TYPE_CHECKING:
    from scorer.core.contract import Contract
    from scorer.core.model import Model
    from scorer.core.schema import WriterSchema

app = typer.Typer(help="Draft, check and list models.", no_args_is_help=True, rich_markup_mode=None)

ROWS = (1, 32, 512)
REPEATS = 20
PREDICTION_SCHEMA_ID = 2**31 - 1
"""Of a schema that is no registry's; no event's has it."""


def check(
    bundle: Annotated[Path, typer.Argument(help="The model's folder.")],
    schema: Annotated[
        list[Path] | None, typer.Option(help="A version of the event's schema; repeat it, oldest first.")
    ] = None,
    prediction: Annotated[Path | None, typer.Option(help="The prediction's schema.")] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    as_json: AsJson = False,
) -> None:
    """Prove that a model can serve, by the same rules as the worker: exit code 3 names everything that is wrong.

    Without --schema the registry is asked for every version of the schema of the stream that the settings give the
    bundle to; a shipped bundle is checked against the shipped schemas.
    """
    from scorer.cli.wiring import prove
    from scorer.edges.bundles import read_bundle

    found = read_bundle(bundle)
    settings = load(config, sets).settings
    rows_max, events, writer = _surroundings(bundle, found.contract, schema, prediction, settings)
    model = prove(found, events, writer, rows_max)
    costs = _costs(model, events[-1][1])
    paths = [(label, each.by_record_only) for label, each in events]
    document = {
        "model": found.label,
        "sha256": found.sha256,
        "event_schemas": {label: reason is None for label, reason in paths},
        "microseconds_per_row": costs,
    }
    if as_json:
        typer.echo(json.dumps(document, indent=2))
        return
    typer.echo(f"{found.label} can serve.  sha256 {found.sha256}")
    for label, reason in paths:
        how = "by column" if reason is None else f"by record alone, some 10 times the cost, because of {reason}"
        typer.echo(f"  event schema {label}: decoded {how}")
    for rows, cost in costs.items():
        typer.echo(
            f"  batches of {rows:>4}: model {cost['model']:.1f} us a row, decode to tensors {cost['tensors']:.1f}"
        )


def init(
    onnx: Annotated[Path, typer.Argument(help="The ONNX file.")],
    schema: Annotated[Path, typer.Option(help="The event's schema.")],
    name: Annotated[str, typer.Option(help="Of the model; the file's name by default.")] = "",
    out: Annotated[Path, typer.Option(help="Folder for bundles; the draft goes to OUT/NAME/1.")] = Path("models"),
    schemas: Annotated[Path | None, typer.Option(help="Folder for the draft of the prediction's schema.")] = None,
) -> None:
    """Write a draft: a bundle with model.toml, and a schema for the predictions. Edit both, then add golden rows."""
    from scorer.cli.drafts import draft_bundle

    tell = partial(typer.echo, err=True)
    folder, prediction = draft_bundle(onnx, schema, name or onnx.stem, out, schemas or schema.parent, tell)
    typer.echo(f"drafted {folder} and {prediction}")
    typer.echo("now:  1. correct model.toml: which field feeds which input, defaults, ranges, outputs")
    typer.echo(f"      2. scorer model golden {folder} --events SOME.jsonl --schema {schema}")
    typer.echo(f"      3. scorer model check {folder} --schema {schema} --prediction {prediction}")


def golden(
    bundle: Annotated[Path, typer.Argument(help="The model's folder.")],
    events: Annotated[Path, typer.Option(help="Events, .jsonl or .csv: made-up ones, as they travel with the model.")],
    schema: Annotated[Path, typer.Option(help="The event's schema.")],
) -> None:
    """Write golden.jsonl: these events, and what the model makes of them here and now. Replaces what is there."""
    from scorer.cli.drafts import GOLDEN, golden_lines, write_golden

    lines = golden_lines(bundle, events, schema, partial(typer.echo, err=True))
    replaced = write_golden(bundle, lines)
    typer.echo(f"{len(lines)} golden rows in {bundle / GOLDEN}{f', in the place of {replaced}' if replaced else ''}")


def list_(
    folder: Annotated[Path | None, typer.Argument(help="Folder of bundles; the shipped ones by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the bundles of a folder with their identities."""
    from scorer.edges.bundles import read_bundle
    from scorer.local.places import shipped

    place = folder or shipped("models")
    rows: list[dict[str, Any]] = []
    for path in sorted(place.glob("*/*/model.toml")):
        try:
            found = read_bundle(path.parent)
            rows.append({"model": found.label, "sha256": found.sha256, "folder": str(path.parent), "problem": ""})
        except ScorerError as error:
            rows.append(
                {"model": path.parent.parent.name, "sha256": "", "folder": str(path.parent), "problem": str(error)}
            )
    if not rows:
        raise ConfigError(f"{place} holds no bundle (NAME/VERSION/model.toml)")
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        typer.echo(f"{row['model']:<20} {row['sha256'][:16]:<16}  {row['folder']}  {row['problem']}")


add_command(
    app, check, "scorer model check models/lead/1", "scorer model check my/1 --schema e.avsc --prediction p.avsc"
)
add_command(app, init, "scorer model init churn.onnx --schema schemas/events.visit.avsc")
add_command(app, golden, "scorer model golden models/churn/1 --events visits.jsonl --schema schemas/events.visit.avsc")
add_command(app, list_, "scorer model list", "scorer model list models --json")


def _surroundings(
    bundle: Path, contract: Contract, schemas: list[Path] | None, prediction: Path | None, settings: Any
) -> tuple[int, list[tuple[str, WriterSchema]], WriterSchema]:
    """The largest batch, the event's schemas and the prediction's: from files, from the stream, or the shipped ones."""
    from scorer.cli.wiring import open_registry, versions
    from scorer.edges.files import read_schema
    from scorer.edges.logs import reporter
    from scorer.edges.schema_folder import SchemaFolder
    from scorer.local.events import OUTPUTS, TOPICS
    from scorer.local.places import shipped

    rows_max = settings.batch.rows_max
    if schemas:
        events = [(str(path), read_schema(path, at)) for at, path in enumerate(schemas, 1)]
        chosen = prediction or shipped("schemas") / f"{contract.prediction}.avsc"
        if prediction is None and not chosen.is_file():
            raise ConfigError(f"no shipped schema is named {contract.prediction}: give --prediction FILE")
        return rows_max, events, read_schema(chosen, PREDICTION_SCHEMA_ID)
    given = None if prediction is None else read_schema(prediction, PREDICTION_SCHEMA_ID)
    for stream in settings.streams:
        if isinstance(stream.bundle, Path) and stream.bundle.resolve() == bundle.resolve():
            registry = open_registry(settings, reporter())
            events = versions(registry, stream.from_topic)
            return rows_max, events, given or versions(registry, stream.to_topic)[-1][1]
    folder = SchemaFolder(shipped("schemas"))
    for kind, topic in OUTPUTS.items():
        if contract.prediction == topic:
            return rows_max, versions(folder, TOPICS[kind]), given or versions(folder, topic)[-1][1]
    raise ConfigError(f"no stream of the settings serves {bundle}: give --schema EVENT.avsc and --prediction FILE")


def _costs(model: Model, schema: WriterSchema) -> dict[int, dict[str, float]]:
    """Microseconds a row by batch size: the model alone, and from bytes to tensors. Best of several runs."""
    from scorer.core.assemble import assemble
    from scorer.core.decode import decode
    from scorer.core.model import predict
    from scorer.core.rehearsal import golden_batch
    from scorer.core.wire import split_frames

    costs: dict[int, dict[str, float]] = {}
    for rows in ROWS:
        batch = golden_batch(model, schema, rows)
        frames = split_frames(batch.values, 1 << 30)
        known = {schema.id: schema}
        events, _ = decode(batch, frames, known)
        features, _ = assemble(events, batch, model.interface)

        def run_model(tensors: Any = features.tensors, who: Any = features.rows) -> None:
            predict(model, tensors, who)

        def run_tensors(batch: Any = batch, frames: Any = frames, known: Any = known) -> None:
            assemble(decode(batch, frames, known)[0], batch, model.interface)

        costs[rows] = {"model": _best_us(run_model) / rows, "tensors": _best_us(run_tensors) / rows}
    return costs


def _best_us(run: Any) -> float:
    best = float("inf")
    for _ in range(REPEATS):
        started = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - started)
    return best * 1e6
