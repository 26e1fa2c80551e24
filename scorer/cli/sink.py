"""`scorer sink`: writes predictions where people look for them."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from scorer.cli.exits import ExitCode
from scorer.cli.options import AsJson, ConfigFile, Sets, add_command, load
from scorer.core.errors import ConfigError, pip_install

if TYPE_CHECKING:
    from scorer.edges.sql.completeness import Totals

app = typer.Typer(help="Write predictions where people look for them.", no_args_is_help=True, rich_markup_mode=None)


def sql(
    stream: Annotated[str, typer.Argument(help="Stream of the settings whose predictions are written.")],
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="sqlite:///PATH or postgresql://HOST:PORT/DATABASE.")
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Write what is there, say whether it is complete, and end; for cron.")
    ] = False,
    lane: Annotated[
        str | None, typer.Option("--lane", metavar="NAME", help="Write a replay's lane, into tables of its own.")
    ] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    as_json: AsJson = False,
) -> None:
    """Write a stream's predictions into SQL tables: the latest of each entity, all of them, and views.

    The database says from where on it reads. --once ends with 7 if an event has no prediction and no rejection yet.
    """
    _refuse_without_library()
    from scorer.cli.sink_wiring import Plan, run_sink
    from scorer.edges.logs import configure, reporter

    settings = load(config, [*(sets or []), *([f"sink.sql.url={url}"] if url else [])]).settings
    chosen = settings.stream(stream)
    configure(settings.log.level, settings.log.format)
    totals = run_sink(settings, Plan(chosen, lane or "", once), reporter(stream=stream, sink="sql"))
    if totals is None:
        raise typer.Exit(ExitCode.INCOMPLETE if once else ExitCode.OK)
    typer.echo(_as_json(stream, totals) if as_json else _line(stream, totals))
    raise typer.Exit(ExitCode.OK if totals.complete else ExitCode.INCOMPLETE)


add_command(
    app,
    sql,
    "scorer sink sql lead",
    "scorer sink sql lead --url sqlite:///scores.db --once",
    "scorer sink sql login --url postgresql://db.example:5432/scores",
)


def _refuse_without_library() -> None:
    if find_spec("sqlalchemy") is None:
        raise ConfigError(f"scorer sink sql needs SQLAlchemy, which is not installed: run {pip_install('sql')}")


def _line(stream: str, totals: Totals) -> str:
    verdict = "complete" if totals.complete else "SHORT"
    return (
        f"{stream}: {verdict}: {totals.events} events, {totals.scored} scored, {totals.rejected} rejected, "
        f"{totals.missing} missing, {totals.waiting} not scored yet; {totals.skipped} offsets hold none"
    )


def _as_json(stream: str, totals: Totals) -> str:
    from dataclasses import asdict

    return json.dumps({"stream": stream, "complete": totals.complete, **asdict(totals)})
