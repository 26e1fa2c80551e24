"""Health and metrics over HTTP, by a client that is not ours."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest

from scorer.core.errors import ConfigError
from scorer.core.state import State, Status
from scorer.edges.status_server import StatusServer


class Service:
    """What the server tells about."""

    def __init__(self) -> None:
        self.status = Status(lambda *_: None)
        self.ms = 1000.0
        self.server = StatusServer(
            "127.0.0.1", 0, status=self.status, exposition=lambda: b"a_metric 1\n", ticks_ms=lambda: self.ms
        )

    def get(self, path: str, method: str = "GET") -> tuple[int, str, bytes]:
        connection = HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.headers["Content-Type"], answer.read()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def served() -> Iterator[Service]:
    made = Service()
    yield made
    made.server.close()


@pytest.fixture
def service(served: Service) -> Service:
    """One server for all tests of this file, since closing takes half a second; it has just started."""
    served.ms = 1000.0
    served.status.enter(State.STARTING, "")
    served.status.beat(0.0)
    return served


@pytest.mark.parametrize(
    ("state", "ready"),
    [
        (State.STARTING, 503),
        (State.RUNNING, 200),
        (State.WAITING, 503),
        (State.HALTED, 503),
        (State.STOPPING, 503),
    ],
)
def test_ready_means_that_the_stream_scores_now_and_says_why_not(service: Service, state: State, ready: int) -> None:
    service.status.beat(service.ms)
    service.status.enter(state, "a reason")
    status, kind, body = service.get("/v2/health/ready")
    assert (status, kind) == (ready, "application/json")
    assert json.loads(body) == {"state": state.value, "detail": "a reason", "ok": ready == 200}
    assert service.get("/v2/health/live")[0] == 200


def test_live_means_that_the_loop_has_turned_within_a_minute_whatever_the_state(service: Service) -> None:
    service.status.enter(State.HALTED, "")
    service.status.beat(service.ms)
    service.ms += 59_999
    assert service.get("/v2/health/live")[0] == 200
    service.ms += 1
    assert service.get("/v2/health/live")[0] == 503
    service.status.beat(service.ms)
    assert service.get("/v2/health/live")[0] == 200


def test_metrics_come_in_prometheus_text_format(service: Service) -> None:
    status, kind, body = service.get("/metrics")
    assert (status, body) == (200, b"a_metric 1\n")
    assert kind.startswith("text/plain; version=0.0.4")


def test_a_query_is_passed_over(service: Service) -> None:
    assert service.get("/metrics?name[]=a")[0] == 200


@pytest.mark.parametrize("path", ["/", "/metric", "/metrics/", "/v2/health", "/../metrics", "/%6detrics"])
def test_another_path_is_404_and_lists_what_there_is(service: Service, path: str) -> None:
    status, _, body = service.get(path)
    assert status == 404
    assert body == b"/metrics\n/v2/health/live\n/v2/health/ready\n"


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT"])
def test_nothing_but_get_is_answered(service: Service, method: str) -> None:
    assert service.get("/metrics", method)[0] == 501


def test_a_client_that_says_nothing_keeps_no_other_waiting(service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.server.port)):
        assert service.get("/metrics")[0] == 200


def test_a_client_that_hangs_up_early_leaves_no_traceback(service: Service, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", service.server.port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closes with a reset
            client.sendall(b"GET /metrics HT")
    time.sleep(0.2)
    assert service.get("/metrics")[0] == 200
    assert capfd.readouterr().err == ""


def test_health_checks_write_no_log(service: Service, capfd: pytest.CaptureFixture[str]) -> None:
    service.get("/metrics")
    service.get("/nothing")
    assert capfd.readouterr() == ("", "")


def test_a_port_that_is_taken_is_a_setting_to_change(service: Service) -> None:
    with pytest.raises(ConfigError, match=rf"metrics.port {service.server.port} on 127.0.0.1 cannot be had \(Address"):
        StatusServer("127.0.0.1", service.server.port, status=service.status, exposition=bytes, ticks_ms=float)


def test_a_host_that_is_not_ours_is_a_setting_to_change(service: Service) -> None:
    with pytest.raises(ConfigError, match=r"on 192\.0\.2\.1 cannot be had"):
        StatusServer("192.0.2.1", 0, status=service.status, exposition=bytes, ticks_ms=float)


def test_a_closed_server_frees_its_port() -> None:
    service = Service()
    port = service.server.port
    service.server.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    StatusServer("127.0.0.1", port, status=service.status, exposition=bytes, ticks_ms=float).close()


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not _has_ipv6(), reason="NOT TESTED, no IPv6 here")
def test_an_ipv6_address_is_listened_on() -> None:
    server = StatusServer(
        "::1", 0, status=Status(lambda *_: None), exposition=lambda: b"a_metric 1\n", ticks_ms=lambda: 0.0
    )
    connection = HTTPConnection("::1", server.port, timeout=10)
    try:
        connection.request("GET", "/metrics")
        assert connection.getresponse().read() == b"a_metric 1\n"
    finally:
        connection.close()
        server.close()
