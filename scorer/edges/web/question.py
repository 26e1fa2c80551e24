"""What a GET for a prediction asks: its path's id and its query, checked by hand.

FastAPI's own checks take two thirds of a cached answer's time (65 us of 96), so this one route does without them; the
OpenAPI document says the same of it by `documented`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from scorer.edges.web.problems import ProblemError

ENTITY_CHARACTERS_MAX = 512
EVENT_CHARACTERS_MAX = 512
LIMIT_MAX = 1_000
WAIT_MS = 300


@dataclass(frozen=True, slots=True)
class Question:
    """How a prediction is wanted: cut to `limit` items, and the one for the event `after` within `wait_ms`."""

    limit: int | None = None
    after: str | None = None
    wait_ms: int = WAIT_MS


def asked(query: bytes, wait_ms_max: int) -> Question:
    """A query as a question; parameters of other names are passed over.

    Raises:
        ProblemError: a parameter is out of its limits (422).
    """
    if not query:
        return Question()
    try:
        found = dict(parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict"))
    except ValueError:
        raise ProblemError(422, "the query is no percent-encoded UTF-8") from None
    after = found.get("after")
    if after is not None and not 0 < len(after) <= EVENT_CHARACTERS_MAX:
        raise ProblemError(422, f"after: an event_id has 1 to {EVENT_CHARACTERS_MAX} characters")
    limit = _whole(found, "limit", 1, LIMIT_MAX)
    wait_ms = _whole(found, "wait_ms", 0, wait_ms_max)
    return Question(limit, after, min(WAIT_MS, wait_ms_max) if wait_ms is None else wait_ms)


def entity_of(encoded: str) -> str:
    """The id in a path's segment.

    Raises:
        ProblemError: it is no UTF-8 (400) or too long (422).
    """
    try:
        entity = unquote_to_bytes(encoded).decode()
    except UnicodeDecodeError:
        raise ProblemError(400, "the path is no UTF-8") from None
    if len(entity) > ENTITY_CHARACTERS_MAX:
        raise ProblemError(422, f"an id has at most {ENTITY_CHARACTERS_MAX} characters")
    return entity


def documented(entity: str, wait_ms_max: int) -> list[dict[str, Any]]:
    """The same as parameters of an OpenAPI operation."""

    def parameter(name: str, where: str, schema: dict[str, Any], text: str) -> dict[str, Any]:
        return {"name": name, "in": where, "required": where == "path", "schema": schema, "description": text}

    whole = {"type": "integer"}
    return [
        parameter(entity, "path", entity_schema(), "Percent-encoded; a slash as %2F."),
        parameter("limit", "query", {**whole, "minimum": 1, "maximum": LIMIT_MAX}, "Cut lists to so many items."),
        parameter(
            "after",
            "query",
            {"type": "string", "minLength": 1, "maxLength": EVENT_CHARACTERS_MAX},
            "An event_id: wait for the prediction for that very event.",
        ),
        parameter(
            "wait_ms",
            "query",
            {**whole, "minimum": 0, "maximum": wait_ms_max, "default": min(WAIT_MS, wait_ms_max)},
            "How long to wait for `after`, milliseconds.",
        ),
        parameter("If-None-Match", "header", {"type": "string"}, "An ETag: answer 304 if nothing has changed."),
    ]


def entity_schema() -> dict[str, Any]:
    """An id's limits."""
    return {"type": "string", "minLength": 1, "maxLength": ENTITY_CHARACTERS_MAX}


def _whole(found: dict[str, str], name: str, least: int, most: int) -> int | None:
    text = found.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and least <= int(text) <= most):
        raise ProblemError(422, f"{name}: a whole number from {least} to {most}")
    return int(text)
