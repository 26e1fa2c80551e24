"""Sinks that meet on one PostgreSQL, and what its people may set without changing what the tables say."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
import sqlalchemy as sa

from scorer.core.errors import ConfigError, TransientError
from scorer.core.load import Load, Refused
from scorer.core.tables import layout
from scorer.edges.sql import sink
from scorer.edges.sql.database import Access, open_engine
from scorer.edges.sql.names import Names
from scorer.edges.sql.sink import SqlSink
from tests.harness.postgres import Server
from tests.harness.sinks import START_MS, prediction, schema_of
from tests.unit.edges.sql_loads import SOURCES, TOPIC, load
from tests.unit.edges.sql_places import Place

DAY_MS = 86_400_000
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def until(place: Place, query: str, wanted: int) -> None:
    until_s = time.monotonic() + 4
    while place.rows(query) != [(wanted,)]:
        assert time.monotonic() < until_s, query
        time.sleep(0.02)


def held(monkeypatch: pytest.MonkeyPatch) -> tuple[Event, Event]:
    """Holds the first transaction once its rows are written: (it is there, let it go)."""
    there, go, store = Event(), Event(), sink.store

    def wait(*args: object) -> None:
        if not there.is_set():
            there.set()
            assert go.wait(10)
        store(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(sink, "store", wait)
    return there, go


def test_an_owner_that_was_taken_for_dead_and_the_next_one_write_a_load_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = place.sink(), place.sink()
    old.write(load("lead", [prediction("lead", 0)]))
    there, go = held(monkeypatch)
    given = load("lead", [prediction("lead", at) for at in range(1, 5)], 1)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(old.write, given)
        assert there.wait(10)
        second = pool.submit(new.write, given)
        until(place, WAITING, 1)
        go.set()
        counts = [(each.result(10)["row"], each.result(10)["repeat"]) for each in (first, second)]
    assert counts == [(4, 0), (0, 0)]
    assert place.rows("SELECT count(*) FROM t_history") == [(5,)]


@pytest.mark.parametrize("newer_first", [True, False])
def test_of_two_sinks_that_write_an_entity_at_once_the_newer_prediction_stays_with_its_items(
    place: Place, monkeypatch: pytest.MonkeyPatch, newer_first: bool
) -> None:
    one, other = place.sink("login"), place.sink("login")
    given = [
        load(
            "login",
            [prediction("login", at, customer_id="c", items=[{"product_code": f"of {at}", "score": 1.0}])],
            0,
            partition=at,
        )
        for at in (0, 1)
    ]
    there, go = held(monkeypatch)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(one.write, given[newer_first])
        assert there.wait(10)
        second = pool.submit(other.write, given[not newer_first])
        until(place, WAITING, 1)
        go.set()
        assert [first.result(10)["row"], second.result(10)["row"]] == [1, 1]
    assert place.rows("SELECT t.event_id, product_code FROM t JOIN t_items USING (customer_id)") == [
        ("event-1", "of 1")
    ]
    assert place.rows("SELECT count(*) FROM t_history_items") == [(2,)]


@pytest.mark.parametrize("at_once", [True, False])
def test_of_two_models_predictions_of_one_event_the_first_stays_on_postgresql(place: Place, at_once: bool) -> None:
    items = {version: [{"product_code": f"of {version}", "score": 1.0}] for version in "12"}
    both = [prediction("login", 7, model_version=version, items=items[version]) for version in "12"]
    writing = place.sink("login")
    for at, part in enumerate([both] if at_once else [both[:1], both[1:]]):
        writing.write(load("login", part, at))
    found = place.rows("SELECT model_version, product_code FROM t JOIN t_items USING (customer_id)")
    assert found == [("1", "of 1")]


def test_each_sink_keeps_a_position_of_its_own_for_each_topic_on_postgresql(place: Place) -> None:
    one, other = place.sink(base="t"), place.sink(base="u")
    one.write(load("lead", [prediction("lead", at) for at in range(3)]))
    one.write(Load("letters", {0: 0}, {0: 7}, refused=[Refused(0, 4, 0, "decode", "malformed")]))
    assert other.write(load("lead", [prediction("lead", 0)]))["row"] == 1
    assert one.write(load("lead", [prediction("lead", 3)], 3))["row"] == 1
    one.write(Load("letters", {0: 7}, {0: 9}))
    assert (one.positions(TOPIC), one.positions("letters"), other.positions(TOPIC)) == ({0: 4}, {0: 9}, {0: 1})


def test_days_and_times_are_utc_whatever_zone_the_database_and_its_readers_are_in(place: Place) -> None:
    place.run(f"ALTER DATABASE {place.database} SET timezone = 'Pacific/Kiritimati'")
    writing, last = place.sink(), START_MS - START_MS % DAY_MS - 1
    day = time.strftime("%Y-%m-%d", time.gmtime(last / 1000))
    for at in range(2):  # one row alone, and with another time beside it
        writing.write(
            load(
                "lead",
                [
                    prediction("lead", each, occurred_at=last, source_timestamp=last - each)
                    for each in range(at * 2, at * 3 + 1)
                ],
                at,
            )
        )
    writing.write(Load("letters", {0: 0}, {0: 1}, refused=[Refused(3, 4, last, "decode", "malformed")]))
    assert place.rows("SELECT DISTINCT extract(epoch FROM occurred_at) * 1000 FROM t_history") == [(last,)]
    assert place.rows("SELECT extract(epoch FROM source_timestamp) * 1000 FROM t_rejected") == [(last,)]
    assert [str(each) for (each,) in place.rows("SELECT day FROM t_by_bucket_day")] == [day]
    assert place.rows("SELECT day, scored, rejected FROM t_completeness WHERE day <> 'total'") == [(day, 3, 1)]


def test_moves_and_stale_ones_are_told_from_the_others_on_postgresql(place: Place) -> None:
    place.run(f"ALTER DATABASE {place.database} SET timezone = 'Pacific/Kiritimati'")
    now = int(time.time() * 1000)
    while now % DAY_MS > DAY_MS - 20_000:  # midnight must not come before the views are read
        time.sleep(1)
        now = int(time.time() * 1000)
    today = now - now % DAY_MS
    given = [
        prediction("lead", 1, lead_id="moved", bucket="C", occurred_at=today - 1),
        prediction("lead", 2, lead_id="moved", bucket="A", occurred_at=today),
        prediction("lead", 3, lead_id="before", bucket="C", occurred_at=today - 2),
        prediction("lead", 4, lead_id="before", bucket="A", occurred_at=today - 1),
        prediction("lead", 5, lead_id="old", occurred_at=now - 31 * DAY_MS),
        prediction("lead", 6, lead_id="other", occurred_at=now - 29 * DAY_MS, model_sha256="b" * 64),
    ]
    place.sink().write(load("lead", given))
    assert place.rows("SELECT lead_id, bucket_before, bucket_now FROM t_bucket_moves") == [("moved", "C", "A")]
    assert place.rows("SELECT lead_id, is_old, is_of_other_model FROM t_stale ORDER BY 1") == [
        ("old", True, False),
        ("other", False, True),
    ]


def test_a_database_that_does_not_hold_every_text_is_refused_at_the_start(postgres: Server, database: str) -> None:
    name = f"{database}_latin"
    with postgres.connect() as connection:
        connection.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        try:
            engine = open_engine(Access(f"{postgres.url}/{name}", "scorer"))
            with pytest.raises(ConfigError, match="LATIN1"):
                SqlSink(engine, Names("t"), SOURCES["lead"], layout(schema_of("lead").root, "lead_id")).prepare()
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_load_whose_connection_is_ended_is_written_with_the_next_one(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, store = place.sink(), sink.store

    def ended(connection: sa.Connection, *args: object) -> None:
        own = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
        place.run(f"SELECT pg_terminate_backend({own})")
        store(connection, *args)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(sink, "store", ended)
        with pytest.raises(TransientError):
            writing.write(load("lead", [prediction("lead", 0)]))
    writing.write(load("lead", [prediction("lead", 0)]))
    assert (place.rows("SELECT count(*) FROM t"), writing.positions(TOPIC)) == ([(1,)], {0: 1})


def test_two_sinks_that_hold_what_the_other_wants_both_get_on(place: Place) -> None:
    sinks = [place.sink(), place.sink()]
    given: list[Callable[[int], list[dict[str, object]]]] = [
        lambda at: [prediction("lead", 1000 + at * 40 + each, lead_id=f"l{each}") for each in range(40)],
        lambda at: [prediction("lead", 9000 + at * 40 + each, lead_id=f"l{39 - each}") for each in range(40)],
    ]

    def fill(which: int) -> None:
        for at in range(10):
            what = load("lead", given[which](at), at * 40, partition=which)
            for _ in range(50):
                try:
                    sinks[which].write(what)
                    break
                except TransientError:
                    time.sleep(0.01 * (1 + which))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(fill, range(2)))
    assert place.rows("SELECT count(*), count(DISTINCT lead_id) FROM t_history") == [(800, 40)]
    assert place.rows("SELECT next_offset FROM scorer_position") == [(400,), (400,)]
    assert place.rows("SELECT count(*) FROM t WHERE event_id < 'event-9'") == [(0,)]
