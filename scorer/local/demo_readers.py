"""The demo's readers: tables that `scorer sink sql` fills, asked in SQL, and an app's question to the gateway.

Both run as the commands that a person would start, with the demo's settings.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import ProxyHandler, build_opener

from scorer.core.errors import TransientError
from scorer.core.ports import Publisher
from scorer.core.schema import WriterSchema
from scorer.edges.clock import SystemClock
from scorer.local.events import KEYS, OUTPUTS, TOPICS, samples
from scorer.local.sending import encoded, send

SINK_S_MAX = 90.0
ANSWER_S_MAX = 20.0
WAIT_MS_MAX = 3000
DATABASE = "scores.db"
_QUERIES = {
    "lead": (
        (
            "leads by bucket",
            "SELECT bucket, count(*) AS leads, round(avg(score), 3) AS mean_score FROM lead_score GROUP BY bucket "
            "ORDER BY bucket",
        ),
        (
            "the best leads",
            "SELECT lead_id, round(score, 3) AS score, bucket FROM lead_score ORDER BY score DESC LIMIT 3",
        ),
    ),
    "login": (
        (
            "what is recommended most",
            "SELECT product_code, count(*) AS customers FROM recommendation_items WHERE item_rank <= 5 GROUP BY "
            "product_code ORDER BY customers DESC, product_code LIMIT 3",
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Table:
    """A query's answer.

    Attributes:
        title: for people.
        query: in SQL.
        names, rows: its columns.
    """

    title: str
    query: str
    names: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gateway said about the event that was just sent.

    Attributes:
        path: what was asked.
        took_ms: from before the event was sent until the answer was there.
        body: the answer.
    """

    path: str
    took_ms: float
    body: Mapping[str, Any]


def fill_tables(settings: Path, folder: Path, kinds: Sequence[str]) -> list[str]:
    """Runs `scorer sink sql --once` for each kind. Returns their completeness, a line each.

    Raises:
        TransientError: one of them did not end well.
    """
    log = folder / "sink.log"
    with log.open("wb") as output:
        started = [
            subprocess.Popen(
                [sys.executable, "-m", "scorer", "sink", "sql", kind, "--once", "--config", str(settings)],
                stdout=subprocess.PIPE,
                stderr=output,
            )
            for kind in kinds
        ]
        lines = []
        for kind, process in zip(kinds, started, strict=True):
            try:
                said, _ = process.communicate(timeout=SINK_S_MAX)
            except BaseException:
                for each in started:
                    each.kill()
                    each.wait()
                raise
            if process.returncode:
                raise TransientError(f"scorer sink sql {kind} --once ended with {process.returncode}; see {log}")
            lines.append(said.decode().strip())
    return lines


def ask_tables(folder: Path, kinds: Sequence[str]) -> list[Table]:
    """The analysts' questions, asked of the database while nothing writes to it."""
    found = []
    with closing(sqlite3.connect(f"{(folder / DATABASE).as_uri()}?mode=ro", uri=True)) as database:
        for kind in kinds:
            for title, query in _QUERIES[kind]:
                cursor = database.execute(query)
                names = [column[0] for column in cursor.description]
                found.append(Table(title, query, names, cursor.fetchall()))
    return found


def ask_gateway(port: int, kind: str, schema: WriterSchema, publisher: Publisher, seed: int) -> Answer:
    """Sends one event of a kind and asks for the prediction of that very event, as an app does at a login.

    Raises:
        TransientError: the gateway did not answer with it.
    """
    clock = SystemClock()
    event = next(samples(kind, 1, seed, lambda _: clock.now_ms()).events)
    message = next(encoded([event], schema, KEYS[kind]))
    entity, name = quote(str(event[KEYS[kind]]), safe=""), OUTPUTS[kind].rpartition(".")[2] + "s"
    path = f"/v1/{name}/{entity}"
    question = f"{path}?after={quote(str(event['event_id']), safe='')}&wait_ms={WAIT_MS_MAX}&limit=5"
    started_s = time.monotonic()
    send(iter([message]), TOPICS[kind], publisher, clock, stop=Event())
    while True:
        body = _get(port, question)
        if body is not None and body.get("event_id") == event["event_id"]:
            return Answer(path, (time.monotonic() - started_s) * 1000, body)
        if time.monotonic() - started_s > ANSWER_S_MAX:
            raise TransientError(f"the gateway does not answer for event {event['event_id']}; see gateway.log")
        time.sleep(0.05)


def _get(port: int, path: str) -> dict[str, Any] | None:
    try:
        with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except (HTTPError, URLError, OSError):
        return None
