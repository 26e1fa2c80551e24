"""`scorer deploy`, `rollback`, `deployments`: which bundle is to be live on a stream, and which was since when."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scorer.cli.letters_view import plain
from scorer.cli.options import AsJson, ConfigFile, Sets, load
from scorer.core.errors import ConfigError

if TYPE_CHECKING:
    from scorer.cli.settings import Settings
    from scorer.core.deployments import Entry, Identity, Intent
    from scorer.core.ports import Report

StreamName = Annotated[str, typer.Argument(help="Stream of the settings.")]
Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="For whoever asks later why this was done.")]


def deploy(
    stream: StreamName,
    bundle: Annotated[str, typer.Argument(help="Folder or URL of the bundle, as the workers find it.")],
    at: Annotated[
        str, typer.Option("--at", metavar="now|TIME", help="Live from the first record on that is not older.")
    ] = "now",
    why: Why = "",
    config: ConfigFile = None,
    sets: Sets = None,
    as_json: AsJson = False,
) -> None:
    """Make a bundle live on a stream, while it runs: at a record boundary, without a gap.

    The bundle is proved here first. Each worker loads it, proves it again and swaps; one that cannot stays with the
    old one and says so. `scorer deployments` shows since which record it is live.
    """
    from scorer.cli.rollout_wiring import intent_for
    from scorer.cli.wiring import recipe_of
    from scorer.edges.bundles import read_bundle
    from scorer.edges.locations import as_location

    settings, chosen, report = _surroundings(stream, config, sets)
    place = as_location(bundle)
    found = read_bundle(place)
    effective_ms = _effective_ms(at)
    registry = _registry(settings, report)
    recipe_of(settings, chosen, registry, found)
    intent = intent_for(settings, chosen, found, place, why, effective_ms)
    _give(settings, intent, registry, report, as_json)


def rollback(
    stream: StreamName,
    why: Why = "",
    config: ConfigFile = None,
    sets: Sets = None,
    as_json: AsJson = False,
) -> None:
    """Go back to the bundle that was deployed before the present one."""
    from dataclasses import replace

    from scorer.cli.rollout_wiring import group_of, whoami
    from scorer.core.deployments import Intent
    from scorer.edges.clock import SystemClock

    settings, chosen, report = _surroundings(stream, config, sets)
    registry = _registry(settings, report)
    group = group_of(settings, chosen)
    intents = [each for each in _read(settings, registry, report) if isinstance(each, Intent) and each.group == group]
    earlier = [each for each in intents if each.bundle != intents[-1].bundle]
    if not earlier:
        raise ConfigError(f"{stream} has had no other bundle to go back to; see: scorer deployments {stream}")
    reason = why or f"rollback from {intents[-1].bundle.label}"
    now_ms = SystemClock().now_ms()
    intent = replace(earlier[-1], who=whoami(), why=reason, said_ms=now_ms, effective_ms=None, number=-1)
    _give(settings, intent, registry, report, as_json)


def deployments(
    stream: Annotated[str | None, typer.Argument(help="Stream of the settings; all by default.")] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    as_json: AsJson = False,
) -> None:
    """Show what was deployed, by whom, when and why, and what is live since which record of which partition."""
    from scorer.cli.rollout_wiring import group_of

    settings, _, report = _surroundings(stream, config, sets)
    streams = [settings.stream(stream)] if stream else list(settings.streams)
    groups = {group_of(settings, each) for each in streams}
    entries = [each for each in _read(settings, _registry(settings, report), report) if _concerns(each, groups)]
    if as_json:
        typer.echo(json.dumps([_document(each) for each in entries]))
        return
    for each in entries:
        typer.echo(plain(_line(each)))
    if not entries:
        typer.echo("no deployments yet: a worker that starts makes the bundle of its settings the first one")


def _concerns(entry: Entry, groups: set[str]) -> bool:
    """Whether an entry is of one of these streams; a replay has a group of its own, named after its stream's."""
    return entry.group in groups or any(entry.group.startswith(f"{group}.") for group in groups)


def _surroundings(stream: str | None, config: Path | None, sets: list[str] | None) -> tuple[Settings, Any, Report]:
    from scorer.edges.logs import configure, reporter

    settings = load(config, sets).settings
    configure(settings.log.level, settings.log.format)
    return settings, settings.stream(stream) if stream else None, reporter()


def _registry(settings: Settings, report: Report) -> Any:
    from scorer.cli.wiring import open_registry

    return open_registry(settings, report)


def _effective_ms(at: str) -> int | None:
    from scorer.cli.times import time_ms
    from scorer.edges.clock import SystemClock

    if at == "now":
        return None
    now_ms = SystemClock().now_ms()
    found = time_ms("--at", at, now_ms)
    if found <= now_ms:
        raise ConfigError(f"--at {at} is past: what was scored stays as it was; for that range use: scorer replay")
    return found


def _read(settings: Settings, registry: Any, report: Report) -> list[Entry]:
    """Every entry that is there now."""
    from scorer.cli.rollout_wiring import read_entries
    from scorer.cli.stopping import stopped_by_signals

    stop = stopped_by_signals()
    found = read_entries(settings, registry, stop, report)
    if stop.is_set():
        raise KeyboardInterrupt
    return found


def _give(settings: Settings, intent: Intent, registry: Any, report: Report, as_json: bool) -> None:
    """Publishes an intent and waits until it is confirmed."""
    from scorer.cli.rollout_wiring import publish_entry

    publish_entry(settings, intent, registry, report)
    typer.echo(json.dumps(_document(intent)) if as_json else f"deployed: {_line(intent)}")


def _document(entry: Entry) -> dict[str, Any]:
    from scorer.core.deployments import Intent
    from scorer.core.replays import Replay

    said = {"who": entry.who, "said_at_ms": entry.said_ms}
    if isinstance(entry, Replay):
        name, version, sha256 = entry.model
        bundle = {"model": f"{name}/{version}", "sha256": sha256} if sha256 else {"model": None, "sha256": None}
        ranges = [
            {"partition": p, "first_offset": own[0], "end_offset": own[1]} for p, own in entry.piece.ranges.items()
        ]
        own = {"kind": entry.kind, "stream": entry.stream, "lane": entry.lane, **bundle, **said}
        return {**own, "asked": entry.asked, "topic": entry.source_topic, "ranges": ranges}
    own = {"stream": entry.stream, "model": entry.bundle.label, "sha256": entry.bundle.sha256, **said}
    if isinstance(entry, Intent):
        return {"kind": "intent", **own, "why": entry.why, "place": entry.place, "effective_at_ms": entry.effective_ms}
    place = {"topic": entry.source_topic, "partition": entry.partition, "first_offset": entry.first_offset}
    return {"kind": "activated", **own, **place, "intent": entry.intent}


def _line(entry: Entry) -> str:
    from scorer.cli.times import time_text
    from scorer.core.deployments import Intent
    from scorer.core.replays import PROMOTION, PROMOTION_BEGUN, REPLAY_DONE, Replay

    other = {
        REPLAY_DONE: "is complete",
        PROMOTION_BEGUN: "begins to be copied to the live topic",
        PROMOTION: "was copied to the live topic",
    }
    head = f"{time_text(entry.said_ms)}  {entry.stream}"
    if isinstance(entry, Replay):
        if entry.kind in other:
            return f"{head}  lane {entry.lane} {other[entry.kind]}, by {entry.who}"
        model = "{}/{}".format(*entry.model[:2]) if entry.model[2] else "what was live"
        return f"{head}  replay into lane {entry.lane} with {model}, by {entry.who}: {entry.asked}"
    head += f"  {_named(entry.bundle)}"
    if isinstance(entry, Intent):
        since = "now" if entry.effective_ms is None else time_text(entry.effective_ms)
        return f"{head}  to be live from {since}, by {entry.who}" + (f": {entry.why}" if entry.why else "")
    return f"{head}  live on {entry.source_topic}/{entry.partition} from offset {entry.first_offset}, by {entry.who}"


def _named(bundle: Identity) -> str:
    return f"{bundle.label} ({bundle.sha256[:12]})"
