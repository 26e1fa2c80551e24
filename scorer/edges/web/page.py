"""The page at `/`: static files out of the package, read once. No build step, nothing from elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from fastapi import FastAPI, Request
from starlette.responses import Response

FOLDER = Path(__file__).parent / "static"
TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def add_page(app: FastAPI) -> None:
    """Serves every file of the folder by its name, and index.html at `/`."""
    for path in sorted(FOLDER.iterdir()):
        if path.suffix in TYPES:
            _add(app, "/" if path.name == "index.html" else f"/{path.name}", path.read_bytes(), TYPES[path.suffix])


def _add(app: FastAPI, path: str, content: bytes, kind: str) -> None:
    tag = f'"{hashlib.blake2b(content, digest_size=8).hexdigest()}"'
    headers = {"etag": tag, "cache-control": "no-cache", "content-security-policy": POLICY, "content-type": kind}

    async def answer(request: Request) -> Response:
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers)

    app.get(path, include_in_schema=False)(answer)
