"""`scorer demo`: everything on this machine, from nothing to predictions."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scorer.cli.exits import ExitCode
from scorer.cli.options import AsJson

if TYPE_CHECKING:
    from scorer.local.demo import Plan, Stage
    from scorer.local.demo_load import Outcome


def demo(
    csv: Annotated[Path | None, typer.Option(help="Stream this file: Bank Marketing or Online Retail.")] = None,
    events: Annotated[int, typer.Option(min=100, max=1_000_000, help="Sample leads; logins are a quarter.")] = 20_000,
    broker: Annotated[str, typer.Option(help="kafka (a real one) or mock (offline, no guarantees).")] = "kafka",
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running, with a page to look at.")] = False,
    folder: Annotated[Path, typer.Option(help="For broker, settings, logs; empty or a demo's.")] = Path(".demo"),
    as_json: AsJson = False,
) -> None:
    """Start a real Kafka, send events, score them with real worker processes, read the predictions back.

    Ends with SQL over the analysts' tables and a login answered by the gateway. Needs no Docker and no Java. Exit
    code 0 only if every event is accounted for.
    """
    from scorer.core.errors import ConfigError
    from scorer.local.demo import Plan, run_demo

    if broker not in ("kafka", "mock"):
        raise ConfigError(f"--broker {broker}: kafka or mock")
    if broker == "mock":
        events = min(events, 4_000)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # cleans up as Ctrl+C does
    plan = Plan(folder.resolve(), csv.resolve() if csv else None, events, events // 4, broker, keep)

    def show(outcome: Outcome) -> None:
        summary = _summary(outcome)
        if as_json:
            typer.echo(json.dumps(summary, indent=2))
        else:
            _print(summary, outcome, plan)

    with _Steps() as steps:

        def kept(outcome: Outcome, stage: Stage) -> None:
            show(outcome)
            steps.say(f"everything goes on, with a few events a second: http://127.0.0.1:{stage.gateway_port}/")
            steps.say(f"the tables: sqlite3 {plan.folder / 'scores.db'}; settings: {stage.settings}; Ctrl+C ends it")
            Event().wait()

        outcome = run_demo(plan, steps.say, steps.progress, kept)
    if not keep:
        show(outcome)
    if outcome.problem:
        raise typer.Exit(ExitCode.FAILURE)


def _summary(outcome: Outcome) -> dict[str, Any]:
    p50, p99, count = outcome.tally.percentiles(outcome.paced_since_ms)
    return {
        "events": outcome.total,
        "events_by_stream": outcome.sent,
        "predictions": len(outcome.tally.predicted),
        "dead_letters": dict(outcome.tally.reasons()),
        "repeats": outcome.tally.repeats,
        "events_per_s": round(outcome.burst / outcome.burst_s) if outcome.burst_s else None,
        "delay_ms": {"p50": p50, "p99": p99, "events": count},
        "gateway": {"path": answer.path, "took_ms": round(answer.took_ms, 1)} if (answer := outcome.answer) else None,
        "tables": {table.title: [list(row) for row in table.rows] for table in outcome.tables},
        "problem": outcome.problem,
    }


def _print(summary: dict[str, Any], outcome: Outcome, plan: Plan) -> None:
    kinds = ", ".join(f"{count:,} {kind}s" for kind, count in summary["events_by_stream"].items())
    delay = summary["delay_ms"]
    letters = sum(summary["dead_letters"].values())
    typer.echo(f"\nevents        {summary['events']:>8,}   {kinds}")
    typer.echo(f"predictions   {summary['predictions']:>8,}   {summary['repeats']} repeated")
    typer.echo(
        f"dead letters  {letters:>8,}" + ("   (bad events, sent on purpose)" if letters and not plan.csv else "")
    )
    for reason, count in sorted(summary["dead_letters"].items()):
        typer.echo(f"              {count:>8,}   {reason}")
    typer.echo(f"events/s      {summary['events_per_s'] or 0:>8,}   in the burst, all processes on this machine")
    typer.echo(
        f"delay         p50 {delay['p50']:.0f} ms, p99 {delay['p99']:.0f} ms from send to a subscriber's receipt"
    )
    for topic, predictions in outcome.tally.examples.items():
        typer.echo(f"\n{topic}")
        for prediction in predictions:
            typer.echo(f"  {_readable(prediction)}")
    _print_readers(outcome)
    if outcome.problem:
        typer.echo(f"\nNOT every event is accounted for: {outcome.problem}; the workers' log: {plan.folder}/worker.log")
        return
    typer.echo("\nevery event is accounted for.  Go on with:")
    typer.echo("  scorer local up                   a Kafka that stays")
    typer.echo("  scorer setup && scorer worker     topics, schemas, and the worker, by scorer.toml")
    typer.echo("  scorer send lead -n 1000          events; scorer watch lead follows the predictions")
    typer.echo("  scorer model init MODEL.onnx --schema EVENT.avsc     your own model")


def _print_readers(outcome: Outcome) -> None:
    for table in outcome.tables:
        typer.echo(f"\nsql> {table.query}")
        cells = [list(table.names), *([str(value) for value in row] for row in table.rows)]
        widths = [max(len(line[at]) for line in cells) for at in range(len(table.names))]
        for line in cells:
            typer.echo("  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    for said in outcome.complete:
        typer.echo(f"  {said}")
    if outcome.answer is not None:
        body = outcome.answer.body
        items = " ".join(item["product_code"] for item in body["items"]) if "items" in body else f"{body['score']:.3f}"
        typer.echo(f"\nGET {outcome.answer.path}?after=...&limit=5")
        typer.echo(f"  {items}   {outcome.answer.took_ms:.0f} ms from sending the event to the answer for it")


def _readable(prediction: dict[str, Any]) -> str:
    if "bucket" in prediction:
        return f"{prediction['lead_id']:<24} score {prediction['score']:.3f}   bucket {prediction['bucket']}"
    products = " ".join(item["product_code"] for item in prediction["items"][:6])
    return f"{prediction['customer_id']:<24} {products} ..."


@dataclass(slots=True)
class _Steps:
    """Steps and progress on stderr; a bar on a terminal, a line per step elsewhere."""

    progress_bar: Any = None
    task: Any = None

    def __enter__(self) -> _Steps:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        console = Console(stderr=True)
        self.progress_bar = Progress(
            TextColumn("  accounted for"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self.progress_bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress_bar.stop()

    def say(self, text: str) -> None:
        """Prints one step."""
        self.progress_bar.console.print(f"- {text}", highlight=False, soft_wrap=True)

    def progress(self, done: int, total: int) -> None:
        """Moves the bar."""
        if self.task is None:
            self.task = self.progress_bar.add_task("", total=total)
        self.progress_bar.update(self.task, completed=done, total=total)
