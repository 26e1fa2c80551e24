"""`scorer local`: a real Kafka and registry on this machine that stay up between commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from scorer.cli.exits import ExitCode
from scorer.cli.options import AsJson, add_command

app = typer.Typer(
    help="A real Kafka and registry on 127.0.0.1, without Docker.", no_args_is_help=True, rich_markup_mode=None
)

Folder = Annotated[Path | None, typer.Option(help="Where data and logs live; ~/.local/state/scorer/local by default.")]


def up(
    folder: Folder = None,
    kafka_port: Annotated[int, typer.Option(min=1, max=65_535, help="Of the broker.")] = 9092,
    registry_port: Annotated[int, typer.Option(min=1, max=65_535, help="Of the registry.")] = 8081,
    registry: Annotated[bool, typer.Option(help="Whether to start a Schema Registry (Apicurio) too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start the servers and return; they go on. What runs already is left as it is; data stays for the next time."""
    from scorer.local.stack import default_folder
    from scorer.local.stack import up as start

    state = start(
        folder or default_folder(), _say, kafka_port=kafka_port, registry_port=registry_port, registry=registry
    )
    if as_json:
        typer.echo(json.dumps({member.name: member.address for member in state.members}))
        return
    for member in state.members:
        typer.echo(f"{member.name:<9} {member.address}  pid {member.pid}")


def down(folder: Folder = None) -> None:
    """Stop the servers. Their data stays."""
    from scorer.local.stack import default_folder
    from scorer.local.stack import down as stop

    ended = stop(folder or default_folder(), _say)
    typer.echo(f"stopped {', '.join(ended)}" if ended else "nothing was running")


def status(folder: Folder = None, as_json: AsJson = False) -> None:
    """Say what runs. Exit code 1 if nothing does, or not all that was started."""
    from scorer.local.stack import default_folder, status_of

    found = status_of(folder or default_folder())
    if as_json:
        rows = [
            {
                "name": each.member.name,
                "address": each.member.address,
                "running": each.running,
                "resident_mb": round(each.resident_mb),
            }
            for each in found
        ]
        typer.echo(json.dumps(rows))
    else:
        for each in found:
            state = f"runs, pid {each.member.pid}, {each.resident_mb:.0f} MB" if each.running else "does not run"
            typer.echo(f"{each.member.name:<9} {each.member.address}  {state}")
        if not found:
            typer.echo("nothing was started; run: scorer local up")
    if not found or not all(each.running for each in found):
        raise typer.Exit(ExitCode.FAILURE)


add_command(
    app, up, "scorer local up", "scorer local up --registry", "scorer local up --kafka-port 19092 --folder /tmp/k"
)
add_command(app, down, "scorer local down")
add_command(app, status, "scorer local status", "scorer local status --json")


def _say(text: str) -> None:
    typer.echo(f"- {text}", err=True)
