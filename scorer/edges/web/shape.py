"""An answer as its bytes: the prediction, and before it what changes with the clock and the question."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from scorer.core.answers import Answer, as_json

LISTS_MAX = 500
"""How many predictions the popular list is made from."""


def body_of(answer: Answer, now_ms: int, *, stale: bool, limit: int | None) -> bytes:
    """A prediction as JSON; `limit` cuts its lists."""
    assert answer.body is not None
    body = answer.body if limit is None else _cut(answer.body, limit)
    age_ms = max(0, now_ms - answer.scored_at)
    return b'{"age_ms":%d,"stale":%s,"fallback":false,%b' % (age_ms, b"true" if stale else b"false", body)


def tag_of(answer: Answer, *, stale: bool, limit: int | None) -> str:
    """The ETag. Weak: `age_ms` differs from one answer to the next."""
    return f'W/"{answer.tag}{"s" if stale else ""}{"" if limit is None else f"-{limit}"}"'


def popular_body(
    entity_field: str, entity: str, popular: tuple[int, str, list[Any]], now_ms: int, limit: int | None
) -> bytes:
    """The popular list in the place of a prediction; `popular` is when it was made, the list's field, and the list."""
    made_ms, name, items = popular
    shown = items if limit is None else items[:limit]
    whole = {"age_ms": max(0, now_ms - made_ms), "stale": True, "fallback": True}
    return as_json({**whole, "event_id": None, entity_field: entity, name: shown, "provenance": None})


def popular_of(bodies: Sequence[bytes]) -> tuple[str, list[dict[str, Any]]] | None:
    """What these predictions' lists name most often: the list's field, and as many items as a list has.

    An item is told by its texts; its numbers are the means of those seen. None if predictions of this kind have no list
    of records.
    """
    name, length = "", 0
    seen: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for body in bodies:
        record = json.loads(b"{" + body)
        name = name or next((key for key, value in record.items() if _is_list_of_records(value)), "")
        items = record.get(name)
        if not _is_list_of_records(items):
            continue
        length = max(length, len(items))
        for item in items:
            seen[json.dumps({key: value for key, value in item.items() if isinstance(value, str)})].append(item)
    if not name:
        return None
    # Python's sort keeps the order of first sight among equals, so the answer is the same every time.
    often = sorted(seen.values(), key=len, reverse=True)[:length]
    return name, [_mean(items) for items in often]


def _mean(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    numbers = (int, float)
    return {
        key: sum(item[key] for item in items) / len(items)
        if all(isinstance(item.get(key), numbers) and not isinstance(item.get(key), bool) for item in items)
        else value
        for key, value in items[0].items()
    }


def _is_list_of_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _cut(body: bytes, limit: int) -> bytes:
    record = json.loads(b"{" + body)
    cut = {key: value[:limit] if isinstance(value, list) else value for key, value in record.items()}
    return as_json(cut)[1:]
