"""A comparison of two lanes as people and machines read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from scorer.cli.letters_view import plain

if TYPE_CHECKING:
    from scorer.core.comparison import Comparison


def comparison_document(stream: str, first: str, second: str, found: Comparison) -> dict[str, Any]:
    """All that was found."""
    return {
        "stream": stream,
        "lanes": [first, second],
        "models": [dict(each.most_common()) for each in found.models],
        "events": {"both": found.both, first: found.first_alone, second: found.second_alone},
        "numbers": {
            name: {
                "same": each.same,
                "quantiles": [list(row) for row in each.quantiles()],
                "movers": [list(row) for row in each.movers],
            }
            for name, each in found.numbers.items()
        },
        "moves": {
            name: {
                "labels": found.labels(name),
                "matrix": [[moves[one, other] for other in found.labels(name)] for one in found.labels(name)],
            }
            for name, moves in found.moves.items()
        },
        "lists": {
            name: {"overlap_at_10": each.overlap / each.events, "same": each.same, "events": each.events}
            for name, each in found.lists.items()
        },
    }


def comparison_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """The same for people."""
    first, second = document["lanes"]
    events = document["events"]
    yield f"{events['both']:,} events in both, {events[first]:,} in {first} alone, {events[second]:,} in {second} alone"
    for lane, models in zip((first, second), document["models"], strict=True):
        yield f"{lane}: " + (", ".join(f"{count:,} by {plain(name)}" for name, count in models.items()) or "nothing")
    whole = max(1, events["both"])
    for name, each in document["numbers"].items():
        yield f"\n{name}: {each['same']:,} the same ({100 * each['same'] / whole:.4g} %)"
        yield f"  {'quantile':>10} {first:>14} {second:>14}"
        yield from (f"  {at:>10} {one:>14.7g} {other:>14.7g}" for at, one, other in each["quantiles"])
        yield from (f"  {plain(key)}: {one:.7g} to {other:.7g}" for key, one, other in each["movers"])
    for name, each in document["moves"].items():
        stayed = sum(row[at] for at, row in enumerate(each["matrix"]))
        yield f"\n{name}: {stayed:,} stay; rows are {first}, columns {second}"
        yield "  " + f"{'':>10}" + "".join(f"{plain(label):>10}" for label in each["labels"])
        for label, row in zip(each["labels"], each["matrix"], strict=True):
            yield "  " + f"{plain(label):>10}" + "".join(f"{count:>10,}" for count in row)
    for name, each in document["lists"].items():
        yield f"\n{name}: overlap@10 {each['overlap_at_10']:.4f}, {each['same']:,} of {each['events']:,} the same"
