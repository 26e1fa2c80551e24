"""Up to where each sink has come of each topic, and of what it is held against, on SQLite."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from scorer.core.load import Load, Refused
from scorer.core.tables import layout
from scorer.edges.sql.completeness import Completeness
from scorer.edges.sql.database import Access, connected, open_engine
from scorer.edges.sql.names import Names
from scorer.edges.sql.sink import SqlSink
from tests.harness.sinks import ENTITIES, prediction, schema_of
from tests.unit.edges.sql_loads import SOURCES, TOPIC, load


def test_each_sink_keeps_a_position_of_its_own_for_each_topic(tmp_path: Path) -> None:
    engine, wanted = (
        open_engine(Access(f"sqlite:///{tmp_path}/scores.db")),
        layout(schema_of("lead").root, ENTITIES["lead"]),
    )
    with (
        closing(SqlSink(engine, Names("t"), SOURCES["lead"], wanted)) as one,
        closing(SqlSink(engine, Names("u"), SOURCES["lead"], wanted)) as other,
    ):
        one.prepare()
        other.prepare()
        one.write(load("lead", [prediction("lead", 0)]))
        one.write(Load("letters", {0: 0}, {0: 7}))
        assert (one.positions(TOPIC), one.positions("letters")) == ({0: 1}, {0: 7})
        assert (other.positions(TOPIC), other.positions("letters")) == ({}, {})
        other.write(load("lead", [prediction("lead", 0), prediction("lead", 1)]))
        assert (one.positions(TOPIC), other.positions(TOPIC)) == ({0: 1}, {0: 2})


def test_what_expires_later_is_missed_what_comes_later_waits_and_neither_is_complete(tmp_path: Path) -> None:
    engine = open_engine(Access(f"sqlite:///{tmp_path}/scores.db"))
    wanted, source = layout(schema_of("lead").root, ENTITIES["lead"]), SOURCES["lead"]
    with closing(SqlSink(engine, Names("t"), source, wanted)) as sink:
        sink.prepare()
        found = Completeness(engine, Names("t"), source)
        found.note_source({0: (0, 2)})
        found.note_source({0: (1, 3)})
        assert found.unknown() == [(0, 0, 3)]
        waiting = found.totals()
        sink.write(load("lead", [prediction("lead", at, source_partition=0, source_offset=at) for at in (0, 2)]))
        missing = found.totals()
    assert (waiting.missing, waiting.waiting, waiting.complete) == (0, 3, False)
    assert (missing.missing, missing.waiting, missing.complete) == (1, 0, False)


def test_a_stage_is_kept_without_what_databases_do_not_take(tmp_path: Path) -> None:
    engine = open_engine(Access(f"sqlite:///{tmp_path}/scores.db"))
    wanted = layout(schema_of("lead").root, ENTITIES["lead"])
    with closing(SqlSink(engine, Names("t"), SOURCES["lead"], wanted)) as sink:
        sink.prepare()
        sink.write(Load("letters", {0: 0}, {0: 1}, refused=[Refused(0, 4, 0, "dec\0ode", "malformed")]))
    with connected(engine) as connection:
        assert connection.execute(sa.text("SELECT stage, reason FROM t_rejected")).all() == [("decode", "malformed")]


def test_an_event_that_was_rejected_and_then_scored_counts_as_scored_alone(tmp_path: Path) -> None:
    engine = open_engine(Access(f"sqlite:///{tmp_path}/scores.db"))
    wanted, source = layout(schema_of("lead").root, ENTITIES["lead"]), SOURCES["lead"]
    with closing(SqlSink(engine, Names("t"), source, wanted)) as sink:
        sink.prepare()
        refused = [Refused(0, at, 0, "decode", "malformed") for at in (0, 1)]
        sink.write(Load("letters", {0: 0}, {0: 2}, refused=refused))
        sink.write(load("lead", [prediction("lead", 0, source_partition=0, source_offset=1)]))
        found = Completeness(engine, Names("t"), source).totals()
    assert (found.events, found.scored, found.rejected, found.missing) == (2, 1, 1, 0)
