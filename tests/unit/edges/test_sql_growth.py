"""Tables that are there already: what they take over, what they refuse, and who makes room for a new field."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from scorer.core.errors import ContractError
from scorer.core.schema import writer_schema
from scorer.core.tables import layout
from scorer.edges.sql.database import Access, connected, open_engine
from scorer.edges.sql.names import Names
from scorer.edges.sql.sink import SqlSink
from tests.harness.postgres import Server
from tests.harness.sinks import ENTITIES, prediction, schema_of
from tests.harness.topics import shipped_schema
from tests.unit.edges.sql_loads import SOURCES, TOPIC, grown_load, load

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
WAIT_S_MAX = 4.0


def test_two_sinks_that_meet_a_new_field_at_once_both_write_it(postgres: Server, database: str) -> None:
    engine = open_engine(Access(f"{postgres.url}/{database}", "scorer"))
    known = layout(schema_of("lead").root, ENTITIES["lead"])
    sinks = [SqlSink(engine, Names("t"), SOURCES["lead"], known) for _ in range(2)]
    for sink in sinks:
        sink.prepare()
    with postgres.connect(database) as reader, ThreadPoolExecutor(2) as pool:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM t")  # holds up whoever adds a column
        writes = [pool.submit(sink.write, grown_load(at, partition=at)) for at, sink in enumerate(sinks)]
        until_s = time.monotonic() + WAIT_S_MAX
        with postgres.connect(database) as watch:
            while watch.execute(WAITING).fetchone() != (2,):
                assert time.monotonic() < until_s, "they do not wait"
                time.sleep(0.02)
        reader.execute("ROLLBACK")
        assert [each.result(20)["row"] for each in writes] == [1, 1]
        assert reader.execute("SELECT count(churn) FROM t_history").fetchone() == (2,)
    assert sinks[0].positions(TOPIC) == {0: 1, 1: 1}
    for sink in sinks:
        sink.close()


def test_a_column_that_holds_more_than_is_needed_is_kept(tmp_path: Path) -> None:
    engine = open_engine(Access(f"sqlite:///{tmp_path}/scores.db"))
    with engine.begin() as connection:
        columns = "customer_id text, item_rank bigint, score double, PRIMARY KEY (customer_id, item_rank)"
        connection.execute(sa.text(f"CREATE TABLE t_items ({columns})"))
    with closing(SqlSink(engine, Names("t"), SOURCES["login"], layout(schema_of("login").root, "customer_id"))) as sink:
        sink.prepare()
        sink.write(load("login", [prediction("login", 1)]))
    with connected(engine) as connection:
        found = connection.execute(sa.text("SELECT product_code, score FROM t_items ORDER BY item_rank")).all()
    assert found == [("P0", 1.5), ("P1", 0.5), ("P2", -0.5)]


def test_a_field_whose_table_would_be_another_one_of_the_sinks_is_refused(tmp_path: Path) -> None:
    item = {"type": "record", "name": "Step", "fields": [{"name": "code", "type": "string"}]}
    lead = shipped_schema("predictions.lead-score")
    fields = [*lead["fields"], {"name": "history", "type": {"type": "array", "items": item}}]
    wanted = layout(writer_schema(1, json.dumps({**lead, "fields": fields})).root, "lead_id")
    engine = open_engine(Access(f"sqlite:///{tmp_path}/scores.db"))
    with (
        closing(SqlSink(engine, Names("t"), SOURCES["lead"], wanted)) as sink,
        pytest.raises(ContractError, match="the field history needs a table t_history"),
    ):
        sink.prepare()


def test_a_view_that_is_not_as_it_should_be_is_made_again_at_the_start(tmp_path: Path) -> None:
    engine = open_engine(Access(f"sqlite:///{tmp_path}/scores.db"))
    with closing(SqlSink(engine, Names("t"), SOURCES["lead"], layout(schema_of("lead").root, "lead_id"))) as sink:
        sink.prepare()
        with connected(engine) as connection:
            connection.execute(sa.text("DROP VIEW t_stale"))
            connection.execute(sa.text("CREATE VIEW t_stale AS SELECT 1 AS lead_id"))
        sink.prepare()
        with connected(engine) as connection:
            assert connection.execute(sa.text("SELECT lead_id FROM t_stale")).all() == []
