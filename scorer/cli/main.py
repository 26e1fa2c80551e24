"""The `scorer` command: its subcommands, and how it ends.

Guarantee: stdout holds data alone, messages go to stderr, and every end has its exit code (exits.py). Importing this
module loads no client library, no model runtime and no settings, so that `scorer --help` answers at once: a command's
module imports what it needs inside its function.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from scorer.cli import config
from scorer.cli.demo import demo
from scorer.cli.exits import report
from scorer.cli.options import add_command
from scorer.cli.worker import worker

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(config.app, name="config")
add_command(app, demo, "scorer demo", "scorer demo --csv bank-additional-full.csv.gz", "scorer demo --broker mock")
add_command(app, worker, "scorer worker", "scorer worker lead", "scorer worker lead --set streams.lead.profile=eager")


def _print_version(wanted: bool) -> None:
    if wanted:
        from scorer.edges.machine import scorer_version

        typer.echo(f"scorer {scorer_version()}")
        raise typer.Exit


@app.callback(epilog="Examples:\n\n\b\n  scorer config show\n  scorer config check --config scorer.toml")
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
    """The entry point of the `scorer` command."""
    sys.exit(run(sys.argv[1:]))
