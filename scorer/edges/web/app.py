"""The gateway's routes: a prediction, streams of them, what there is to read, the page, the OpenAPI document."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import FastAPI, Header, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from scorer.core.answers import Answer, as_json
from scorer.core.errors import TransientError
from scorer.edges.web.documents import DESCRIPTION, KINDS, NOT_FOUND, prediction_answers, stream_answers
from scorer.edges.web.expected import CrowdedError
from scorer.edges.web.explained import EXPLAIN, Explain, add_explained
from scorer.edges.web.guard import LET_IN
from scorer.edges.web.live import LiveKind
from scorer.edges.web.page import add_page
from scorer.edges.web.popular import Popular
from scorer.edges.web.problems import ProblemError, problem
from scorer.edges.web.question import asked, documented, entity_of
from scorer.edges.web.shape import body_of, popular_body, tag_of
from scorer.edges.web.streams import StreamResponse, Streams
from scorer.edges.web.tokens import ALL, Authority, Token

BACK_MAX = 100
ID_CHARACTERS_MAX = 24 << 10
"""Of an event: it names every partition's position, some 15 characters each."""

Back = Annotated[
    int, Query(ge=0, le=BACK_MAX, description="Without a Last-Event-ID: begin with so many of the latest predictions.")
]
LastEventId = Annotated[
    str | None,
    Header(max_length=ID_CHARACTERS_MAX, description="The `id` of the last event that was seen: go on behind it."),
]


@dataclass(frozen=True, slots=True)
class Served:
    """All that the routes need."""

    kinds: Mapping[str, LiveKind]
    popular: Mapping[str, Popular]
    streams: Streams
    authority: Authority
    wait_ms_max: int
    version: str
    explain: Explain


def make_app(served: Served) -> FastAPI:
    """The app with the routes of every kind; it is to be guarded (guard.py)."""
    app = FastAPI(
        title="scorer gateway",
        version=served.version,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(TransientError, _on_outage)
    app.add_exception_handler(CrowdedError, _on_crowd)
    _add_kinds(app, served)
    add_explained(app, served.explain)
    for name in served.kinds:
        _add_streams(app, served, name)
        _add_answer(app, served, name)
    add_page(app)
    return app


def _add_kinds(app: FastAPI, served: Served) -> None:
    async def kinds(request: Request) -> Response:
        token: Token = request.scope[LET_IN]
        found = [
            {"name": name, "entity": live.kind.entity, "one": token.allows(name), "all": token.allows(name + ALL)}
            for name, live in served.kinds.items()
        ]
        return Response(
            as_json({"kinds": found, "explain": token.allows(EXPLAIN)}),
            200,
            {"cache-control": "no-store"},
            "application/json",
        )

    app.get("/v1", summary="What there is to read with this token", responses=KINDS, response_class=Response)(kinds)


def _add_answer(app: FastAPI, served: Served, name: str) -> None:
    live, popular, field = served.kinds[name], served.popular[name], served.kinds[name].kind.entity

    async def answer(request: Request) -> Response:
        _demand(request, name)
        whose = entity_of(request.path_params[field])
        wanted = asked(request.scope["query_string"], served.wait_ms_max)
        found: Answer | None = None
        if wanted.after is not None:
            found = await live.of_event(whose, wanted.after, wanted.wait_ms / 1000)
        stale = wanted.after is not None and found is None
        if found is None:
            found = await live.latest(whose)
        now_ms = int(time.time() * 1000)
        if found is not None and found.body is not None:
            return _response(found, now_ms, stale, wanted.limit, request.headers.get("if-none-match"))
        if stale and (often := await popular.now(now_ms)) is not None:
            body = popular_body(field, whose, often, now_ms, wanted.limit)
            return Response(body, 200, {"cache-control": "private, no-store"}, "application/json")
        raise ProblemError(404, NOT_FOUND)

    app.get(
        f"/v1/{name}/{{{field}}}",
        summary=f"The latest of the {name} of a {field}",
        operation_id=f"{name}-one",
        responses=prediction_answers(field),
        openapi_extra={"parameters": documented(field, served.wait_ms_max)},
        response_class=Response,
    )(answer)


def _add_streams(app: FastAPI, served: Served, name: str) -> None:
    live, field, streams = served.kinds[name], served.kinds[name].kind.entity, served.streams

    def opened(request: Request, entity: str | None, last_id: str | None, back: int) -> Any:
        if streams.full:
            raise ProblemError(503, "too many streams are open", {"retry-after": "5"})
        if not live.epoch:
            raise ProblemError(503, "nothing is known of the topic yet", {"retry-after": "1"})
        token: Token = request.scope[LET_IN]

        def still_good() -> bool:
            return served.authority.still(token, int(time.time() * 1000))

        return StreamResponse(streams, live, entity, last_id, back, still_good)

    async def everyone(request: Request, last: Back = 0, last_event_id: LastEventId = None) -> Any:
        _demand(request, name + ALL)
        return _as_response(opened(request, None, last_event_id, last))

    async def one(
        request: Request,
        entity: str,
        last: Back = 0,
        last_event_id: LastEventId = None,
    ) -> Any:
        _demand(request, name)
        return _as_response(opened(request, entity_of(entity), last_event_id, last))

    one.__annotations__["entity"] = _whose(field)
    for path, route, label in (
        (f"/v1/{name}/stream", everyone, "all"),
        (f"/v1/{name}/{{{field}}}/stream", one, "one"),
    ):
        app.get(
            path,
            summary=f"The {name} of {'everybody' if label == 'all' else f'a {field}'} as they come",
            operation_id=f"{name}-stream-{label}",
            responses=stream_answers(),
            response_class=Response,
        )(route)


def _whose(field: str) -> Any:
    """The path's parameter, under the name that the contract gives it."""
    return Annotated[str, Path(alias=field, min_length=1, description="Percent-encoded; a slash as %2F.")]


class _Streaming(Response):
    """A response of ours as FastAPI wants it: handed on as it is."""

    def __init__(self, served: StreamResponse) -> None:
        super().__init__()
        self._served = served

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serves the stream."""
        await self._served(scope, receive, send)


def _as_response(served: StreamResponse) -> Response:
    return _Streaming(served)


def _response(answer: Answer, now_ms: int, stale: bool, limit: int | None, none_match: str | None) -> Response:
    tag = tag_of(answer, stale=stale, limit=limit)
    headers = {"etag": tag, "cache-control": "private, no-cache"}
    if none_match is not None and tag.removeprefix("W/") in none_match:
        return Response(status_code=304, headers=headers)
    return Response(body_of(answer, now_ms, stale=stale, limit=limit), 200, headers, "application/json")


def _demand(request: Request, scope: str) -> None:
    token: Token = request.scope[LET_IN]
    if not token.allows(scope):
        raise ProblemError(403, f"this token lacks the scope {scope}")


async def _on_problem(_: Request, error: Any) -> Response:
    return problem(error.status, error.detail, error.headers)


async def _on_http(_: Request, error: Any) -> Response:
    details = {404: "there is nothing at this path; /openapi.json says what there is", 405: "only GET is answered here"}
    return problem(error.status_code, details.get(error.status_code, str(error.detail)), error.headers)


async def _on_invalid(_: Request, error: Any) -> Response:
    found = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
    return problem(422, found)


async def _on_outage(_: Request, __: Any) -> Response:
    return problem(503, "the store does not answer at the moment", {"retry-after": "1"})


async def _on_crowd(_: Request, __: Any) -> Response:
    return problem(503, "too many are waiting for an event", {"retry-after": "1"})
