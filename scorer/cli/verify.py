"""`scorer verify`, `explain`, `compare`: do scores come out again, where does one come from, how do lanes differ."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scorer.cli.exits import ExitCode
from scorer.cli.options import AsJson, ConfigFile, Sets, load
from scorer.cli.times import range_ms

if TYPE_CHECKING:
    from scorer.cli.settings import Settings, Stream
    from scorer.cli.verify_wiring import Scene
    from scorer.core.pieces import Asked

StreamName = Annotated[str, typer.Argument(help="Stream of the settings.")]
Since = Annotated[
    str | None, typer.Option("--since", metavar="AGO|TIME", help="Events from 30m, 24h, 7d ago or 2026-11-23T06:00 on.")
]
Until = Annotated[str | None, typer.Option("--until", metavar="AGO|TIME", help="Events before that time.")]
Offsets = Annotated[
    list[str] | None,
    typer.Option(
        "--offsets",
        metavar="PARTITION:FIRST-END",
        help="Events of these offsets, END being behind the last; 2:500- is the rest. Once for each partition.",
    ),
]
Bundles = Annotated[
    Path | None, typer.Option("--bundles", metavar="DIR", help="Look for bundles at DIR/NAME/VERSION first.")
]


def verify(
    stream: StreamName,
    since: Since = None,
    until: Until = None,
    offsets: Offsets = None,
    lane: Annotated[str, typer.Option("--lane", metavar="NAME", help="A replay's lane instead of live.")] = "live",
    bundles: Bundles = None,
    config: ConfigFile = None,
    sets: Sets = None,
    as_json: AsJson = False,
) -> None:
    """Score a range of events again and hold every published prediction against it, and every event against them.

    Says how many are bit-equal, within the tolerance, different, missing or surplus, and why. Exit code 8 if anything
    is left that no operation of a healthy system explains. Publishes and commits nothing.
    """
    from scorer.cli.lanes import in_lane
    from scorer.cli.verify_view import account_document, account_lines, range_lines
    from scorer.cli.verify_wiring import verification
    from scorer.edges.spill import Spill

    settings = load(config, sets).settings
    chosen = settings.stream(stream)
    asked = _asked(since, until, offsets)
    with _opened(settings, chosen, bundles) as it, Spill() as spill:
        job, run = verification(it, spill, asked, lane)
        if not as_json:
            typer.echo("\n".join(range_lines(job.gathering)), err=True)
        account = run()
    document = account_document(stream, in_lane(chosen, lane).to_topic, job.gathering, account)
    typer.echo(json.dumps(document) if as_json else "\n".join(account_lines(document)))
    raise typer.Exit(ExitCode.OK if account.clean else ExitCode.UNEXPLAINED)


def explain(
    prediction_id: Annotated[
        str, typer.Argument(metavar="PREDICTION_ID", help="MODEL/VERSION/TOPIC/PARTITION/OFFSET.")
    ],
    payload: Annotated[bool, typer.Option("--payload/--no-payload", help="Whether to show what upstream sent.")] = True,
    lane: Annotated[str, typer.Option("--lane", metavar="NAME", help="A replay's lane instead of live.")] = "live",
    bundles: Bundles = None,
    config: ConfigFile = None,
    sets: Sets = None,
    as_json: AsJson = False,
) -> None:
    """Show where one prediction comes from: its event, the tensors, the bundle and who deployed it, when it was made.

    It is scored again on the spot, and the verdict is said. Payload is personal data as a rule: --no-payload leaves it
    out. Exit code 8 if the verdict is one that `scorer verify` would end with.
    """
    from scorer.cli.explain_view import explanation_document, explanation_lines
    from scorer.cli.explain_wiring import explanation, parse_id

    settings = load(config, sets).settings
    wanted = parse_id(prediction_id)
    with _opened(settings, wanted.stream_of(settings), bundles) as it:
        found = explanation(it, wanted, lane)
    document = explanation_document(found, payload=payload)
    typer.echo(json.dumps(document) if as_json else "\n".join(explanation_lines(document)))
    alarming = found.verdict is not None and found.verdict.alarming
    raise typer.Exit(ExitCode.UNEXPLAINED if alarming else ExitCode.OK)


def compare(
    stream: StreamName,
    first: Annotated[str, typer.Argument(metavar="A", help="live, or a lane.")],
    second: Annotated[str, typer.Argument(metavar="B", help="live, or a lane.")],
    since: Since = None,
    until: Until = None,
    offsets: Offsets = None,
    config: ConfigFile = None,
    sets: Sets = None,
    as_json: AsJson = False,
) -> None:
    """Compare what two lanes say of the same events: quantiles, moves between bins, overlap of lists, biggest movers.

    The contract of the bundle that was deployed last says which outputs there are. Publishes and commits nothing.
    """
    from scorer.cli.compare_view import comparison_document, comparison_lines
    from scorer.cli.compare_wiring import comparison
    from scorer.edges.spill import Spill

    settings = load(config, sets).settings
    chosen = settings.stream(stream)
    asked = _asked(since, until, offsets)
    with _opened(settings, chosen, None) as it, Spill() as one, Spill() as other:
        found = comparison(it, (one, other), asked, (first, second))
    document = comparison_document(stream, first, second, found)
    typer.echo(json.dumps(document) if as_json else "\n".join(comparison_lines(document)))


@contextmanager
def _opened(settings: Settings, stream: Stream, bundles: Path | None) -> Iterator[Scene]:
    """What a command works with; a stop ends it as Ctrl+C does."""
    from scorer.cli.stopping import stopped_by_signals
    from scorer.cli.verify_wiring import scene
    from scorer.edges.logs import configure, reporter
    from scorer.services.patience import StoppedError

    configure(settings.log.level, settings.log.format)
    try:
        with scene(settings, stream, bundles, stopped_by_signals(), reporter(stream=stream.name)) as it:
            yield it
    except StoppedError:
        raise KeyboardInterrupt from None


def _asked(since: str | None, until: str | None, offsets: list[str] | None) -> Asked:
    from scorer.core.errors import ConfigError
    from scorer.core.pieces import Asked, parse_spans
    from scorer.edges.clock import SystemClock

    if offsets and (since is not None or until is not None):
        raise ConfigError("--offsets goes without --since and --until")
    since_ms, until_ms = range_ms(since, until, SystemClock().now_ms())
    return Asked(since_ms, until_ms, offsets=parse_spans(offsets) if offsets else None)
