"""Views on PostgreSQL that are there already: they are left alone unless they are not as they should be."""

from __future__ import annotations

import pytest

from scorer.core.errors import ConfigError
from tests.harness.sinks import prediction
from tests.unit.edges.sql_loads import grown_load, load
from tests.unit.edges.sql_places import Place

VIEWS = ("t_by_bucket_day", "t_bucket_moves", "t_stale", "t_completeness")
VERSIONS = "SELECT relname, xmin::text FROM pg_class WHERE relkind = 'v' AND relname ~ '^t_' ORDER BY 1"


def test_views_that_are_as_they_should_be_are_not_made_again(place: Place) -> None:
    place.sink()
    before = place.rows(VERSIONS)
    place.sink()
    assert [name for name, _ in before] == sorted(VIEWS)
    assert place.rows(VERSIONS) == before


def test_a_sink_starts_while_somebody_reads_its_views_for_hours(place: Place) -> None:
    place.sink()
    with place.server.connect(place.database) as dump:
        dump.execute("BEGIN")
        for name in VIEWS:
            dump.execute(f"SELECT * FROM {name}")
        place.sink()
        dump.execute("ROLLBACK")


def test_a_new_number_changes_the_view_that_shows_it_alone_and_those_who_may_read_it_still_may(place: Place) -> None:
    writing = place.sink()
    with place.role("analyst", "GRANT SELECT ON t_by_bucket_day TO {}") as analyst:
        place.run("CREATE VIEW own AS SELECT day, mean_score FROM t_by_bucket_day")
        before = dict(place.rows(VERSIONS))
        writing.write(grown_load(1))
        after = dict(place.rows(VERSIONS))
        assert [name for name in VIEWS if before[name] != after[name]] == ["t_by_bucket_day"]
        with place.engine(user=analyst).connect() as connection:
            assert connection.exec_driver_sql("SELECT mean_churn FROM t_by_bucket_day").all() == [(0.125,)]
        assert place.rows("SELECT mean_score FROM own") == [(0.5,)]


@pytest.mark.parametrize("other", ["SELECT 1 AS lead_id", "SELECT lead_id AS l, occurred_at AS o FROM t"])
def test_a_view_that_is_not_as_it_should_be_is_made_again(place: Place, other: str) -> None:
    writing = place.sink()
    place.run(f"DROP VIEW t_stale; CREATE VIEW t_stale AS {other}")
    place.sink()
    writing.write(load("lead", [prediction("lead", 1, occurred_at=0)]))
    assert place.rows("SELECT lead_id, is_old FROM t_stale") == [("entity-1", True)]


def test_a_view_that_others_are_made_from_is_not_taken_from_under_them(place: Place) -> None:
    place.sink()
    place.run("DROP VIEW t_stale; CREATE VIEW t_stale AS SELECT 1 AS l; CREATE VIEW own AS SELECT l FROM t_stale")
    with pytest.raises(ConfigError, match="cannot drop view t_stale"):
        place.sink()


def test_a_role_that_did_not_make_the_tables_and_views_may_take_a_sink_over(place: Place) -> None:
    place.sink().write(load("lead", [prediction("lead", 1)]))
    with place.role("rotated", "GRANT CREATE ON SCHEMA public TO {0}; GRANT SELECT, INSERT ON t TO {0}") as user:
        with pytest.raises(ConfigError, match="lacks rights") as refused:
            place.sink(user=user)
        place.run(str(refused.value).partition("\n")[2])
        taken = place.sink(user=user)
        taken.write(load("lead", [prediction("lead", 5, lead_id="entity-1"), (b"none", None)], 1))
    assert place.rows("SELECT count(*) FROM t_history") == [(2,)]


def test_a_right_that_a_load_will_need_is_asked_for_at_the_start(place: Place) -> None:
    place.run(f"REVOKE TEMPORARY ON DATABASE {place.database} FROM PUBLIC")
    with (
        place.role("narrow", "GRANT CREATE ON SCHEMA public TO {}") as user,
        pytest.raises(ConfigError, match="temporary"),
    ):
        place.sink(user=user)
