"""What a sink asks of its session with PostgreSQL, whatever roles, databases, poolers and URLs say."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from scorer.core.errors import ConfigError, TransientError
from scorer.edges.sql import database, sink
from scorer.edges.sql.completeness import Completeness
from scorer.edges.sql.database import Access, open_engine
from scorer.edges.sql.names import Names
from tests.harness.sinks import prediction
from tests.unit.edges.sql_loads import SOURCES, TOPIC, load
from tests.unit.edges.sql_places import Place

LOADS_PREPARED = 8
"""After five times psycopg prepares a statement, unless it is told not to."""


def updates(first: int, kind: str = "lead", count: int = 2) -> list[dict[str, object]]:
    entity = {"lead": "lead_id", "login": "customer_id"}[kind]
    return [prediction(kind, first + at, **{entity: f"e{at}"}) for at in range(count)]


def test_no_load_needs_what_an_earlier_one_left_in_the_session(place: Place) -> None:
    writing = place.sink()
    for at in range(LOADS_PREPARED):
        writing.write(load("lead", updates(2 * at), 2 * at))
        assert writing._connection is not None
        prepared = writing._connection.execute(sa.text("SELECT count(*) FROM pg_prepared_statements"))
        assert prepared.scalar_one() == 0
        writing._connection.exec_driver_sql("DISCARD ALL")
    assert place.rows("SELECT count(*) FROM t_history") == [(2 * LOADS_PREPARED,)]


def test_sinks_of_two_streams_share_a_session_that_a_pooler_gives_them_in_turn(place: Place) -> None:
    leads, logins = place.sink(base="t"), place.sink("login", base="u")
    logins._connection = leads._connected()
    for at in range(3):
        leads.write(load("lead", updates(2 * at), 2 * at))
        logins.write(load("login", updates(2 * at, "login"), 2 * at))
    assert place.rows("SELECT count(*) FROM t") == [(2,)]
    assert place.rows("SELECT count(*) FROM u_items") == [(6,)]
    logins._connection = None


def test_a_schema_named_in_the_url_is_where_the_tables_are(place: Place) -> None:
    place.run("CREATE SCHEMA analytics")
    place.sink(query="?options=-csearch_path%3Danalytics").write(load("lead", updates(0)))
    made = (
        "SELECT count(*) > 1, min(schemaname), max(schemaname) FROM pg_tables WHERE tablename ~ '^(t|scorer_position)'"
    )
    assert place.rows(made) == [(True, "analytics", "analytics")]


def test_the_url_has_the_last_word_on_how_to_connect(place: Place) -> None:
    with place.engine("?application_name=nightly").connect() as connection:
        assert connection.execute(sa.text("SHOW application_name")).scalar_one() == "nightly"


def test_texts_are_what_they_were_whatever_encoding_a_database_gives_its_clients(place: Place) -> None:
    place.run(f"ALTER DATABASE {place.database} SET client_encoding = 'LATIN1'")
    writing = place.sink()
    for at in range(2):
        writing.write(load("lead", [prediction("lead", 4 * at, lead_id="Zoë €", bucket="ü")], at))
    with place.engine().connect() as connection:
        assert connection.execute(sa.text("SELECT lead_id, bucket FROM t")).all() == [("Zoë €", "ü")]


def test_a_time_limit_for_statements_is_for_analysts(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.run(f"ALTER DATABASE {place.database} SET statement_timeout = 400")
    writing, store = place.sink(), sink.store

    def slowly(connection: sa.Connection, *args: object) -> None:
        connection.execute(sa.text("SELECT pg_sleep(0.6)"))
        store(connection, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(sink, "store", slowly)
    writing.write(load("lead", updates(0)))
    assert place.rows("SELECT count(*) FROM t") == [(2,)]


def test_sinks_that_start_at_once_all_start_whatever_the_databases_isolation(place: Place) -> None:
    place.run(f"ALTER DATABASE {place.database} SET default_transaction_isolation = 'serializable'")
    with place.server.connect(place.database) as other, ThreadPoolExecutor(3) as pool:
        other.execute("BEGIN")
        other.execute(f"SELECT pg_advisory_xact_lock({sink.MAKE_LOCK})")
        starts = [pool.submit(place.sink) for _ in range(3)]
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"
        until_s = time.monotonic() + 4
        while place.rows(waiting) != [(3,)]:
            assert time.monotonic() < until_s, "they do not wait"
            time.sleep(0.02)
        other.execute("ROLLBACK")
        for each in starts:
            each.result(20)


@pytest.mark.parametrize(
    "column", ["loaded timestamptz NOT NULL DEFAULT now()", "id bigint GENERATED ALWAYS AS IDENTITY"]
)
def test_a_column_that_people_add_to_the_table_of_the_latest_is_theirs(place: Place, column: str) -> None:
    writing = place.sink()
    writing.write(load("lead", updates(0)))
    place.run(f"ALTER TABLE t ADD COLUMN {column}")
    writing.write(load("lead", updates(8), 2))
    assert place.rows("SELECT prediction_id FROM t ORDER BY 1") == [
        ("lead/1/events.new-lead/0/2",),
        ("lead/1/events.new-lead/1/2",),
    ]


@pytest.mark.parametrize("what", ["positions", "write", "totals"])
def test_a_lock_of_somebody_elses_is_waited_for_and_told_not_sat_out(
    place: Place, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LOCK_MS_MAX", 50)
    writing, found = place.sink(), Completeness(place.engine(), Names("t"), SOURCES["lead"])
    asked = {
        "positions": lambda: writing.positions(TOPIC),
        "write": lambda: writing.write(load("lead", updates(0))),
        "totals": found.totals,
    }
    with place.server.connect(place.database) as other:
        other.execute("BEGIN")
        other.execute("LOCK TABLE scorer_position, t_source IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(TransientError, match="lock timeout"):
            asked[what]()
        other.execute("ROLLBACK")
    writing.write(load("lead", updates(0)))


def test_a_frozen_sink_lets_go_of_its_locks_and_writes_the_load_once_it_goes_on(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "IDLE_MS_MAX", 50)
    writing, store = place.sink(), sink.store

    def freeze(*args: object) -> None:
        time.sleep(0.3)
        store(*args)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(sink, "store", freeze)
        with pytest.raises(TransientError, match="idle-in-transaction"):
            writing.write(load("lead", updates(0)))
    assert place.rows("SELECT count(*) FROM t") == [(0,)]
    writing.write(load("lead", updates(0)))
    assert place.rows("SELECT count(*) FROM t") == [(2,)]


def test_a_connection_that_goes_between_commit_and_its_answer_costs_nothing_and_writes_nothing_twice(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing = place.sink("login")
    given = load("login", [*updates(0, "login"), (b"e0", None), *updates(2, "login", 1)])
    writing.write(given)
    before = place.rows("SELECT prediction_id FROM t_history ORDER BY 1")
    again = writing.write(given)  # as the loop does: the same load, since it heard of no commit
    assert (again["row"], writing.positions(TOPIC)) == (0, {0: 4})
    assert place.rows("SELECT prediction_id FROM t_history ORDER BY 1") == before
    assert place.rows("SELECT customer_id FROM t ORDER BY 1") == [("e0",), ("e1",)]


@pytest.mark.parametrize("query", ["?shema=x", "?sslmode=requre", "?sslmode=require", "?sslmode=verify-full"])
def test_a_url_with_which_no_waiting_helps_ends_the_start(place: Place, query: str) -> None:
    with pytest.raises(ConfigError):
        place.sink(query=query)


def test_a_database_that_is_read_only_for_now_is_waited_for(place: Place) -> None:
    writing = place.sink()
    place.run(f"ALTER DATABASE {place.database} SET default_transaction_read_only = on")
    with pytest.raises(TransientError, match="read-only"):
        writing.write(load("lead", updates(0)))
    with pytest.raises(TransientError, match="read-only"):
        place.sink()


def test_a_passphrase_in_the_url_is_refused_as_a_password_is() -> None:
    with pytest.raises(ConfigError, match="holds a password"):
        open_engine(Access("postgresql://host/scores?sslpassword=hunter2"))
