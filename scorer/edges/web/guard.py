"""What every request passes: limits on its size, Host, CORS, token, rate; what every answer gets: security headers.

Guarantee: nothing behind it learns of a request without a valid token, and no answer before it depends on which
entities there are. Log and metrics see the route's template alone.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from traceback import extract_tb
from typing import Any, Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scorer.core.ports import Report
from scorer.edges.web.limits import Buckets
from scorer.edges.web.problems import problem
from scorer.edges.web.tokens import Authority

TARGET_BYTES_MAX = 8 << 10
LET_IN = "scorer.let_in"
"""Key of a request's scope: the token that let it in."""


_SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)
_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_EXPOSED = (b"access-control-expose-headers", b"etag, retry-after")
"""What a page of another origin needs beside the body; browsers hide all headers that are not named."""
_SHARED = (b"cross-origin-resource-policy", b"cross-origin")


class RequestObserver(Protocol):
    """Told of every request; for metrics."""

    def request(self, route: str, status: int, took_s: float) -> None:
        """A request was answered."""


@dataclass(slots=True)
class Guard:
    """An ASGI app around another.

    Attributes:
        app: what is guarded.
        authority: who may read.
        buckets: how often.
        hosts: the Host headers that are served, without port, or empty for any.
        origins: the origins whose pages may read answers (CORS).
        observer, report: metrics and log.
    """

    app: ASGIApp
    authority: Authority
    buckets: Buckets
    hosts: frozenset[str]
    origins: frozenset[str]
    observer: RequestObserver
    report: Report
    _clock: Callable[[], float] = field(default=time.perf_counter)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or has it answered."""
        if scope["type"] != "http":
            return
        started_s, sent = self._clock(), _Sent(send)
        headers = dict(scope["headers"])  # of two headers of one name the last one counts
        origin = headers.get(b"origin", b"").decode("latin-1")
        sent.extra = self._extra(origin)
        scope["path"] = scope["raw_path"].decode("ascii", "replace")  # an encoded slash stays part of its id
        refusal = self._refusal(scope, headers, origin)
        try:
            await (refusal or self.app)(scope, receive, sent)
        except Exception as error:
            at = [f"{frame.name}:{frame.lineno}" for frame in extract_tb(error.__traceback__)][-3:]
            self.report("http.failed", {"kind": type(error).__name__, "at": at})
            if not sent.status:
                await problem(500, "this is a bug of the gateway's; its log says more")(scope, receive, sent)
        route = getattr(scope.get("route"), "path", "none")
        took_s = self._clock() - started_s
        self.observer.request(route, sent.status, took_s)
        self.report("http.request", {"route": route, "status": sent.status, "took_ms": round(took_s * 1000, 1)})

    def _refusal(self, scope: MutableMapping[str, Any], headers: Mapping[bytes, bytes], origin: str) -> ASGIApp | None:
        """Why a request is not let through, as its answer, or None."""
        if len(scope["raw_path"]) + len(scope["query_string"]) > TARGET_BYTES_MAX:
            return problem(414, f"a path with its query has at most {TARGET_BYTES_MAX} bytes")
        if headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers:
            return problem(413, "no request has a body here", {"connection": "close"})
        if self.hosts and _host(headers.get(b"host", b"")) not in self.hosts:
            return problem(421, "this Host is not served here; see gateway.hosts")
        if scope["method"] == "OPTIONS" and origin in self.origins and b"access-control-request-method" in headers:
            return _preflight
        path = scope["path"]
        if path != "/v1" and not path.startswith("/v1/"):
            return None
        token = self.authority.check(headers.get(b"authorization"), int(time.time() * 1000))
        if token is None:
            return problem(401, "a valid bearer token is needed", {"www-authenticate": "Bearer"})
        wait_s = self.buckets.take(token.name, time.monotonic())
        if wait_s:
            return problem(429, "too many requests with this token", {"retry-after": str(int(wait_s) + 1)})
        scope[LET_IN] = token
        return None

    def _extra(self, origin: str) -> tuple[tuple[bytes, bytes], ...]:
        if not origin or origin not in self.origins:
            return ()
        allowed = origin.encode("latin-1")
        return ((b"access-control-allow-origin", allowed), (b"vary", b"origin"), _EXPOSED, _SHARED)


@dataclass(slots=True)
class _Sent:
    """A `send` that adds headers and remembers the status."""

    send: Callable[[Message], Awaitable[None]]
    status: int = 0
    extra: tuple[tuple[bytes, bytes], ...] = ()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = message.setdefault("headers", [])
            there = {name for name, _ in headers} | {name for name, _ in self.extra}
            headers += [each for each in (*_SECURITY, _POLICY) if each[0] not in there]
            headers += self.extra
        await self.send(message)


async def _preflight(_: Scope, __: Receive, send: Send) -> None:
    headers = [
        (b"access-control-allow-methods", b"GET"),
        (b"access-control-allow-headers", b"authorization, last-event-id, if-none-match"),
        (b"access-control-max-age", b"600"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _host(value: bytes) -> str:
    """The Host header without its port, in small letters."""
    text = value.decode("latin-1").lower()
    return text.partition("]")[0] + "]" if text.startswith("[") else text.partition(":")[0]
