"""Events for tests: the real files' where they are at hand, else as many samples of the fitted profiles.

The files are looked for in the folder that TEST_DATA_FOLDER names, else in ../shared/data beside the clone. `origin`
says which they are, and `announce` tells the person who runs the tests.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import fastavro
import pytest

from scorer.local import leads, logins

LEADS = 41_188
LOGINS, CUSTOMERS = 18_402, 4_300
SEED = 20_240_607

_FILES = {"lead": "bank-additional-full.csv", "login": "online_retail.csv"}
_BESIDE = Path(__file__).parents[3] / "shared" / "data"
_FIRST_LEAD_MS = 1_700_000_000_000


@dataclass(frozen=True, slots=True)
class Events:
    """Events of one kind, in order; `origin` says where they come from."""

    kind: str
    events: list[dict[str, Any]]
    origin: str


def all_events(kind: str) -> Events:
    """Every lead or login of the real file, or the same number of samples where it is not at hand."""
    path = _data_file(kind)
    if path is None:
        made = sampled(kind, LEADS if kind == "lead" else LOGINS)
        if kind == "login":  # as in the real file, the same customers come again
            made = [{**each, "customer_id": made[at % CUSTOMERS]["customer_id"]} for at, each in enumerate(made)]
        return Events(kind, made, f"SAMPLES OF THE PROFILE, not the real {_FILES[kind]}")
    found = list(leads.read_leads(path, _lead_ms) if kind == "lead" else logins.read_logins(path))
    return Events(kind, found, f"the real file {path.name}")


def sampled(kind: str, count: int, seed: int = SEED) -> list[dict[str, Any]]:
    """So many events drawn from the profile of a kind."""
    if kind == "lead":
        return list(leads.sample_leads(leads.load_profile(), count, seed, _lead_ms))
    return list(logins.sample_logins(logins.load_profile(), count, seed, _lead_ms))


def announce(request: pytest.FixtureRequest, text: str) -> None:
    """Says something on the terminal whatever pytest captures."""
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.ensure_newline()
        reporter.write_line(f"[{request.node.name}] {text}", bold=True)


def encoder(schema_id: int, schema: Any) -> Callable[[Mapping[str, Any]], bytes]:
    """A function from an event to its value in the registry's wire format, by fastavro."""
    head, parsed = struct.pack(">bI", 0, schema_id), fastavro.parse_schema(schema)

    def encode(event: Mapping[str, Any]) -> bytes:
        body = io.BytesIO(head)
        body.seek(0, io.SEEK_END)
        fastavro.schemaless_writer(body, parsed, dict(event))
        return body.getvalue()

    return encode


def messages(
    events: Iterable[Mapping[str, Any]], key: str, encode: Callable[[Mapping[str, Any]], bytes]
) -> Iterator[dict[str, Any]]:
    """Events as topics.send takes them, keyed by a field."""
    for event in events:
        yield {"key": str(event[key]).encode(), "value": encode(event)}


def chunks(events: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of so many, the last one shorter."""
    rest = iter(events)
    while chunk := list(islice(rest, size)):
        yield chunk


def _data_file(kind: str) -> Path | None:
    folder = Path(os.environ["TEST_DATA_FOLDER"]) if os.environ.get("TEST_DATA_FOLDER") else _BESIDE
    for name in (_FILES[kind], f"{_FILES[kind]}.gz"):
        if (folder / name).is_file():
            return folder / name
    return None


def _lead_ms(number: int) -> int:
    return _FIRST_LEAD_MS + number * 1000
