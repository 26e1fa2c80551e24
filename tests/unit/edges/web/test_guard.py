"""What every request passes and every answer gets, asked of a whole gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from scorer.edges.web.guard import Guard
from scorer.edges.web.limits import Buckets
from scorer.edges.web.tokens import Authority
from tests.unit.edges.web.live_world import answer
from tests.unit.edges.web.site_world import Gateway, gateway

SHOP = "https://shop.example"


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("guard"), origins=frozenset({SHOP})) as made:
        made.arrive(answer("a", 1, 0), answer("ü/ö", 2, 1))
        yield made


def head(whole: bytes) -> tuple[int, dict[str, str]]:
    """Status and headers; those that come more than once joined as one."""
    first, *lines = whole.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return int(first.split()[1]), headers


def test_pages_of_a_named_origin_read_answers_with_the_headers_that_they_need_and_others_nothing(it: Gateway) -> None:
    status, own = head(it.ask("/v1/ks/a", f"Origin: {SHOP}"))
    assert (status, own["access-control-allow-origin"], own["vary"]) == (200, SHOP, "origin")
    assert own["access-control-expose-headers"] == "etag, retry-after"
    assert own["cross-origin-resource-policy"] == "cross-origin"
    _, other = head(it.ask("/v1/ks/a", "Origin: https://evil.example"))
    assert not [name for name in other if name.startswith("access-control")]
    assert other["cross-origin-resource-policy"] == "same-origin"


def test_a_refusal_is_read_by_pages_of_a_named_origin_too(it: Gateway) -> None:
    for path, status in (("/v1/ks/nobody", 404), ("/v1/ks/%ff", 400), ("/v1/ks/a?limit=0", 422), ("/nowhere", 404)):
        found, headers = head(it.ask(path, f"Origin: {SHOP}"))
        assert (found, headers["access-control-allow-origin"]) == (status, SHOP)
        assert headers["content-type"] == "application/problem+json"


def test_a_browser_that_asks_beforehand_is_told_what_it_may_send(it: Gateway) -> None:
    wants = ("Access-Control-Request-Method: GET", "Access-Control-Request-Headers: authorization,last-event-id")
    status, headers = head(it.ask("/v1/ks/stream", f"Origin: {SHOP}", *wants, method="OPTIONS"))
    assert (status, headers["access-control-allow-methods"]) == (204, "GET")
    assert headers["access-control-allow-headers"] == "authorization, last-event-id, if-none-match"
    assert "content-length" not in headers
    assert "transfer-encoding" not in headers
    for other in ((), ("Origin: https://evil.example",), (f"Origin: {SHOP}",)):
        status, _ = head(it.ask("/v1/ks/stream", *other, *(wants if len(other) == 0 else ()), method="OPTIONS"))
        assert status == 405


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "PATCH"])
def test_what_is_no_get_is_a_405_that_names_get(it: Gateway, method: str) -> None:
    status, headers = head(it.ask("/v1/ks/a", method=method))
    assert (status, headers["allow"]) == (405, "GET")


@pytest.mark.parametrize("body", ["Content-Length: 1", "Transfer-Encoding: chunked"])
def test_a_request_with_a_body_is_refused_and_its_connection_ended(it: Gateway, body: str) -> None:
    with it.connect() as client:
        client.sendall(f"GET /v1 HTTP/1.1\r\nHost: h\r\n{body}\r\n\r\n".encode())
        status, headers = head(client.recv(4096))
        assert (status, headers["connection"]) == (413, "close")
        assert client.recv(4096) == b""


def test_a_path_and_query_of_8_kib_are_the_most(it: Gateway) -> None:
    room = 8_192 - len("/v1/ks/a") - len("x=")
    assert head(it.ask("/v1/ks/a?x=" + "y" * room))[0] == 200
    assert head(it.ask("/v1/ks/a?x=" + "y" * (room + 1)))[0] == 414


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/ks/%C3%BC%2F%C3%B6", 200),
        ("/v1/ks/ü", 400),
        ("/v1/ks/a/", 404),
        ("/v1/ks/", 404),
        ("/v1/", 404),
        ("/v1//ks/a", 404),
        ("/v1/ks/%61", 200),
        ("/v1/ks%2Fa", 404),
        ("/v1/ks/%73tream", 404),
        ("/../v1/ks/a", 404),
        ("/index.html", 404),
        ("/%2e%2e/guard.py", 404),
    ],
)
def test_a_path_is_taken_as_it_was_sent(it: Gateway, path: str, status: int) -> None:
    whole = it.ask(path.encode().decode("latin-1"))
    assert head(whole)[0] == status
    if status == 400:
        assert b"percent-encoded" in whole


def test_answers_say_how_long_they_may_be_kept(it: Gateway) -> None:
    assert head(it.ask("/v1/ks/a"))[1]["cache-control"] == "private, no-cache"
    assert head(it.ask("/v1"))[1]["cache-control"] == "no-store"
    assert head(it.ask("/v1/ks/nobody"))[1]["cache-control"] == "no-store"
    unchanged, headers = head(it.ask("/v1/ks/a", 'If-None-Match: "other", W/"t1"'))
    assert (unchanged, headers["etag"]) == (304, 'W/"t1"')


@pytest.mark.parametrize("begun", [False, True], ids=["before it answers", "amid its answer"])
def test_a_fault_of_ours_is_said_without_values_and_answered_unless_an_answer_has_begun(begun: bool) -> None:
    sent: list[MutableMapping[str, Any]] = []
    said: list[tuple[str, Mapping[str, Any]]] = []
    seen: list[int] = []

    async def faulty(_: Scope, __: Receive, send: Send) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ArithmeticError("a secret")

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    class Observer:
        def request(self, _: str, status: int, __: float) -> None:
            seen.append(status)

    authority = Authority(None, frozenset(), lambda *_: None)
    guard = Guard(faulty, authority, Buckets(0), frozenset(), frozenset(), Observer(), lambda *what: said.append(what))
    scope = {"type": "http", "method": "GET", "headers": [], "raw_path": b"/v1", "query_string": b""}
    asyncio.run(guard(scope, asyncio.Event().wait, send))  # type: ignore[arg-type]
    assert [message.get("status") for message in sent if message["type"].endswith("start")] == [200 if begun else 500]
    assert seen == [200 if begun else 500]
    assert said[0][0] == "http.failed"
    assert "secret" not in str(said) + str(sent)
