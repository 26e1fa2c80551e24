"""A verification as people and machines read it. No payload: of predictions alone the outputs that differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from scorer.cli.letters_view import plain, shown
from scorer.core.verdicts import CAUSES, Level

if TYPE_CHECKING:
    from scorer.core.account import Account, Example
    from scorer.services.gathering import Gathering


def range_lines(gathering: Gathering) -> Iterator[str]:
    """What is going to be looked at."""
    for partition, (first, end) in sorted(gathering.range.spans.items()):
        yield f"{gathering.topic}/{partition}: offsets {first} to {end - 1}"
    yield f"{gathering.range.events:,} offsets" + (
        f"; {gathering.range.pending:,} more are not committed yet" if gathering.range.pending else ""
    )


def account_document(stream: str, output: str, gathering: Gathering, account: Account) -> dict[str, Any]:
    """All that was found."""
    spans = gathering.range.spans
    return {
        "stream": stream,
        "lane": gathering.lane,
        "topic": gathering.topic,
        "output": output,
        "range": {str(partition): [first, end] for partition, (first, end) in sorted(spans.items())},
        "pending": gathering.range.pending,
        "lost": account.lost,
        "events": _ranked(account.events),
        "predictions": sum(account.levels[each] for each in Level if each is not Level.MISSING),
        "levels": {each.value: account.levels[each] for each in Level},
        "causes": {each.value: count for each, count in account.causes.most_common()},
        "models": _ranked(account.models),
        "builds": _ranked(account.builds),
        "repeats": account.repeats,
        "skipped": _ranked(account.skipped),
        "examples": {cause.value: [_example(each) for each in found] for cause, found in account.examples.items()},
        "clean": account.clean,
    }


def account_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """The same for people."""
    events = document["events"]
    yield f"{document['topic']} against {document['output']}, lane {document['lane']}"
    yield f"{sum(events.values()):,} events: " + (
        ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in events.items()) or "none"
    )
    if document["pending"]:
        yield f"{document['pending']:,} offsets behind them are not committed yet, and not judged"
    if document["lost"]:
        yield f"{document['lost']:,} offsets before them had expired before they were scored"
    yield f"{document['predictions']:,} predictions"
    whole = max(1, document["predictions"])
    for level, count in document["levels"].items():
        if count or level == Level.EQUAL:
            yield f"{count:>12,}  {level.replace('_', ' ')}" + (
                f" ({100 * count / whole:.4g} %)" if level == Level.EQUAL else ""
            )
    if document["repeats"]:
        yield f"{document['repeats']:>12,}  repeats of these, the same"
    for name, count in document["skipped"].items():
        yield f"{count:>12,}  left out: {name.replace('_', ' ')}"
    for title in ("models", "builds"):
        yield from (f"{count:>12,}  by {plain(name)}" for name, count in document[title].items())
    meanings = {cause.value: meaning for cause, meaning in CAUSES.items()}
    for cause, count in document["causes"].items():
        yield f"\n{cause}: {count:,}; {meanings[cause]}"
        for each in document["examples"].get(cause, []):
            at = f" at {document['output']} {each['at']}" if each["at"] else ""
            yield f"  {plain(each['prediction_id'])}{at}: {each['level'].replace('_', ' ')}, {plain(each['why'])}"
            for name, (published, again) in each["fields"].items():
                yield f"    {name}: published {plain(str(published))}, now {plain(str(again))}"
    yield ""
    yield "nothing is left unexplained" if document["clean"] else "somebody has to look at this"


def _example(example: Example) -> dict[str, Any]:
    verdict = example.verdict
    return {
        "prediction_id": example.prediction_id,
        "at": example.place,
        "level": verdict.level.value,
        "why": verdict.why,
        "fields": {name: shown(values) for name, values in example.values.items()},
    }


def _ranked(counts: Counter[str]) -> dict[str, int]:
    return dict(counts.most_common())
