"""What every command shares: its options, how it is registered with examples, how it reads the settings.

def worker(config: ConfigFile = None, sets: Sets = None) -> None:
    loaded = load(config, sets)
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from scorer.cli.layers import Loaded

EVENTS_MAX = 1_000_000_000_000
"""What an option may count: Python's own iterators end at 2**63, and nobody waits for so many."""

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="PATH", envvar="SCORER_CONFIG", help="Settings file; ./scorer.toml by default."),
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set one value, as in batch.rows_max=500; may be repeated."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


def load(config: Path | None, sets: list[str] | None) -> Loaded:
    """The settings of this process.

    Raises:
        ConfigError: they are wrong; the message lists why.
    """
    from scorer.cli.layers import load_settings

    return load_settings(config, os.environ, sets or ())


def add_command(app: typer.Typer, function: Callable[..., Any], *examples: str) -> None:
    """Registers a function as a command: its name with dashes, its docstring as help, the examples below."""
    # \b keeps typer from joining the lines.
    epilog = "\n".join(("Examples:", "", "\b", *(f"  {example}" for example in examples)))
    app.command(function.__name__.rstrip("_").replace("_", "-"), epilog=epilog)(function)
