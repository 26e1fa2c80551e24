"""An HTTP registry that misbehaves on demand."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from scorer.edges.registry import HttpRegistry, RegistryAccess


@dataclass
class Registry:
    """What the server knows, how it behaves, and what it was asked."""

    schemas: dict[int, dict[str, Any]] = field(default_factory=dict)
    subjects: dict[str, list[int]] = field(default_factory=dict)
    configured: dict[str, str] = field(default_factory=dict)
    answer: tuple[int, bytes] | None = None
    hang: threading.Event | None = None
    configures_new_subjects: bool = True
    refuses: str = ""
    registered: Any = None
    requests: list[str] = field(default_factory=list)
    authorization: str | None = None

    def reply(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        parts = [unquote(part) for part in path.partition("?")[0].strip("/").split("/")]
        match method, *parts:
            case "GET", "schemas", "ids", schema_id:
                return self.found(self.schemas.get(int(schema_id)), 40403)
            case "GET", "subjects", subject, "versions":
                return self.found(list(range(len(self.subjects.get(subject, [])), 0, -1)) or None, 40401)
            case "GET", "subjects", subject, "versions", version:
                schema_id = self.subjects[subject][int(version) - 1]
                about = {"subject": subject, "version": int(version), "id": schema_id}
                return 200, about | self.schemas[schema_id]
            case "PUT", "config", subject:
                if subject not in self.subjects and not self.configures_new_subjects:
                    return self.found(None, 40401)
                self.configured[subject] = body["compatibility"]
                return 200, body
            case "POST", "subjects", subject, "versions":
                if self.refuses:
                    return 409, {"error_code": 409, "message": self.refuses}
                mine = self.subjects.setdefault(subject, [])
                schema_id = next((each for each in mine if self.schemas[each]["schema"] == body["schema"]), 0)
                if not schema_id:
                    schema_id = len(self.schemas) + 1
                    self.schemas[schema_id] = {"schema": body["schema"]}
                    mine.append(schema_id)
                return 200, {"id": schema_id if self.registered is None else self.registered}
        return 405, {"error_code": 405, "message": f"no {method} {path}"}

    def found(self, what: Any, code: int) -> tuple[int, Any]:
        return (404, {"error_code": code, "message": "not found"}) if what is None else (200, what)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: Registry

    def handle_any(self) -> None:
        registry = self.registry
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        registry.requests.append(f"{self.command} {self.path.partition('?')[0]}")
        registry.authorization = self.headers.get("Authorization")
        if registry.hang is not None:
            registry.hang.wait(30)
        if registry.answer is not None:
            status, payload = registry.answer
        else:
            status, answer = registry.reply(self.command, self.path, json.loads(content) if content else None)
            payload = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    do_GET = do_PUT = do_POST = handle_any  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Keeps the tests' output clean."""


class Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are what some tests are about."""


@dataclass
class Running:
    """A server and the clients that a test opened on it."""

    registry: Registry
    port: int
    clients: list[HttpRegistry] = field(default_factory=list)

    def client(self, url: str = "", **access: Any) -> HttpRegistry:
        made = HttpRegistry(RegistryAccess(url or f"http://127.0.0.1:{self.port}", **access))
        self.clients.append(made)
        return made


@contextmanager
def serve(certificate: Path | None = None) -> Iterator[Running]:
    registry = Registry()
    server = Server(("127.0.0.1", 0), type("Own", (Handler,), {"registry": registry}))
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    running = Running(registry, server.server_address[1])
    try:
        yield running
    finally:
        for client in running.clients:
            client.close()
        if registry.hang is not None:
            registry.hang.set()
        server.shutdown()
        thread.join()
        server.server_close()
