"""Where one prediction comes from, over HTTP: what `scorer explain` says, one question at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request
from starlette.responses import Response

from scorer.core.answers import as_json
from scorer.core.errors import ConfigError, ScorerError
from scorer.edges.web.documents import EXPLAINED
from scorer.edges.web.guard import LET_IN
from scorer.edges.web.problems import ProblemError

EXPLAIN = "explain"
"""The scope: whoever has it sees the event, which is what upstream sent of a person."""
ID_CHARACTERS_MAX = 1_024

Explain = Callable[[str, bool], tuple[Mapping[str, Any], Sequence[str]]]
"""Prediction's id, and whether to show what upstream sent, to what is known of it, for machines and for people.

Raises:
    ConfigError: it is no id, or nothing here knows such predictions.
    ScorerError: it cannot be known now; why.
"""

Id = Annotated[
    str,
    Query(alias="id", min_length=1, max_length=ID_CHARACTERS_MAX, description="MODEL/VERSION/TOPIC/PARTITION/OFFSET."),
]
Payload = Annotated[bool, Query(description="Whether to show what upstream sent.")]
Form = Annotated[Literal["json", "text"], Query(alias="as", description="For machines or for people.")]


def add_explained(app: FastAPI, explain: Explain) -> None:
    """Adds the route. An explanation reads Kafka and scores, so there is one at a time, in a thread of its own."""
    busy = asyncio.Lock()

    async def answer(request: Request, prediction_id: Id, payload: Payload = True, form: Form = "json") -> Response:
        if not request.scope[LET_IN].allows(EXPLAIN):
            raise ProblemError(403, f"this token lacks the scope {EXPLAIN}")
        if busy.locked():
            raise ProblemError(503, "another prediction is being explained", {"retry-after": "2"})
        async with busy:
            try:
                document, lines = await asyncio.to_thread(explain, prediction_id, payload)
            except ConfigError as error:
                raise ProblemError(404, str(error)) from None
            except ScorerError as error:
                raise ProblemError(503, str(error), {"retry-after": "5"}) from None
        headers = {"cache-control": "no-store"}
        if form == "text":
            return Response("\n".join(lines) + "\n", 200, headers, "text/plain")
        return Response(as_json(document), 200, headers, "application/json")

    app.get(
        "/v1/explain",
        summary="Where a prediction comes from, and whether it comes out again",
        operation_id="explain",
        responses=EXPLAINED,
        response_class=Response,
    )(answer)
