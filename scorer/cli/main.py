"""The `scorer` command: its subcommands, and how it ends.

Guarantee: stdout holds data alone, messages go to stderr, and every end has its exit code (exits.py). Importing this
module loads no client library, no model runtime and no settings, so that `scorer --help` answers at once: a command's
module imports what it needs inside its function.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from scorer.cli import config, dead_letters, gateway, local, model, sink
from scorer.cli.demo import demo
from scorer.cli.deployments import deploy, deployments, rollback
from scorer.cli.exits import ExitCode, report
from scorer.cli.options import add_command
from scorer.cli.replay import promote, replay
from scorer.cli.score import score
from scorer.cli.send import send
from scorer.cli.setup import setup
from scorer.cli.verify import compare, explain, verify
from scorer.cli.watch import watch
from scorer.cli.worker import worker

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(config.app, name="config")
app.add_typer(model.app, name="model")
app.add_typer(local.app, name="local")
app.add_typer(sink.app, name="sink")
app.add_typer(gateway.app, name="gateway")
app.add_typer(dead_letters.app, name="dead-letters")
add_command(app, demo, "scorer demo", "scorer demo --csv bank-additional-full.csv.gz", "scorer demo --broker mock")
add_command(
    app, setup, "scorer setup", "scorer setup --partitions 12 --replication 3", "scorer setup --schemas my/schemas"
)
add_command(
    app,
    send,
    "scorer send lead",
    "scorer send lead -n 5000 --rate 200",
    "scorer send login --csv online_retail.csv.gz",
    "scorer send churn --events visits.jsonl",
)
add_command(
    app, watch, "scorer watch lead", "scorer watch lead --dead-letters --once", "scorer watch login --limit 10 --json"
)
add_command(
    app,
    score,
    "scorer score bank-additional-full.csv.gz --bundle models/lead/1",
    "scorer score visits.jsonl --bundle models/churn/1 --schema events.visit.avsc --prediction predictions.churn.avsc",
)
add_command(app, worker, "scorer worker", "scorer worker lead", "scorer worker lead --set streams.lead.profile=eager")
add_command(
    app,
    deploy,
    "scorer deploy lead models/lead/2 --why 'better on new campaigns'",
    "scorer deploy lead models/lead/2 --at 2026-12-01T06:00",
)
add_command(app, rollback, "scorer rollback lead --why 'too many leads in bucket A'")
add_command(app, deployments, "scorer deployments", "scorer deployments lead --json")
add_command(
    app,
    replay,
    "scorer replay lead --lane november --since 2026-11-01 --until 2026-12-01 --dry-run",
    "scorer replay lead --lane v2 --since 30d --bundle models/lead/2 --processes 4 --yield-to-live 5000",
    "scorer replay lead --lane repair --offsets 2:1000-2000",
    "scorer replay lead --lane v2",
)
add_command(app, promote, "scorer promote lead repair")
add_command(
    app,
    verify,
    "scorer verify lead",
    "scorer verify lead --since 24h --json",
    "scorer verify lead --offsets 0:0-99999 --offsets 2:500-",
    "scorer verify lead --lane spring --bundles models",
)
add_command(
    app,
    explain,
    "scorer explain lead/1/events.new-lead/2/17",
    "scorer explain lead/1/events.new-lead/2/17 --no-payload --json",
)
add_command(app, compare, "scorer compare lead live spring", "scorer compare lead spring summer --since 7d --json")


def _print_version(wanted: bool) -> None:
    if wanted:
        from scorer.edges.machine import scorer_version

        typer.echo(f"scorer {scorer_version()}")
        raise typer.Exit


@app.callback(epilog="Examples:\n\n\b\n  scorer demo\n  scorer worker lead --help\n  scorer model check models/lead/1")
def scorer(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Scores Kafka events with ONNX models in micro-batches and publishes the predictions back to Kafka."""


def run(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit code."""
    try:
        app(args=list(arguments), prog_name="scorer")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except (Exception, KeyboardInterrupt) as error:
        return report(error, os.environ.get("SCORER_DEBUG", "0") not in ("", "0"), sys.stderr)
    return 0


def main() -> None:
    """The entry point of the `scorer` command.

    The process ends before C's exit handlers run: OpenSSL's frees what librdkafka's threads may be using, and then it
    dies of a segmentation fault, whatever its exit code would have been (docs/why.md).
    """
    code: int = ExitCode.FAILURE

    def end() -> None:
        try:
            for stream in filter(None, (sys.stdout, sys.stderr)):  # none where the parent has closed it
                stream.flush()
        except (OSError, ValueError):
            return  # Python says so itself, and has an exit code for it
        os._exit(code)

    atexit.register(end)  # before any other, so it is the last that runs
    code = run(sys.argv[1:])
    sys.exit(code)
