"""`scorer dead-letters`: what was rejected, one of them in full, and the way back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from scorer.cli.exits import ExitCode
from scorer.cli.options import AsJson, ConfigFile, Sets, add_command, load
from scorer.cli.places import listed, place_of
from scorer.cli.times import time_ms
from scorer.core.errors import ConfigError

if TYPE_CHECKING:
    from scorer.core.letters import Choice, Letter, Place
    from scorer.services.redrive import Outcome

app = typer.Typer(help="Look at dead letters, and score them again.", no_args_is_help=True, rich_markup_mode=None)

ATTEMPTS_MAX = 3
UNITS_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
PROGRESS_MS = 1_000

Since = Annotated[
    str | None, typer.Option("--since", metavar="AGO|TIME", help="Not older than 30m, 1h, 7d or 2026-11-23T06:00 UTC.")
]
Reason = Annotated[str, typer.Option("--reason", metavar="CODE", help="Only this reason, as in out_of_range.")]
Event = Annotated[bool, typer.Option("--event", help="Positions are the events', in the input topic.")]


def list_(
    stream: Annotated[str | None, typer.Argument(help="Stream of the settings; all by default.")] = None,
    since: Since = None,
    reason: Reason = "",
    positions: Annotated[
        bool, typer.Option("--positions", help="One line per record instead of counts; redrive --file reads them.")
    ] = False,
    config: ConfigFile = None,
    sets: Sets = None,
    as_json: AsJson = False,
) -> None:
    """Count dead letters by reason, stage, stream, model and time. Belongs to no group and commits nothing."""
    from scorer.cli.letters_view import count_lines, counts, record_document, record_line
    from scorer.cli.letters_wiring import topics
    from scorer.cli.stopping import stopped_by_signals
    from scorer.core.letters import Choice
    from scorer.edges.logs import configure, reporter

    settings = load(config, sets).settings
    chosen = [settings.stream(stream)] if stream else list(settings.streams)
    choice = Choice(stream or "", reason, _since_ms(since))
    configure(settings.log.level, settings.log.format)
    found: list[Letter] = []
    foreign = 0
    with topics(settings, stopped_by_signals(), reporter()) as reading:
        for topic in sorted({each.dead_letters for each in chosen}):
            letters, others = reading.letters(topic)
            found += letters
            foreign += others
        _not_stopped(reading.stop.is_set())
    if positions:
        for each in choice.of(found):
            typer.echo(json.dumps(record_document(each)) if as_json else record_line(each))
        return
    document = counts([each for each in found if choice.takes(each)], foreign)
    typer.echo(json.dumps(document) if as_json else "\n".join(count_lines(document)))


def show(
    stream: Annotated[str, typer.Argument(help="Stream of the settings.")],
    position: Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help="Where the dead letter is.")],
    event: Event = False,
    payload: Annotated[bool, typer.Option("--payload/--no-payload", help="Whether to show what upstream sent.")] = True,
    config: ConfigFile = None,
    sets: Sets = None,
    as_json: AsJson = False,
) -> None:
    """Show one dead letter: why, and its record decoded as far as it goes, the rest in hex.

    Payload is personal data as a rule: --no-payload leaves it out.
    """
    from scorer.cli.letters_view import letter_document, letter_lines
    from scorer.cli.letters_wiring import examine, find, topics
    from scorer.cli.stopping import stopped_by_signals
    from scorer.core.records import REASONS
    from scorer.edges.logs import configure, reporter

    settings = load(config, sets).settings
    chosen = settings.stream(stream)
    place = place_of(position)
    configure(settings.log.level, settings.log.format)
    report = reporter(stream=stream)
    with topics(settings, stopped_by_signals(), report) as reading:
        found = find(reading, chosen, place, is_event=event)
        _not_stopped(reading.stop.is_set())
        if found is None:
            topic = chosen.from_topic if event else chosen.dead_letters
            raise ConfigError(f"there is no dead letter {'of' if event else 'at'} {topic} {position}")
        examined = examine(settings, reading, *found, report)
        _not_stopped(reading.stop.is_set())
    meaning = REASONS.get(found[0].reason, "a reason that this version does not know")
    document = letter_document(examined, meaning, payload=payload)
    typer.echo(json.dumps(document) if as_json else "\n".join(letter_lines(document)))


def redrive(
    stream: Annotated[str, typer.Argument(help="Stream of the settings.")],
    positions: Annotated[
        list[str] | None, typer.Argument(metavar="[PARTITION:OFFSET]...", help="Dead letters; all by default.")
    ] = None,
    event: Event = False,
    reason: Reason = "",
    since: Since = None,
    file: Annotated[
        str | None, typer.Option("--file", metavar="PATH", help="Positions, the first word of each line; - is stdin.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many would now pass.")] = False,
    attempts_max: Annotated[
        int, typer.Option("--attempts-max", min=1, help="Refuse records whose redrive has failed so often.")
    ] = ATTEMPTS_MAX,
    force: Annotated[bool, typer.Option("--force", help="Refuse none.")] = False,
    config: ConfigFile = None,
    sets: Sets = None,
    as_json: AsJson = False,
) -> None:
    """Score dead letters again, with the bundle and the schemas as they are now, and publish what passes.

    Predictions have the ids that the live run would have given, so a repeat does no harm. What fails again becomes a
    new dead letter. Exit code 5 if any record is left without a prediction. Nothing is written to the input topic.
    """
    from scorer.cli import letters_wiring as wiring
    from scorer.cli.letters_view import outcome_document, outcome_lines
    from scorer.cli.stopping import stopped_by_signals
    from scorer.core.letters import Choice
    from scorer.edges.logs import configure, reporter
    from scorer.services.patience import StoppedError

    settings = load(config, sets).settings
    chosen = settings.stream(stream)
    named = frozenset(place_of(each) for each in [*(positions or []), *listed(file)])
    nothing: frozenset[Place] = frozenset()
    choice = Choice(stream, reason, _since_ms(since), *((nothing, named) if event else (named, nothing)))
    configure(settings.log.level, settings.log.format)
    report, stop = reporter(stream=stream), stopped_by_signals()
    if (positions or file) and not named:
        raise ConfigError(f"{file} names no position")
    with wiring.topics(settings, stop, report) as reading:
        letters = _meant(reading.letters(chosen.dead_letters)[0], choice, chosen.from_topic)
        _not_stopped(stop.is_set())
        try:
            outcome = wiring.redrive(
                settings,
                chosen,
                reading,
                letters,
                attempts_max=None if force else attempts_max,
                dry_run=dry_run,
                report=report,
                progress=_progress(len(letters)),
            )
        except StoppedError:
            raise KeyboardInterrupt from None
    document = outcome_document(stream, outcome, dry_run=dry_run)
    typer.echo(json.dumps(document) if as_json else "\n".join(outcome_lines(document)))
    if outcome.refused:
        count = outcome.refused.total()
        typer.echo(f"{count} refused: {attempts_max} redrives of each have failed; --force tries them again", err=True)
    raise typer.Exit(ExitCode.OK if outcome.all_passed else ExitCode.REJECTED)


add_command(
    app,
    list_,
    "scorer dead-letters list",
    "scorer dead-letters list lead --since 1h --json",
    "scorer dead-letters list lead --reason unknown_schema --positions",
)
add_command(
    app,
    show,
    "scorer dead-letters show lead 2:17",
    "scorer dead-letters show lead 0:5012 --event --no-payload",
)
add_command(
    app,
    redrive,
    "scorer dead-letters redrive lead --dry-run",
    "scorer dead-letters redrive lead --reason unknown_schema --since 7d",
    "scorer dead-letters redrive lead 2:17 2:18",
)


def _meant(letters: list[Letter], choice: Choice, topic: str) -> list[Letter]:
    lacking = choice.lacking(letters)
    if lacking:
        shown = ", ".join(f"{partition}:{offset}" for partition, offset in lacking[:5])
        raise ConfigError(
            f"there is no dead letter of stream {choice.stream} at {shown}; see: scorer dead-letters list"
        )
    found = choice.of(letters)
    meant = [each for each in found if each.topic == topic]
    if len(meant) < len(found):
        typer.echo(f"{len(found) - len(meant)} left out: the stream does not read their topic any more", err=True)
    return meant


def _since_ms(text: str | None) -> int:
    """Milliseconds since the epoch of a time, or of so long ago."""
    if text is None:
        return 0
    from scorer.edges.clock import SystemClock

    return time_ms("--since", text, SystemClock().now_ms())


def _not_stopped(stopped: bool) -> None:
    """Ends the command as Ctrl+C does, where a signal has ended its reading early."""
    if stopped:
        raise KeyboardInterrupt


def _progress(count: int) -> Callable[[Outcome], None]:
    """Says on stderr how far it is, once a second at most."""
    from scorer.edges.clock import SystemClock

    clock = SystemClock()
    due_ms = clock.ticks_ms() + PROGRESS_MS

    def say(outcome: Outcome) -> None:
        nonlocal due_ms
        if clock.ticks_ms() >= due_ms:
            due_ms = clock.ticks_ms() + PROGRESS_MS
            typer.echo(f"{outcome.done:,} of {count:,} records, {outcome.passed.total():,} passed", err=True)

    return say
