"""What a replay says, for people and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scorer.cli.times import time_text

if TYPE_CHECKING:
    from scorer.cli.lanes import Lane
    from scorer.cli.replay_plan import Plan


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
