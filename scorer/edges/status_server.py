"""`/metrics` and health over HTTP, in a thread of its own: it answers while the stream works or waits.

Paths: /metrics (Prometheus), /v2/health/live and /v2/health/ready (Open Inference Protocol v2). Alive means that the
loop has turned lately; a broker that is down does not make a process dead. Ready means that it scores now.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from scorer.core.errors import ConfigError
from scorer.core.state import Status

SILENCE_MS_MAX = 60_000.0
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class StatusServer:
    """Serves until closed."""

    def __init__(
        self, host: str, port: int, *, status: Status, exposition: Callable[[], bytes], ticks_ms: Callable[[], float]
    ) -> None:
        def health(answer: bool) -> tuple[int, str, bytes]:
            body = {"state": status.state.value, "detail": status.detail, "ok": answer}
            return (200 if answer else 503), "application/json", json.dumps(body).encode()

        routes: dict[str, Callable[[], tuple[int, str, bytes]]] = {
            "/metrics": lambda: (200, METRICS_TYPE, exposition()),
            "/v2/health/live": lambda: health(status.alive(ticks_ms(), SILENCE_MS_MAX)),
            "/v2/health/ready": lambda: health(status.ready),
        }
        try:
            self._server = _Server(host, port, _handler(routes))
        except OSError as error:
            raise ConfigError(f"metrics.port {port} on {host} cannot be had ({error.strerror}); set another") from error
        self.port = int(self._server.server_address[1])
        self._thread = Thread(target=self._server.serve_forever, name="status", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: str, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), handler)


def _handler(routes: dict[str, Callable[[], tuple[int, str, bytes]]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def handle(self) -> None:
            """Answers a connection; one that hangs up early is nobody's failure."""
            with suppress(ConnectionError):
                super().handle()

        def do_GET(self) -> None:
            """Answers a path of the table."""
            route = routes.get(self.path.partition("?")[0])
            status, kind, body = route() if route else (404, "text/plain", "\n".join([*routes, ""]).encode())
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing: health checks would fill the log."""

    return Handler
