"""Tables, views and columns whatever the fields of a prediction are called, on a real PostgreSQL."""

from __future__ import annotations

import json
from typing import Any

import pytest

from scorer.core.errors import ConfigError, HaltError
from scorer.core.load import Load, joined
from scorer.core.schema import WriterSchema, writer_schema
from scorer.edges.sql.names import NAME_LENGTH_MAX, Names, fitting
from tests.harness.events import encoder
from tests.harness.sinks import prediction
from tests.harness.topics import shipped_schema
from tests.unit.edges.sql_loads import load
from tests.unit.edges.sql_places import Place

LEAD = shipped_schema("predictions.lead-score")
TEXTS: dict[str, Any] = {"type": "array", "items": "string"}


def with_fields(*fields: tuple[str, Any], **changed: Any) -> WriterSchema:
    """The lead's schema with more fields, and some of other types."""
    own = [{**each, "type": changed.get(each["name"], each["type"])} for each in LEAD["fields"]]
    return writer_schema(
        1, json.dumps({**LEAD, "fields": [*own, *({"name": name, "type": kind} for name, kind in fields)]})
    )


def load_as(schema: WriterSchema, number: int, first: int = 0, /, **more: Any) -> Load:
    """One prediction of one lead by a schema."""
    given = prediction("lead", number, lead_id="l", **more)
    return load("lead", [(b"l", encoder(1, json.loads(schema.text))(given))], first, schema=schema)


def test_every_word_of_the_servers_language_may_name_a_field(place: Place) -> None:
    found = place.rows("SELECT word FROM pg_get_keywords() WHERE word ~ '^[a-z]'")
    words = [word for (word,) in found if word not in ("number", "kind")]
    schema = with_fields(*((word, "int") for word in words), ("Mixed", "int"))
    for at in range(3):
        place.sink(schema=schema).write(load_as(schema, 4 * at, at, **dict.fromkeys([*words, "Mixed"], at)))
    assert place.rows('SELECT "select", "collation", "tablesample", "Mixed" FROM t') == [(2, 2, 2, 2)]


@pytest.mark.parametrize("label", ["day", "predictions"])
def test_a_text_that_is_called_as_the_views_own_columns_is_shown_beside_them(place: Place, label: str) -> None:
    schema = with_fields((label, "string"))
    place.sink(schema=schema).write(load_as(schema, 1, **{label: "x"}))
    assert place.rows(f"SELECT {label}_given FROM t_by_{label}_day") == [("x",)]


@pytest.mark.parametrize("length", [18, 19, 60])
def test_tables_and_views_are_found_again_however_long_a_fields_name_is(place: Place, length: int) -> None:
    base, items, label = "b" * 36, "i" * length, "s" * length
    schema = with_fields((items, TEXTS), (label, "string"))
    for at in range(2):
        place.sink(schema=schema, base=base).write(load_as(schema, 4 * at, at, **{items: ["x", "y"], label: "A"}))
    for table, count in ((Names(base).items(items), 2), (Names(base).history_items(items), 4)):
        assert place.rows(f"SELECT count(*) FROM {table}") == [(count,)]
    assert place.rows(f"SELECT sum(predictions) FROM {fitting(f'{base}_by_{label}_day')}") == [(2,)]


def test_names_that_are_too_long_stay_apart_when_they_are_cut() -> None:
    cut = [fitting("a" * 100 + end) for end in "xy"]
    assert cut[0] != cut[1]
    assert [len(each) for each in cut] == [NAME_LENGTH_MAX] * 2
    assert fitting("a" * NAME_LENGTH_MAX) == "a" * NAME_LENGTH_MAX


def test_a_field_whose_column_would_be_cut_is_refused_at_the_start_by_its_name(place: Place) -> None:
    with pytest.raises(ConfigError, match=r"t\.a{64} is longer than the 63 characters"):
        place.sink(schema=with_fields(("a" * 64, "int")))
    assert place.rows("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_a_table_without_the_key_by_which_doubles_are_told_is_refused_with_the_statement(place: Place) -> None:
    place.sink()
    place.run("ALTER TABLE t_history DROP CONSTRAINT t_history_pkey")
    with pytest.raises(ConfigError, match="t_history has no primary key") as refused:
        place.sink()
    place.run(str(refused.value).partition("\n")[2])
    place.sink().write(load("lead", [prediction("lead", 1)]))


def test_a_key_that_a_partitioned_table_adds_to_is_taken(place: Place) -> None:
    place.sink()
    place.run("ALTER TABLE t_history DROP CONSTRAINT t_history_pkey, ADD PRIMARY KEY (prediction_id, occurred_at)")
    place.sink().write(load("lead", [prediction("lead", 1)]))


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        ("long", "double", "SELECT score FROM t_history WHERE score = 7"),
        ("float", "double", "SELECT score FROM t_history WHERE score = 7.5"),
        ("float", "long", "SELECT score FROM t_history WHERE score = 7.5"),
        ("long", "string", "SELECT score FROM t_history WHERE score = '7' AND source_partition = 1"),
        ("string", "long", "SELECT score_before FROM t_history WHERE score_before = '7'"),
        (
            "long",
            {"type": "long", "logicalType": "timestamp-millis"},
            "SELECT score_before FROM t_history WHERE score_before = 7",
        ),
    ],
    ids=str,
)
def test_the_statements_that_are_printed_run_and_lose_nothing(place: Place, before: Any, after: Any, kept: str) -> None:
    old, new = with_fields(score=before), with_fields(score=after)
    place.sink(schema=old).write(load_as(old, 1, score={"string": "7", "float": 7.5}.get(before, 7)))
    with pytest.raises(ConfigError) as refused:
        place.sink(schema=new)
    for line in str(refused.value).splitlines()[1:]:
        place.run(line)
    place.sink(schema=new).write(load_as(new, 5, 1, score="8" if after == "string" else 8))
    assert len(place.rows(kept)) == 1
    assert place.rows("SELECT count(score_before) FROM t" if "before" in kept else "SELECT count(score) FROM t") == [
        (1,)
    ]


@pytest.mark.parametrize("narrower", ["float", "long"])
def test_a_column_that_holds_more_than_is_needed_is_kept_on_postgresql(place: Place, narrower: str) -> None:
    place.sink(schema=with_fields(score="double"))
    schema = with_fields(score=narrower)
    place.sink(schema=schema).write(load_as(schema, 1, score=7))
    assert place.rows("SELECT score FROM t") == [(7.0,)]


def test_texts_without_a_limit_are_texts_by_whatever_name(place: Place) -> None:
    place.sink()
    place.run("ALTER TABLE t_rejected ALTER stage TYPE varchar")
    place.sink()
    place.run("ALTER TABLE t_rejected ALTER stage TYPE varchar(3)")
    with pytest.raises(ConfigError, match="stage is VARCHAR"):
        place.sink()


@pytest.mark.parametrize(("old", "new"), [("int", "double"), ("float", "double"), ("int", ["int", "string"])])
def test_what_was_written_before_a_field_grew_wider_fills_an_empty_database_too(
    place: Place, old: Any, new: Any
) -> None:
    before, after = with_fields(score=old), with_fields(score=new)
    writing = place.sink(schema=after)
    for at, schema in enumerate([before, after, before]):
        writing.write(load_as(schema, at, at, score=at))
    assert [float(score) for (score,) in place.rows("SELECT score FROM t_history ORDER BY source_partition")] == [
        0,
        1,
        2,
    ]


@pytest.mark.parametrize(("new", "holds"), [("double", "DOUBLE PRECISION"), (["float", "string"], "(TEXT|VARCHAR)")])
def test_a_field_that_grew_wider_halts_the_sink_also_where_old_workers_have_the_last_word_of_a_load(
    place: Place, new: Any, holds: str
) -> None:
    before, after = with_fields(score="float"), with_fields(score=new)
    writing = place.sink(schema=before)
    mixed = [load_as(before, 0, 0, score=0.5), load_as(after, 1, 1, score=0.1), load_as(before, 2, 2, score=0.5)]
    with pytest.raises(HaltError, match=f"score is REAL, predictions now hold {holds}"):
        writing.write(joined(mixed))
