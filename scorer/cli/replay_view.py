"""What a replay says, for people and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import typer

from scorer.cli.times import time_text
from scorer.core.pieces import Piece

if TYPE_CHECKING:
    from scorer.cli.lanes import Lane
    from scorer.cli.replay_plan import Plan
    from scorer.core.ports import Clock

PROGRESS_MS = 1_000


def plan_document(lane: Lane, plan: Plan) -> dict[str, Any]:
    """What is to be done, per partition."""
    ranges = []
    for partition, (first, end) in sorted(plan.piece.ranges.items()):
        bundles = [
            {"first_offset": start, "model": bundle.label, "sha256": bundle.sha256}
            for start, bundle in plan.turns.get(partition, ())
        ]
        own = {"partition": partition, "first_offset": first, "end_offset": end, "offsets": end - first}
        if plan.piece.positions is not None:
            own["records"] = len(plan.piece.positions.get(partition, ()))
        ranges.append({**own, "bundles": bundles})
    return {
        "stream": lane.live.name,
        "lane": lane.name,
        "source": lane.live.from_topic,
        "topic": lane.stream.to_topic,
        "dead_letters": lane.stream.dead_letters,
        "asked": plan.replay.asked,
        "begun_at_ms": plan.replay.said_ms,
        "ranges": ranges,
        "offsets": plan.piece.offsets,
        "records_max": plan.piece.records,
        "notes": plan.notes,
    }


def plan_lines(document: Mapping[str, Any]) -> list[str]:
    """The same, for people."""
    lines = [f"{document['stream']}: {document['asked']}", f"  from {document['source']} into {document['topic']}"]
    for each in document["ranges"]:
        where = f"  partition {each['partition']}"
        if not each["offsets"]:
            lines.append(f"{where}: nothing, from offset {each['first_offset']} on")
            continue
        count = f"{each['records']:,} records" if "records" in each else f"{each['offsets']:,} offsets"
        lines.append(f"{where}: {each['first_offset']} to {each['end_offset'] - 1}, {count}")
        lines += [
            f"    from {bundle['first_offset']} on with {bundle['model']} ({bundle['sha256'][:12]})"
            for bundle in each["bundles"]
        ]
    lines.append(f"  {document['records_max']:,} records at most")
    return lines + [f"  {note}" for note in document["notes"]]


def done_line(document: Mapping[str, Any]) -> str:
    """How it went, for people."""
    rejected = f"; some were rejected, see {document['dead_letters']}" if document["rejected"] else ""
    if not document["offsets_now"]:
        begun = time_text(document["begun_at_ms"])
        advice = "For the same words as of now, give another --lane"
        return f"complete already: {document['topic']}, begun at {begun}{rejected}. {advice}"
    took = f"{document['offsets_now']:,} offsets in {document['seconds']:.1f} s, {document['rate_per_s']:,.0f}/s"
    return f"complete: {document['topic']} ({took}){rejected}"


def progress(piece: Piece, clock: Clock) -> Callable[[Mapping[int, int]], None]:
    """Says on stderr how far the group is and when it is done, once a second at most."""
    began_ms, due_ms = clock.ticks_ms(), clock.ticks_ms() + PROGRESS_MS
    whole, first_left = piece.offsets, -1

    def say(committed: Mapping[int, int]) -> None:
        nonlocal due_ms, first_left, began_ms
        left, now_ms = piece.left(committed), clock.ticks_ms()
        if first_left < 0 or left == first_left:  # until the group has come together, nothing moves
            first_left, began_ms = left, now_ms
        if now_ms < due_ms:
            return
        due_ms = now_ms + PROGRESS_MS
        rate = 1000 * (first_left - left) / max(1.0, now_ms - began_ms)
        text = f"{whole - left:,} of {whole:,} offsets, {rate:,.0f}/s"
        if rate > 0 and left:
            at = datetime.fromtimestamp(clock.now_ms() / 1000, UTC) + timedelta(seconds=left / rate)
            text += f", done at about {at:%H:%M:%S} UTC, in {left / rate:,.0f} s"
        typer.echo(text, err=True)

    return say
