"""Several sinks of one stream meet a new field at the same moment, in a real PostgreSQL."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from scorer.core.tables import layout
from scorer.edges.sql.database import Access, open_engine
from scorer.edges.sql.names import Names
from scorer.edges.sql.sink import SqlSink
from tests.harness.postgres import Server
from tests.harness.sinks import ENTITIES, schema_of
from tests.unit.edges.sql_loads import SOURCES, TOPIC, grown_load

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
