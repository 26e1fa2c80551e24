"""What the OpenAPI document says of the answers; schemathesis holds it against the running gateway."""

from __future__ import annotations

from typing import Any

from scorer.edges.web.problems import MEDIA_TYPE, SCHEMA

DESCRIPTION = """Predictions as applications read them: the latest of an entity, the one for an event just sent, or
all as they come. `age_ms` is the time since the prediction was made. `stale` says that the prediction is not the one
that was waited for, `fallback` that it is no prediction at all but what is popular. Errors are problem documents
(RFC 9457)."""

NOT_FOUND = "there is no prediction for this id: none was made yet, or it was erased"

Answers = dict[int | str, dict[str, Any]]


def _problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": {MEDIA_TYPE: {"schema": SCHEMA}}}


COMMON: Answers = {
    400: _problem("The path is no UTF-8, or this is no HTTP."),
    401: _problem("There is no token, or it is wrong or expired."),
    403: _problem("The token lacks the scope. The answer does not depend on the id."),
    413: _problem("The request has a body."),
    414: _problem("The path with its query is too long."),
    421: _problem("The Host is not served here."),
    422: _problem("A parameter is out of its limits."),
    429: _problem("Too many requests with this token; Retry-After says when to come back."),
    431: _problem("The request's head is too long."),
    503: _problem("Too many streams or waiting requests, or the store does not answer; Retry-After says when."),
}
KINDS: Answers = {
    **COMMON,
    200: {
        "description": "The kinds, the field with their ids, and whether this token reads one id and all ids.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["kinds", "explain"],
                    "properties": {
                        "explain": {"type": "boolean", "description": "Whether this token may ask where one is from."},
                        "kinds": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": ["name", "entity", "one", "all"],
                                "properties": {
                                    "name": {"type": "string"},
                                    "entity": {"type": "string"},
                                    "one": {"type": "boolean"},
                                    "all": {"type": "boolean"},
                                },
                            },
                        },
                    },
                }
            }
        },
    },
}
EXPLAINED: Answers = {
    **COMMON,
    200: {
        "description": "All that is known of it, as `scorer explain --json` or `scorer explain` say it.",
        "content": {
            "application/json": {"schema": {"type": "object", "required": ["prediction_id", "verdict", "event"]}},
            "text/plain": {"schema": {"type": "string"}},
        },
    },
    404: _problem("It is no prediction's id, or of a topic that no stream here reads."),
}
_TAGGED = {"ETag": {"schema": {"type": "string"}, "description": "Absent from a fallback."}}


def prediction_answers(entity: str) -> Answers:
    """The answers of a route that gives one prediction."""
    schema = {
        "type": "object",
        "required": ["age_ms", "stale", "fallback", "event_id", entity, "provenance"],
        "properties": {
            "age_ms": {"type": "integer", "minimum": 0, "description": "Since the prediction was made."},
            "stale": {"type": "boolean", "description": "It is not the one for the event that was asked for."},
            "fallback": {"type": "boolean", "description": "It is what is popular, no prediction."},
            "event_id": {"type": ["string", "null"]},
            entity: {"type": "string"},
            "provenance": {"type": ["object", "null"], "description": "Model, event and run; times in ms, UTC."},
        },
        "additionalProperties": True,
    }
    return {
        **COMMON,
        200: {
            "description": "A prediction.",
            "headers": _TAGGED,
            "content": {"application/json": {"schema": schema}},
        },
        304: {"description": "Nothing has changed since that ETag."},
        404: _problem("There is no prediction for this id."),
    }


def stream_answers() -> Answers:
    """The answers of a stream's route."""
    events = (
        "Server-sent events. `prediction`: a prediction as JSON. `erased`: an id whose predictions are deleted. `gap`:"
        " some could not be had. `id` is the position behind the event."
    )
    event = {
        "type": "object",
        "properties": {
            "event": {"enum": ["prediction", "erased", "gap"]},
            "data": {"type": "string", "contentMediaType": "application/json"},
            "id": {"type": "string"},
            "retry": {"type": "integer"},
        },
    }
    # itemSchema is OpenAPI 3.2's for what a stream holds; readers of 3.1 pass it over
    return {**COMMON, 200: {"description": events, "content": {"text/event-stream": {"itemSchema": event}}}}
