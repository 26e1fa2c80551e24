"""`scorer replay` and `scorer promote`: a piece of history scored once more, into a lane; and a lane made live."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from scorer.cli.options import AsJson, ConfigFile, Sets, load
from scorer.cli.worker import supervised_by
from scorer.core.errors import ConfigError

DELIVERIES = ("exactly_once", "at_least_once")

LaneName = Annotated[
    str, typer.Option("--lane", metavar="NAME", help="Where the predictions go, apart from live ones.")
]
Since = Annotated[
    str | None, typer.Option("--since", metavar="AGO|TIME", help="From this Kafka timestamp on: 7d, 2026-11-23T06:00.")
]
Until = Annotated[
    str | None, typer.Option("--until", metavar="AGO|TIME", help="Before this Kafka timestamp; up to now by default.")
]
Lateness = Annotated[
    str, typer.Option("--lateness", metavar="SPAN", help="How late a record before --until may have come.")
]
Offsets = Annotated[
    list[str] | None,
    typer.Option(
        "--offsets",
        metavar="PARTITION:FIRST-END",
        help="2:100-200 ends with 199; without END, up to now. Once for each partition.",
    ),
]
Positions = Annotated[
    str | None, typer.Option("--positions", metavar="FILE", help="Records by PARTITION:OFFSET, one a line; - is stdin.")
]
Ids = Annotated[
    str | None,
    typer.Option("--ids", metavar="FILE", help="Events by the ids of their predictions, one a line; - is stdin."),
]
BundlePath = Annotated[
    str | None,
    typer.Option(
        "--bundle", metavar="PLACE", help="This folder's or URL's for all; by default, what was live at each position."
    ),
]
Delivery = Annotated[str, typer.Option("--delivery", metavar="MODE", help="exactly_once or at_least_once.")]
Processes = Annotated[int, typer.Option("--processes", min=1, max=64, help="So many share the partitions.")]
Rate = Annotated[int, typer.Option("--rate", min=0, help="Records a second, in all; 0 is as fast as it goes.")]
YieldToLive = Annotated[
    int,
    typer.Option(
        "--yield-to-live", metavar="LAG", min=-1, help="Pause while the live stream is more records behind than this."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what it comes to and how long it takes; write nothing.")]
StreamName = Annotated[str, typer.Argument(help="Stream of the settings.")]


def replay(
    stream: StreamName,
    lane: LaneName,
    since: Since = None,
    until: Until = None,
    lateness: Lateness = "1h",
    offsets: Offsets = None,
    positions: Positions = None,
    ids: Ids = None,
    bundle: BundlePath = None,
    delivery: Delivery = "exactly_once",
    processes: Processes = 1,
    rate: Rate = 0,
    yield_to_live: YieldToLive = -1,
    dry_run: DryRun = False,
    config: ConfigFile = None,
    sets: Sets = None,
    as_json: AsJson = False,
) -> None:
    """Score a piece of a stream's history once more, into a lane of its own.

    Each record is scored with the bundle that was live at its position. Ends are fixed at the start and written down:
    after a kill, the same command, or `scorer replay STREAM --lane NAME`, goes on where it was, with nothing double.
    """
    from scorer.cli.replay_plan import Wish
    from scorer.cli.replay_run import Job, run_job
    from scorer.cli.replay_view import done_line, plan_lines

    if delivery not in DELIVERIES:
        raise ConfigError(f"--delivery {delivery} is none of {', '.join(DELIVERIES)}")
    settings, chosen, report = _surroundings(stream, config, sets)
    quiet = supervised_by() is not None
    wish = Wish(since, until, lateness, offsets or (), positions, ids, bundle)
    flags = [*(["--config", str(config)] if config else []), *(flag for each in sets or () for flag in ("--set", each))]
    job = Job(settings, chosen, lane, wish, delivery, processes, rate, yield_to_live, dry_run, flags, quiet)

    def announce(document: dict[str, Any]) -> None:
        if not quiet:
            typer.echo("\n".join(plan_lines(document)), err=as_json)

    document = run_job(job, announce, report)
    if quiet:
        return
    if as_json:
        typer.echo(json.dumps(document))
    elif dry_run:
        typer.echo(_expected(document))
    else:
        typer.echo(done_line(document))


def promote(
    stream: StreamName,
    lane: Annotated[str, typer.Argument(help="A lane whose replay is complete.")],
    config: ConfigFile = None,
    sets: Sets = None,
    as_json: AsJson = False,
) -> None:
    """Copy a lane's predictions to the live topic, as they are: their ids and the lane's name stay.

    Subscribers tell them from live ones by the lane: who acts on predictions heeds `live` alone, so nothing is done
    twice. After a kill, the same command goes on where it was.
    """
    from scorer.cli.promote_run import run_promotion

    settings, chosen, report = _surroundings(stream, config, sets)
    document = run_promotion(settings, chosen, lane, report)
    text = f"promoted: {document['offsets']:,} offsets of {document['from']} are in {document['to']}"
    typer.echo(json.dumps(document) if as_json else text)


def _surroundings(stream: str, config: Path | None, sets: list[str] | None) -> tuple[Any, Any, Any]:
    from scorer.edges.logs import configure, reporter

    settings = load(config, sets).settings
    chosen = settings.stream(stream)
    configure(settings.log.level, settings.log.format)
    return settings, chosen, reporter(stream=stream)


def _expected(document: dict[str, Any]) -> str:
    if document["expected_s"] is None:
        return "nothing was read to measure by"
    return f"about {document['expected_s']:,.0f} s at {document['rate_per_s']:,.0f} records/s, as measured on the first"
