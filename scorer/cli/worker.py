"""`scorer worker`: serves streams, one process each."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from traceback import extract_tb
from typing import Annotated

import typer

from scorer.cli.exits import ExitCode, text_of
from scorer.cli.options import ConfigFile, Sets, load
from scorer.core.errors import ConfigError

SUPERVISED = "SCORER_SUPERVISED"
"""Holds the id of the process that has started this one, if that was one of ours."""


def worker(
    streams: Annotated[
        list[str] | None, typer.Argument(metavar="[STREAM]...", help="Streams of the settings; all by default.")
    ] = None,
    config: ConfigFile = None,
    sets: Sets = None,
) -> None:
    """Score streams until told to stop: one process per stream, watched over when there are several.

    SIGTERM and Ctrl+C drain, commit and leave the group; a second signal ends at once.
    """
    from scorer.edges.logs import configure, reporter

    settings = load(config, sets).settings
    names = list(dict.fromkeys(streams or [stream.name for stream in settings.streams]))
    if not names:
        raise ConfigError("no stream is configured: add [[streams]] to scorer.toml, or give --config PATH")
    chosen = [settings.stream(name) for name in names]
    configure(settings.log.level, settings.log.format)
    if len(chosen) > 1:
        raise typer.Exit(_supervise([stream.name for stream in chosen], config, sets, settings.shutdown.grace_ms_max))
    from scorer.edges.machine import end_with_parent, keep_memory_low

    keep_memory_low()
    from scorer.cli.worker_wiring import run_stream

    if (parent := supervised_by()) is not None:
        end_with_parent(parent)
    report = reporter(stream=chosen[0].name)
    try:
        code = run_stream(settings, chosen[0], report)
    except Exception as error:
        report("process.failed", {"error": text_of(error), "kind": type(error).__name__, "at": _frames(error)})
        raise
    raise typer.Exit(code)


def supervised_by() -> int | None:
    """The id of the process of ours that has started this one, or None."""
    said = os.environ.get(SUPERVISED, "")
    return int(said) if said.isdecimal() else None


def _frames(error: Exception) -> list[str]:
    """Where it came from, innermost last, without values."""
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in extract_tb(error.__traceback__)]


def _supervise(names: list[str], config: Path | None, sets: list[str] | None, grace_ms_max: int) -> int:
    from scorer.cli.stopping import stopped_by_signals
    from scorer.edges.clock import SystemClock
    from scorer.edges.logs import reporter
    from scorer.services.supervisor import Child, Supervisor

    flags = [flag for value in sets or [] for flag in ("--set", value)]
    flags += ["--config", str(config)] if config else []
    os.environ[SUPERVISED] = str(os.getpid())
    children = [Child(name, [sys.executable, "-m", "scorer", "worker", name, *flags]) for name in names]
    hopeless = frozenset({int(ExitCode.INVALID), int(ExitCode.USAGE), int(ExitCode.FENCED)})
    margin_ms = 5_000
    supervisor = Supervisor(
        children, SystemClock(), reporter(), stopped_by_signals(), hopeless, grace_ms_max + margin_ms
    )
    return supervisor.run()
