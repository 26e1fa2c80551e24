"""Who may read what of a real gateway: tokens, scopes, hosts, sizes, rates; and what a refusal gives away."""

from __future__ import annotations

import hashlib
import re
import socket
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.harness.gateways import Gateway, Site, gateway, gateway_site, recommendation
from tests.harness.workers import scorer

KNOWN, UNKNOWN = "customer-there-5512", "customer-absent-5513"


@pytest.fixture(scope="module")
def site(kafka: str, registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("access")
    with gateway_site(kafka, registry, folder, tokens=str(folder / "tokens.toml")) as made:
        made.publish("recommendations", [recommendation(KNOWN, 1)])
        yield made


@pytest.fixture(scope="module")
def served(site: Site) -> Iterator[Gateway]:
    with gateway(site, token=_token(site, "reader", "recommendations")) as started:
        started.wait_for(f"/v1/recommendations/{KNOWN}")
        yield started


def test_a_missing_wrong_expired_or_unscoped_token_gets_the_same_answer_whoever_is_asked_for(
    site: Site, served: Gateway
) -> None:
    expired = "scorer_expired"
    _append(site, "expired", expired, expires="2020-01-01T00:00:00Z")
    other = _token(site, "leads", "lead-scores")
    _reloaded(served, other)
    kinds = {"": 401, "Bearer wrong": 401, "Basic eDp5": 401, f"Bearer {expired}": 401, f"Bearer {other}": 403}
    for authorization, status in kinds.items():
        for path in (
            "/v1/recommendations/{}",
            "/v1/recommendations/{}/stream",
            "/v1/recommendations/{}?after=x&wait_ms=9",
        ):
            answers = [_ask(served, path.format(who), authorization) for who in (KNOWN, UNKNOWN)]
            assert [answer.status_code for answer in answers] == [status, status]
            assert answers[0].content == answers[1].content
            assert _headers(answers[0]) == _headers(answers[1])
    bodies = {_ask(served, f"/v1/recommendations/{KNOWN}", each).content for each, code in kinds.items() if code == 401}
    assert len(bodies) == 1


def test_a_refusals_time_does_not_tell_who_is_there(served: Gateway) -> None:
    took: dict[str, list[float]] = {KNOWN: [], UNKNOWN: []}
    with httpx.Client(base_url=served.url, trust_env=False, headers={"authorization": "Bearer wrong"}) as client:
        for at in range(800):
            who = (KNOWN, UNKNOWN)[at % 2]
            started_s = time.perf_counter()
            assert client.get(f"/v1/recommendations/{who}").status_code == 401
            took[who].append(time.perf_counter() - started_s)
    medians = [statistics.median(each[50:]) for each in took.values()]
    assert max(medians) / min(medians) < 1.25


def test_everybodys_stream_needs_its_own_scope(site: Site, served: Gateway) -> None:
    assert served.get("/v1/recommendations/stream").status_code == 403
    everybody = _token(site, "wall", "recommendations:all")
    _reloaded(served, everybody)
    with httpx.stream(
        "GET",
        f"{served.url}/v1/recommendations/stream",
        headers={"authorization": f"Bearer {everybody}"},
        trust_env=False,
    ) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
    assert _ask(served, f"/v1/recommendations/{KNOWN}", f"Bearer {everybody}").status_code == 403


def test_a_new_token_is_taken_up_a_removed_one_refused_and_its_streams_ended(site: Site, served: Gateway) -> None:
    tokens = site.config.parent / "tokens.toml"
    before = tokens.read_text()
    fresh = _token(site, "fresh", "recommendations")
    _reloaded(served, fresh)
    with httpx.stream(
        "GET",
        f"{served.url}/v1/recommendations/{KNOWN}/stream",
        headers={"authorization": f"Bearer {fresh}"},
        trust_env=False,
        timeout=20,
    ) as answer:
        tokens.write_text(before)
        assert b"retry" in b"".join(answer.iter_raw())  # it ends
    assert _ask(served, "/v1", f"Bearer {fresh}").status_code == 401
    tokens.write_text("no toml at all [")
    served.process.until(lambda: served.process.events("tokens.not_read"), "saying that it cannot read the file", 10)
    assert served.get(f"/v1/recommendations/{KNOWN}").status_code == 200
    tokens.write_text(before)


def test_the_tokens_file_holds_no_token_and_is_its_owners_alone(site: Site, served: Gateway) -> None:
    path = site.config.parent / "tokens.toml"
    assert served.token not in path.read_text()
    assert hashlib.sha256(served.token.encode()).hexdigest() in path.read_text()
    fresh = site.config.parent / "other.toml"
    _token(site, "one", "lead-scores", "--set", f"gateway.tokens={fresh}")
    assert fresh.stat().st_mode & 0o777 == 0o600


def test_nothing_of_a_request_stands_in_the_log_but_its_routes_template(site: Site, served: Gateway) -> None:
    with gateway(_moved(site), "--set", "log.level=debug", token=served.token, name="debug") as started:
        started.wait_for(f"/v1/recommendations/{KNOWN}")
        started.get(f"/v1/recommendations/{UNKNOWN}?after=secret-event-77&wait_ms=1")
        _ask(started, "/nowhere/else-4711", "Bearer secret-token-88")
        text = started.process.text()
    for secret in (KNOWN, UNKNOWN, served.token, "secret-event-77", "secret-token-88", "else-4711"):
        assert secret not in text
    assert "/v1/recommendations/{customer_id}" in text


def test_other_hosts_bodies_long_paths_and_other_methods_are_refused_as_problems(served: Gateway) -> None:
    path = f"{served.url}/v1/recommendations/{KNOWN}"
    own = {"authorization": f"Bearer {served.token}"}
    with httpx.Client(trust_env=False, headers=own) as client:
        answers = {
            421: client.get(path, headers={"host": "evil.example"}),
            413: client.request("GET", path, content=b"x" * 100_000),
            414: client.get(path + "x" * 9_000),
            405: client.delete(path),
            404: client.get(f"{served.url}/v1/nothing"),
            422: client.get(f"{path}?limit=0"),
            400: client.get(f"{served.url}/v1/recommendations/%ff"),
        }
    for status, answer in answers.items():
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
        assert answer.json()["status"] == status
    with socket.create_connection(("127.0.0.1", served.port)) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 200_000)
        assert b" 431 " in raw.recv(65_536)


def test_a_body_that_arrives_together_with_its_head_is_no_part_of_the_head(served: Gateway) -> None:
    head = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nContent-Length: 100000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", served.port)) as raw:
        raw.sendall(head.encode() + b"x" * 100_000)
        assert b" 413 " in raw.recv(65_536).splitlines()[0]


def test_too_many_requests_are_told_when_to_come_back(site: Site, served: Gateway) -> None:
    with gateway(_moved(site), "--set", "gateway.rate_per_s=5", token=served.token, name="limited") as started:
        answers = [started.get("/v1") for _ in range(12)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert 1 <= len(refused) <= 7
        assert refused[0].headers["retry-after"] == "1"
        time.sleep(1.1)
        assert started.get("/v1").status_code == 200


def test_other_origins_read_nothing_unless_they_are_named(site: Site, served: Gateway) -> None:
    assert "access-control-allow-origin" not in served.get("/v1", origin="https://shop.example").headers
    with gateway(_moved(site), "--set", "gateway.origins=https://shop.example", name="origins") as started:
        asked = {"origin": "https://shop.example", "access-control-request-method": "GET"}
        allowed = httpx.options(f"{started.url}/v1", headers=asked, trust_env=False)
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (204, "https://shop.example")
        assert "access-control-allow-origin" not in started.get("/v1", origin="https://evil.example").headers


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["gateway.host=0.0.0.0", "gateway.hosts=a.example"], "tokens are needed"),
        (["gateway.host=0.0.0.0", "gateway.tokens=tokens.toml"], "set gateway.hosts"),
        (["gateway.tokens=absent.toml"], "cannot be read"),
    ],
)
def test_a_gateway_that_would_be_open_to_others_does_not_start(
    site: Site, tmp_path: Path, flags: list[str], why: str
) -> None:
    text = re.sub(r"^tokens = .*\n", "", site.config.read_text(), flags=re.MULTILINE)
    config = tmp_path / "scorer.toml"
    config.write_text(text.replace(str(site.config.parent / "gateway.sqlite3"), str(tmp_path / "store")))
    sets = [part for flag in flags for part in ("--set", flag)]
    ended = scorer("gateway", "--config", str(config), *sets, cwd=tmp_path)
    assert (ended.returncode, why in ended.stderr) == (3, True), ended.stderr


def _token(site: Site, name: str, scope: str, *flags: str) -> str:
    made = scorer(
        *("gateway", "token", name, "--scope", scope, "--expires", "90d", "--config", str(site.config), *flags),
        cwd=site.config.parent,
    )
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def _append(site: Site, name: str, token: str, expires: str) -> None:
    digest = hashlib.sha256(token.encode()).hexdigest()
    with (site.config.parent / "tokens.toml").open("a") as file:
        file.write(
            f'\n[[tokens]]\nname = "{name}"\nsha256 = "{digest}"\nscopes = ["recommendations"]\nexpires = {expires}\n'
        )


def _moved(site: Site) -> Site:
    """The same site with a port and a store of its own, beside a gateway that runs."""
    from dataclasses import replace

    from scorer.local.ports import free_ports

    (port,) = free_ports(1)
    config = site.config.with_name(f"scorer-{port}.toml")
    config.write_text(site.config.read_text().replace("gateway.sqlite3", f"gateway-{port}.sqlite3"))
    return replace(site, port=port, config=config)


def _reloaded(served: Gateway, token: str) -> None:
    served.process.until(lambda: _ask(served, "/v1", f"Bearer {token}").status_code == 200, "knowing the token", 10)


def _ask(served: Gateway, path: str, authorization: str) -> httpx.Response:
    headers = {"authorization": authorization} if authorization else {}
    return httpx.get(served.url + path, headers=headers, trust_env=False, timeout=20)


def _headers(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name != "date"}
