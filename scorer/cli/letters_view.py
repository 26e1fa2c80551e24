"""Dead letters as people and machines read them: counts, one letter in full, and what a redrive came to.

What came from outside is printed with its unprintable characters escaped, so that no payload drives a terminal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scorer.cli.letters_wiring import Found
    from scorer.core.letters import Letter, Place
    from scorer.services.redrive import Outcome

HOUR_MS = 3_600_000
HOURS_MAX = 48
"""A longer time is counted by day."""
TIME_MS_MAX = 253_402_300_799_999
HEX_ROW = 16
HEX_BYTES_MAX = 4096
"""How much of an undecoded rest people are shown."""


def place_text(place: Place) -> str:
    """PARTITION:OFFSET."""
    return f"{place[0]}:{place[1]}"


def time_text(ms: int) -> str:
    """A time in UTC, to the second."""
    return datetime.fromtimestamp(min(max(ms, 0), TIME_MS_MAX) / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def plain(text: str) -> str:
    """The text with everything escaped that a terminal might act on."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def counts(letters: Sequence[Letter], foreign: int) -> dict[str, Any]:
    """How many there are by reason, stage, stream, model and time; the most frequent first, times in order."""
    times = [letter.rejected_at_ms for letter in letters]
    first, last = min(times, default=0), max(times, default=0)
    by_hour = last - first <= HOURS_MAX * HOUR_MS
    length = len("2026-01-01T00" if by_hour else "2026-01-01")
    return {
        "letters": len(letters),
        "records": len({(letter.topic, letter.source) for letter in letters}),
        "foreign": foreign,
        "first": time_text(first) if times else None,
        "last": time_text(last) if times else None,
        "by_reason": _ranked(letter.reason for letter in letters),
        "by_stage": _ranked(letter.stage for letter in letters),
        "by_stream": _ranked(letter.stream for letter in letters),
        "by_model": _ranked(letter.model for letter in letters),
        "by_hour" if by_hour else "by_day": dict(sorted(Counter(time_text(each)[:length] for each in times).items())),
    }


def count_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The counts for people."""
    head = f"{found['letters']:,} dead letters of {found['records']:,} records"
    yield head + (f", {found['first']} to {found['last']}" if found["letters"] else "")
    if found["foreign"]:
        yield f"{found['foreign']:,} more records in the topic are not the scorer's"
    for name, table in found.items():
        if name.startswith("by_") and table:
            yield f"\n{name.removeprefix('by_')}"
            yield from (f"{count:>10,}  {plain(key) or '-'}" for key, count in table.items())


def record_document(letter: Letter) -> dict[str, Any]:
    """What a letter says, in one line."""
    return {
        "letter": place_text(letter.place),
        "event": place_text(letter.source),
        "topic": letter.topic,
        "rejected_at": time_text(letter.rejected_at_ms),
        "stream": letter.stream,
        "stage": letter.stage,
        "reason": letter.reason,
        "detail": letter.detail,
        "model": letter.model,
        "attempts": letter.attempts,
        "value_bytes": letter.value_bytes,
    }


def record_line(letter: Letter) -> str:
    """The same for people and for `redrive --file`, which reads the first word."""
    attempts = f"  tried again {letter.attempts}x" if letter.attempts else ""
    told = (letter.stream, letter.stage, letter.reason, letter.model)
    return plain(
        f"{place_text(letter.place)}  {letter.topic} {place_text(letter.source)}  {time_text(letter.rejected_at_ms)}  "
        f"{'  '.join(told)}{attempts}"
    )


def letter_document(found: Found, reason_in_words: str, *, payload: bool) -> dict[str, Any]:
    """One letter in full; without `payload`, nothing of key, value and the record's own headers."""
    letter, taken = found.letter, found.dissection
    own = found.content.headers[: letter.headers]
    document: dict[str, Any] = {
        **record_document(letter),
        "meaning": reason_in_words,
        "group": letter.group,
        "timestamp": time_text(found.content.timestamp),
        "source_holds_it": found.retained,
        "schema_id": found.schema_id,
        "undecoded": found.undecoded,
        "headers": len(own),
        "key_bytes": None if found.content.key is None else len(found.content.key),
    }
    if taken is not None:
        document |= {"stopped_at": taken.stopped_at, "stopped_in": taken.path, "stopped_why": taken.why}
    if payload:
        value = found.value or b""
        rest = value if taken is None else value[taken.stopped_at :] if taken.why else b""
        document["payload"] = {
            "key": shown(found.content.key),
            "headers": [[name, shown(text)] for name, text in own],
            "fields": [[part.start, part.path, part.kind, shown(part.value)] for part in taken.parts] if taken else [],
            "fields_omitted": taken.omitted if taken else 0,
            "rest_at": len(value) - len(rest),
            "rest": rest.hex(),
        }
    return document


def letter_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """One letter for people."""
    from json import dumps

    tried = f", tried again {document['attempts']} times" if document["attempts"] else ""
    held = "still holds it" if document["source_holds_it"] else "does not hold it any more"
    head = {
        "dead letter": f"{document['letter']} of {document['rejected_at']}{tried}",
        "event": f"{document['topic']} {document['event']} of {document['timestamp']}; the topic {held}",
        "rejected": f"{document['stage']}, {document['reason']}: {document['meaning']}",
        "detail": document["detail"],
        "by": f"{document['group']} with {document['model']}",
        "value": f"{document['value_bytes']} bytes, "
        + ("not framed" if document["schema_id"] is None else f"schema id {document['schema_id']}"),
    }
    yield from (f"{name:<12} {plain(text)}" for name, text in head.items() if text)
    yield f"{'decoded':<12} {plain(_verdict(document))}"
    payload = document.get("payload")
    if payload is None:
        return
    yield f"{'key':<12} {dumps(payload['key'])}"
    yield from (f"{'header':<12} {dumps(name)}: {dumps(text)}" for name, text in payload["headers"])
    yield from (f"{at:>10}  {plain(path)}  {kind}  {dumps(value)}" for at, path, kind, value in payload["fields"])
    if payload["fields_omitted"]:
        yield f"{'...':>10}  {payload['fields_omitted']} more values"
    yield from _hex_lines(bytes.fromhex(payload["rest"]), payload["rest_at"])


def outcome_document(stream: str, outcome: Outcome, *, dry_run: bool) -> dict[str, Any]:
    """What a redrive came to, in all and by the reason that the records had been rejected for."""
    reasons = {*outcome.passed, *outcome.lost, *outcome.refused, *(old for old, _ in outcome.rejected)}
    return {
        "stream": stream,
        "dry_run": dry_run,
        "records": outcome.done,
        "passed": outcome.passed.total(),
        "rejected": outcome.rejected.total(),
        "lost": outcome.lost.total(),
        "refused": outcome.refused.total(),
        "from_source": outcome.from_source,
        "from_letters": outcome.from_letters,
        "by_reason": {
            reason: {
                "passed": outcome.passed[reason],
                "rejected": {new: count for (old, new), count in sorted(outcome.rejected.items()) if old == reason},
                "lost": outcome.lost[reason],
                "refused": outcome.refused[reason],
            }
            for reason in sorted(reasons)
        },
    }


def outcome_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """The same for people."""
    would = "would pass" if document["dry_run"] else "passed"
    yield f"{document['stream']}: {document['records']:,} records, {document['passed']:,} {would}"
    for reason, each in document["by_reason"].items():
        parts = [f"{each['passed']:,} {would}"]
        parts += [f"{count:,} rejected again: {plain(new)}" for new, count in each["rejected"].items()]
        parts += [f"{each['lost']:,} lost: their bytes are in neither topic"] if each["lost"] else []
        parts += [f"{each['refused']:,} refused: tried too often"] if each["refused"] else []
        yield f"  {plain(reason)}: {'; '.join(parts)}"


def _verdict(document: Mapping[str, Any]) -> str:
    if document["undecoded"]:
        return f"no: {document['undecoded']}"
    if document["stopped_why"]:
        where = f" in {document['stopped_in']}" if document["stopped_in"] else ""
        return f"up to byte {document['stopped_at']}{where}: {document['stopped_why']}"
    return "whole"


def _hex_lines(value: bytes, first: int) -> Iterator[str]:
    for at in range(0, min(len(value), HEX_BYTES_MAX), HEX_ROW):
        row = value[at : at + HEX_ROW]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"{first + at:>10}  {row.hex(' '):<{HEX_ROW * 3}} {text}"
    if len(value) > HEX_BYTES_MAX:
        yield f"{'...':>10}  {len(value) - HEX_BYTES_MAX} more bytes; --json has them all"


def shown(value: Any, of_bytes: Callable[[bytes], Any] | None = None) -> Any:
    """A value as JSON has it: bytes as text where they are any, else in hex; a number that JSON lacks as a word.

    Args:
        value: it, with what it holds.
        of_bytes: what bytes are to be instead.
    """
    if isinstance(value, (list, tuple)):
        return [shown(each, of_bytes) for each in value]
    if isinstance(value, dict):
        return {name: shown(each, of_bytes) for name, each in value.items()}
    if isinstance(value, bytes):
        return (of_bytes or _text_or_hex)(value)
    return str(value) if isinstance(value, float) and value - value != 0 else value


def _text_or_hex(value: bytes) -> Any:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"hex": value.hex()}


def _ranked(words: Iterator[str]) -> dict[str, int]:
    return dict(sorted(Counter(words).items(), key=lambda pair: (-pair[1], pair[0])))
