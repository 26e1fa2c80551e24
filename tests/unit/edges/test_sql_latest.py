"""Which prediction is an entity's latest where the order alone does not say, and the times that tell it, on SQLite."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest
import sqlalchemy as sa

from scorer.core.tables import layout
from scorer.edges.sql.database import Access, connected, open_engine
from scorer.edges.sql.names import Names
from scorer.edges.sql.sink import SqlSink
from scorer.edges.sql.sqlite import as_text
from tests.harness.sinks import prediction, schema_of
from tests.unit.edges.sql_loads import SOURCES, load


@pytest.mark.parametrize("at_once", [True, False])
def test_of_two_models_predictions_of_one_event_the_first_stays_with_its_items(tmp_path: Path, at_once: bool) -> None:
    engine = open_engine(Access(f"sqlite:///{tmp_path}/scores.db"))
    items = {version: [{"product_code": f"of {version}", "score": 1.0}] for version in "12"}
    both = [prediction("login", 7, model_version=version, items=items[version]) for version in "12"]
    with closing(SqlSink(engine, Names("t"), SOURCES["login"], layout(schema_of("login").root, "customer_id"))) as sink:
        sink.prepare()
        for at, part in enumerate([both] if at_once else [both[:1], both[1:]]):
            assert sink.write(load("login", part, at))["row"] == len(part)
    with connected(engine) as connection:
        assert connection.execute(sa.text("SELECT model_version FROM t")).scalars().all() == ["1"]
        assert connection.execute(sa.text("SELECT product_code FROM t_items")).scalars().all() == ["of 1"]
        assert connection.execute(sa.text("SELECT count(*) FROM t_history")).scalar_one() == 2


def test_times_of_either_precision_are_texts_of_one_form_that_sort_as_the_times_do() -> None:
    micros = [-62_135_596_800_000_000, -1_500_000, 0, 1_234_567, 253_402_300_799_999_999]
    texts = as_text(pa.array(micros, pa.timestamp("us", "UTC"))).to_pylist()
    assert texts == [
        "0001-01-01T00:00:00.000Z",
        "1969-12-31T23:59:58.500Z",
        "1970-01-01T00:00:00.000Z",
        "1970-01-01T00:00:01.234Z",
        "9999-12-31T23:59:59.999Z",
    ]
    assert as_text(pa.array([each // 1000 for each in micros], pa.timestamp("ms", "UTC"))).to_pylist() == texts
