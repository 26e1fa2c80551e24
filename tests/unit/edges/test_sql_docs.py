"""docs/sinks.md: every query of the page runs on both databases, and its tables of reasons are complete."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from scorer.core.rows import UNTABLED
from scorer.core.tables import layout, table_name
from scorer.edges.kafka.extents import EXPIRED, NO_RECORD, TOMBSTONE
from scorer.edges.sql.bookkeeping import ERASED
from scorer.edges.sql.database import Access, connected, open_engine
from scorer.edges.sql.names import Names
from scorer.edges.sql.sink import SqlSink
from tests.harness.sinks import ENTITIES, prediction, schema_of
from tests.unit.edges.sql_loads import SOURCES, load

PAGE = (Path(__file__).parents[3] / "docs" / "sinks.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
KINDS = {"lead": "predictions.lead-score", "login": "predictions.recommendation"}
DAY_MS = 86_400_000
EMPTY = ("_rejected", "_moves")


@pytest.mark.parametrize("database_kind", ["sqlite", "postgresql"])
def test_every_query_of_the_page_has_an_answer(
    database_kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    access = Access(f"sqlite:///{tmp_path}/scores.db")
    if database_kind == "postgresql":
        server = request.getfixturevalue("postgres")
        access = Access(f"{server.url}/{request.getfixturevalue('database')}", "scorer")
    engine = open_engine(access)
    for kind, topic in KINDS.items():
        sink = SqlSink(engine, Names(table_name(topic)), SOURCES[kind], layout(schema_of(kind).root, ENTITIES[kind]))
        sink.prepare()
        sink.write(load(kind, [prediction(kind, at) for at in range(20)]))
        sink.close()
    assert len(QUERIES) == 10
    with connected(engine) as connection:
        for query in QUERIES:
            found = connection.execute(sa.text(query)).fetchall()
            assert found or any(name in query for name in EMPTY), query


def test_the_page_names_every_reason() -> None:
    rows = set(re.findall(r"^\| `([a-z_]+)` \|", PAGE, re.MULTILINE))
    assert {EXPIRED, TOMBSTONE, NO_RECORD, ERASED} | UNTABLED.keys() <= rows


def test_moves_and_stale_ones_are_told_from_the_others(tmp_path: Path) -> None:
    engine, now = open_engine(Access(f"sqlite:///{tmp_path}/s.db")), _time_well_within_a_day()
    sink = SqlSink(engine, Names("t"), "s", layout(schema_of("lead").root, "lead_id"))
    sink.prepare()
    today = now - now % DAY_MS
    given = [
        prediction("lead", 1, lead_id="moved", bucket="D", occurred_at=today - 2 * DAY_MS),
        prediction("lead", 2, lead_id="moved", bucket="C", occurred_at=today - 1),
        prediction("lead", 3, lead_id="moved", bucket="A", occurred_at=today),
        prediction("lead", 4, lead_id="stays", bucket="A", occurred_at=today - 1),
        prediction("lead", 5, lead_id="stays", bucket="A", occurred_at=today + 1),
        prediction("lead", 6, lead_id="new", occurred_at=today + 1),
        prediction("lead", 7, lead_id="old", occurred_at=now - 31 * DAY_MS),
        prediction("lead", 8, lead_id="other", occurred_at=now - 29 * DAY_MS, model_sha256="b" * 64),
    ]
    sink.write(load("lead", given))
    with connected(engine) as connection:
        moves = connection.execute(sa.text("SELECT lead_id, bucket_before, bucket_now FROM t_bucket_moves")).fetchall()
        stale = connection.execute(sa.text("SELECT lead_id, is_old, is_of_other_model FROM t_stale")).fetchall()
    assert [tuple(row) for row in moves] == [("moved", "C", "A")]
    assert sorted(tuple(row) for row in stale) == [("old", 1, 0), ("other", 0, 1)]
    sink.close()


def _time_well_within_a_day() -> int:
    """Milliseconds: the views ask the database for today's date, so midnight must not come before they are read."""
    while (now := int(time.time() * 1000)) % DAY_MS > DAY_MS - 10_000:
        time.sleep(1)
    return now
