"""Every rule of the tables, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from scorer.core.errors import ConfigError, HaltError, TransientError
from scorer.core.load import Load, Refused, joined
from scorer.core.schema import WriterSchema
from scorer.core.tables import layout
from scorer.edges.sql.completeness import Completeness
from scorer.edges.sql.database import Access, connected, open_engine
from scorer.edges.sql.names import Names
from scorer.edges.sql.sink import SqlSink
from tests.harness.sinks import ENTITIES, Prediction, encoded, prediction, schema_of
from tests.unit.edges.sql_loads import SOURCES, TOPIC, grown_load, load


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> sa.Engine:
    if request.param == "sqlite":
        return open_engine(Access(f"sqlite:///{tmp_path}/scores.db"))
    server = request.getfixturevalue("postgres")
    return open_engine(Access(f"{server.url}/{request.getfixturevalue('database')}", "scorer"))


@pytest.fixture
def make(engine: sa.Engine) -> Iterator[Callable[..., SqlSink]]:
    made: list[SqlSink] = []

    def make(kind: str = "lead", schema: WriterSchema | None = None) -> SqlSink:
        root = (schema or schema_of(kind)).root
        sink = SqlSink(engine, Names("t"), SOURCES[kind], layout(root, ENTITIES[kind]))
        sink.prepare()
        made.append(sink)
        return sink

    yield make
    for sink in made:
        sink.close()


def rows(engine: sa.Engine, query: str) -> list[tuple[Any, ...]]:
    with connected(engine) as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


def test_a_table_that_was_there_with_a_column_too_narrow_is_a_matter_of_settings_at_the_start(
    engine: sa.Engine, make: Callable[..., SqlSink]
) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE t (lead_id varchar PRIMARY KEY, occurred_at integer)"))
    with pytest.raises(ConfigError, match="occurred_at"):
        make()


def test_the_newest_prediction_stays_in_whatever_order_they_come(
    engine: sa.Engine, make: Callable[..., SqlSink]
) -> None:
    sink, chance = make(), random.Random(7)
    # All but the first two of ORDER's keys tie somewhere, and scored_at runs backwards: it must not count.
    given = [
        prediction(
            "lead",
            at,
            lead_id=f"l{at % 5}",
            occurred_at=1000 + at // 20,
            source_timestamp=5000 + at // 10,
            scored_at=9000 - at,
        )
        for at in range(60)
    ]
    wanted = {}
    for each in given:
        order = [each[name] for name in ("occurred_at", "source_timestamp", "source_partition", "source_offset")]
        wanted[each["lead_id"]] = max(wanted.get(each["lead_id"], ([], "")), (order, each["prediction_id"]))
    chance.shuffle(given)
    for at in range(0, 60, 7):
        sink.write(load("lead", given[at : at + 7], at))
    assert dict(rows(engine, "SELECT lead_id, prediction_id FROM t")) == {
        key: each for key, (_, each) in wanted.items()
    }


def test_a_prediction_that_comes_again_changes_nothing_and_the_first_of_an_id_stays(
    engine: sa.Engine, make: Callable[..., SqlSink]
) -> None:
    sink = make()
    first = [prediction("lead", at) for at in range(40)]
    again = [{**each, "score": 0.9} for each in first]
    sink.write(load("lead", first))
    assert sink.write(load("lead", [*again, prediction("lead", 99)], 40)) == sink_counts(1, 40)
    assert rows(engine, "SELECT DISTINCT score FROM t_history") == [(0.5,)]
    assert rows(engine, "SELECT DISTINCT score FROM t") == [(0.5,)]
    twice = [prediction("lead", 200), {**prediction("lead", 200), "score": 0.1}]
    sink.write(load("lead", twice, 81))
    assert rows(engine, "SELECT score FROM t WHERE lead_id = 'entity-200'") == [(0.5,)]


def sink_counts(row: int, repeat: int) -> dict[str, int]:
    return {"other_lane": 0, "unreadable": 0, "tombstone": 0, "row": row, "repeat": repeat}


def test_items_follow_their_prediction_by_rank(engine: sa.Engine, make: Callable[..., SqlSink]) -> None:
    sink = make("login")

    def of(number: int, *codes: str, **more: Any) -> Prediction:
        items = [{"product_code": code, "score": 1.0} for code in codes]
        return prediction("login", number, customer_id="c", items=items, **more)

    sink.write(load("login", [of(1, "a", "b"), of(2, "c", "d", "e"), prediction("login", 3)]))
    found = "SELECT item_rank, product_code FROM t_items WHERE customer_id = 'c' ORDER BY item_rank"
    assert rows(engine, found) == [(1, "c"), (2, "d"), (3, "e")]
    sink.write(load("login", [of(0, "old")], 3))
    assert rows(engine, found) == [(1, "c"), (2, "d"), (3, "e")]
    sink.write(load("login", [of(9)], 4))
    assert rows(engine, found) == []
    assert rows(engine, "SELECT count(*) FROM t_history_items") == [(2 + 3 + 1 + 3,)]


def test_what_lies_below_the_stored_position_is_left_out(engine: sa.Engine, make: Callable[..., SqlSink]) -> None:
    old, new = make(), make()
    given = [prediction("lead", at) for at in range(10)]
    old.write(load("lead", given[:4]))
    new.write(load("lead", given[4:8], 4))
    late = load("lead", [{**each, "lead_id": "late"} for each in [*given[2:8], given[9]]], 2)
    old.write(late)  # an owner that was taken for dead comes back
    assert rows(engine, "SELECT count(*) FROM t_history WHERE lead_id = 'late'") == [(1,)]
    assert new.positions(TOPIC) == {0: 9}
    new.write(load("lead", given[4:6], 4))
    assert new.positions(TOPIC) == {0: 9}, "a position never goes back"


def test_a_late_owner_neither_brings_back_what_was_erased_nor_erases_what_came_after(
    engine: sa.Engine, make: Callable[..., SqlSink]
) -> None:
    old, new = make(), make()
    before, after = (prediction("lead", at, lead_id="l") for at in (0, 2))
    new.write(load("lead", [before, (b"l", None), after]))
    old.write(load("lead", [before, (b"l", None)]))
    assert rows(engine, "SELECT event_id FROM t_history") == [("event-2",)]
    assert rows(engine, "SELECT event_id FROM t") == [("event-2",)]


def test_rows_and_position_are_written_together_or_not_at_all(
    engine: sa.Engine, make: Callable[..., SqlSink], monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = make()

    def fail(*_: Any) -> None:
        raise RuntimeError("at the last moment")

    with monkeypatch.context() as patched:
        patched.setattr("scorer.edges.sql.sink.store", fail)
        with pytest.raises(RuntimeError):
            sink.write(load("lead", [prediction("lead", 1)]))
    assert sink._connection is None, "whatever state it is in, the next attempt has a new one"
    assert rows(engine, "SELECT count(*) FROM t_history") == [(0,)]
    sink.write(load("lead", [prediction("lead", 1)]))
    assert (rows(engine, "SELECT count(*) FROM t"), sink.positions(TOPIC)) == ([(1,)], {0: 1})


def test_a_new_column_that_was_rolled_back_is_made_again_with_the_next_attempt(
    engine: sa.Engine, make: Callable[..., SqlSink], monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = make()

    def fail(*_: Any) -> None:
        raise TransientError("the database went away before the commit")

    with monkeypatch.context() as patched:
        patched.setattr("scorer.edges.sql.sink.store", fail)
        with pytest.raises(TransientError):
            sink.write(grown_load(1))
    sink.write(grown_load(1))
    assert rows(engine, "SELECT churn FROM t") == [(0.125,)]


def test_a_database_that_was_set_back_halts_the_sink_rather_than_leave_a_gap(make: Callable[..., SqlSink]) -> None:
    with pytest.raises(
        HaltError, match=r"predictions.x/0: the database says 0 is the next offset, .* up to 7: it was restored"
    ):
        make().write(load("lead", [prediction("lead", 1)], 7))


def test_what_does_not_decode_is_kept_with_its_bytes_and_its_neighbours_are_written(
    engine: sa.Engine, make: Callable[..., SqlSink]
) -> None:
    sink = make()
    (key, value), odd = encoded("lead", [prediction("lead", 1)])[0], [prediction("lead", 3, bucket="a\0b")]
    far = prediction("lead", 4, occurred_at=2**60)
    counts = sink.write(
        load("lead", [prediction("lead", 0), (key, value[:-3]), (b"\xff", b"junk"), *odd, far, prediction("lead", 5)])
    )
    assert (counts["row"], counts["unreadable"]) == (2, 4)
    found = rows(engine, 'SELECT "offset", entity, reason, value FROM t_unreadable ORDER BY "offset"')
    assert [(at, who, why) for at, who, why, _ in found] == [
        (1, "entity-1", "malformed"),
        (2, None, "bad_frame"),
        (3, "entity-3", "nul_in_text"),
        (4, "entity-4", "time_out_of_range"),
    ]
    assert [bytes(each[3]) for each in found[:2]] == [value[:-3], b"junk"]


def test_a_tombstone_erases_its_entity_from_every_table_in_the_order_of_the_topic(
    engine: sa.Engine, make: Callable[..., SqlSink]
) -> None:
    sink = make("login")
    sink.write(load("login", [prediction("login", at, customer_id=f"c{at % 2}") for at in range(6)]))
    bad = (b"c1", b"junk")
    before, after = (prediction("login", at, customer_id="c1") for at in (7, 9))
    sink.write(load("login", [bad, before, (b"c1", None), after, prediction("login", 8, customer_id="c0")], 6))
    assert rows(engine, "SELECT customer_id, event_id FROM t ORDER BY 1") == [("c0", "event-8"), ("c1", "event-9")]
    assert rows(engine, "SELECT count(*) FROM t_history WHERE customer_id = 'c1'") == [(1,)]
    assert rows(engine, "SELECT count(*) FROM t_items") == [(6,)]
    assert rows(engine, "SELECT count(*) FROM t_history_items") == [(3 * 5,)]
    assert rows(engine, "SELECT count(*) FROM t_unreadable") == [(0,)]
    assert rows(engine, "SELECT count(*), max(reason) FROM t_skipped") == [(4, "erased")]


def test_a_tombstone_that_comes_alone_erases_as_well(engine: sa.Engine, make: Callable[..., SqlSink]) -> None:
    sink = make()
    sink.write(load("lead", [prediction("lead", 0, lead_id="l"), prediction("lead", 1, lead_id="other")]))
    sink.write(load("lead", [(b"l", None)], 2))
    for table in ("t", "t_history"):
        assert rows(engine, f"SELECT lead_id FROM {table}") == [("other",)]


def test_other_lanes_are_counted_and_left_out(engine: sa.Engine, make: Callable[..., SqlSink]) -> None:
    given = [prediction("lead", 0), prediction("lead", 1, lane="again"), prediction("lead", 2, lane="again")]
    assert make().write(load("lead", given))["other_lane"] == 2
    assert rows(engine, "SELECT lead_id FROM t") == [("entity-0",)]


def test_two_loads_in_one_transaction_are_as_two_of_their_own(engine: sa.Engine, make: Callable[..., SqlSink]) -> None:
    sink = make("login")
    parts = [
        load("login", [prediction("login", at, customer_id=f"c{at % 3}") for at in range(s, s + 5)], s) for s in (0, 5)
    ]
    sink.write(joined(parts))
    assert rows(engine, "SELECT count(*) FROM t_history_items") == [(30,)]
    wanted = "SELECT count(*) FROM t_items i JOIN t l ON l.customer_id = i.customer_id"
    assert rows(engine, wanted) == [(9,)]
    assert sink.positions(TOPIC) == {0: 10}


def test_completeness_tells_missing_from_rejected_from_waiting(engine: sa.Engine, make: Callable[..., SqlSink]) -> None:
    sink = make()
    given = [prediction("lead", 0, source_partition=0, source_offset=at) for at in (2, 3, 7, 8)]
    sink.write(load("lead", given))
    sink.write(Load("letters", {0: 0}, {0: 1}, refused=[Refused(0, 4, 0, "decode", "malformed")] * 2))
    tables = Completeness(engine, Names("t"), SOURCES["lead"])
    assert _totals(tables) == (7, 4, 1, 2, 0), "what lies before the first one is not known to have been there"
    tables.note_source({0: (1, 12)})
    assert _totals(tables) == (11, 4, 1, 3, 3)
    assert tables.unknown() == [(0, 1, 2), (0, 5, 7), (0, 9, 12)]
    tables.note_skipped([((0, 1, 2), "expired"), ((0, 5, 7), "no_record"), ((0, 9, 11), "tombstone")])
    assert _totals(tables) == (6, 4, 1, 0, 1)
    tables.note_skipped([((0, 11, 12), "no_record")])
    assert tables.totals().complete
    tables.note_source({0: (10, 12)})
    assert tables.totals().complete, "what was there once stays accounted for when it expires"
    by_day = rows(engine, "SELECT day, scored, rejected FROM t_completeness ORDER BY day")
    assert by_day == [("1970-01-01", 0, 1), ("2023-11-14", 4, 0), ("total", 4, 1)]


def test_tables_of_a_lane_are_held_against_its_replay_alone_whatever_was_noted_before(
    engine: sa.Engine, make: Callable[..., SqlSink]
) -> None:
    sink = make()
    given = [prediction("lead", 0, source_partition=0, source_offset=at) for at in range(10, 20) if at != 15]
    sink.write(load("lead", given))
    tables = Completeness(engine, Names("t"), SOURCES["lead"])
    tables.note_source({0: (0, 500), 1: (0, 400)})
    tables.note_skipped([((0, at, at + 1), "no_record") for at in (3, 15, 30)] + [((1, 7, 8), "no_record")])
    assert not tables.totals().complete
    for _ in range(2):
        tables.note_replayed({0: (10, 20)})
        assert tables.unknown() == []
        assert _totals(tables) == (9, 9, 0, 0, 0)
        assert tables.totals().skipped == 1, "what was found within the replay's piece stays found"
    tables.note_replayed({0: (8, 21), 2: (0, 3)})
    assert tables.unknown() == [(0, 8, 10), (0, 20, 21), (2, 0, 3)]


def _totals(tables: Completeness) -> tuple[int, ...]:
    found = tables.totals()
    return found.events, found.scored, found.rejected, found.missing, found.waiting
