"""Connections of a whole gateway: clients that reset them, ask ahead, offer another protocol, leave amid a stream."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from scorer.core.answers import Mark
from scorer.edges.web import serve as module
from scorer.edges.web.streams import StreamLimits
from tests.unit.edges.web.live_world import answer
from tests.unit.edges.web.site_world import Gateway, gateway, request


def holds(what: Callable[[], bool], wait_s_max: float = 5.0) -> bool:
    until_s = time.monotonic() + wait_s_max
    while not what():
        if time.monotonic() > until_s:
            return False
        time.sleep(0.02)
    return True


def troubles(it: Gateway) -> list[str]:
    return [event for event, _ in it.said if event in {"http.failed", "http.server"}]


def test_a_client_that_resets_an_idle_connection_is_no_failure_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEEP_ALIVE_S", 0.2)
    with gateway(tmp_path) as it:
        client = it.connect()
        client.sendall(request("/v1"))
        assert client.recv(4096)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        time.sleep(0.5)
        assert troubles(it) == []


def test_a_stream_ends_with_its_connection_though_its_client_has_asked_for_more_behind_it(tmp_path: Path) -> None:
    with gateway(tmp_path, limits=StreamLimits(10, 100, 0.1, 100.0)) as it:
        client = it.connect()
        client.sendall(request("/v1/ks/stream"))
        assert holds(lambda: len(it.streams) == 1)
        client.sendall(request("/v1"))
        time.sleep(0.1)
        client.close()
        assert holds(lambda: len(it.streams) == 0)
        assert troubles(it) == []


def test_a_client_that_offers_http_2_is_answered_and_nothing_is_said_of_it(tmp_path: Path) -> None:
    with gateway(tmp_path) as it, it.connect() as client:
        it.arrive(answer("a", 1, 0))
        for _ in range(2):
            client.sendall(request("/v1/ks/a", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"))
            assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert troubles(it) == []


def test_a_client_of_a_topic_with_a_thousand_partitions_comes_back_with_its_position(tmp_path: Path) -> None:
    with gateway(tmp_path) as it, it.connect() as client:
        it.arrive(answer("a", 1, 0), answer("b", 2, 0, part=1))
        seen = Mark("e1", {0: 1} | dict.fromkeys(range(2, 1_000), 1_234_567_890))
        client.sendall(request("/v1/ks/stream", f"Last-Event-ID: {seen}"))
        came = b""
        while b"event: prediction" not in came and (chunk := client.recv(1 << 16)):
            came += chunk
        assert came.startswith(b"HTTP/1.1 200 ")
        assert (b'{"x":1}' in came, b'{"x":2}' in came) == (False, True)
