"""Values on their way into a real PostgreSQL: what comes out is what was put in, alone or among others."""

from __future__ import annotations

import random
import string
from datetime import datetime
from math import inf, isnan, nan
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scorer.core.rows import KEY_BYTES_MAX, TIME_MS_MAX, TIME_MS_MIN
from scorer.edges.sql import postgres
from scorer.edges.sql.database import transaction
from tests.harness.sinks import prediction
from tests.unit.edges.sql_loads import load
from tests.unit.edges.sql_places import Place

KINDS: dict[str, tuple[Any, str, list[Any]]] = {
    "text": (pa.string(), "text", ["", "\\N", "\\.", "a\tb\nc\rd\\te\b\f\v\x01", "Zoë €😀\u2028", "N", None, "'\""]),
    "whole": (pa.int64(), "bigint", [0, 2**63 - 1, -(2**63), None, 7]),
    "double": (pa.float64(), "double precision", [0.1, 5e-324, 1.7976931348623157e308, -inf, inf, None, -0.5]),
    "real": (pa.float32(), "real", [0.5, inf, None, 1.5]),
    "boolean": (pa.bool_(), "boolean", [True, None, False]),
    "bytes": (pa.binary(), "bytea", [b"", b"\\x00", bytes(range(256)), None, b"\t"]),
    "millis": (pa.timestamp("ms", "UTC"), "timestamptz", [0, -1, 1_700_000_000_123, None]),
    "micros": (pa.timestamp("us", "UTC"), "timestamptz", [1, None, 1_700_000_000_123_456]),
}
"""Arrow's type, PostgreSQL's, and values."""


def written(place: Place, kind: str, values: list[Any]) -> list[Any]:
    """What a table of two columns, one always the same, gives back of these in the other."""
    arrow, sql, _ = KINDS[kind]
    data = pa.table({"at": pa.array(range(len(values))), "same": ["s"] * len(values), "value": pa.array(values, arrow)})
    with place.engine().connect() as connection:
        connection.exec_driver_sql(f"CREATE TEMPORARY TABLE v (same text, at bigint, value {sql})")
        postgres.insert(connection, "v", data)
        assert count(connection, "SELECT count(*) FROM v WHERE same = 's'") == len(values)
        found = connection.exec_driver_sql("SELECT value FROM v ORDER BY at").scalars().all()
    return [each.timestamp() if isinstance(each, datetime) else each for each in found]


def count(connection: Connection, query: str) -> int:
    return int(connection.execute(sa.text(query)).scalar_one())


@pytest.mark.parametrize("kind", KINDS)
def test_every_value_is_what_it_was_alone_the_same_in_all_rows_or_among_others(place: Place, kind: str) -> None:
    values = KINDS[kind][2]
    scale = {"millis": 1e3, "micros": 1e6}.get(kind, 1)
    wanted = values if scale == 1 else [None if each is None else each / scale for each in values]
    assert written(place, kind, values) == wanted
    filled = [at for at, each in enumerate(values) if each is not None]
    assert written(place, kind, [values[at] for at in filled]) == [wanted[at] for at in filled]
    for given, back in zip(values, wanted, strict=True):
        assert written(place, kind, [given] * 2) == [back] * 2
        assert written(place, kind, [given, None]) == [back, None]


def test_no_number_stays_no_number(place: Place) -> None:
    assert [isnan(each) for each in written(place, "double", [nan, 1.0, nan])] == [True, False, True]


def test_rows_that_are_the_same_all_over_are_as_many(place: Place) -> None:
    with place.engine().connect() as connection:
        connection.exec_driver_sql("CREATE TEMPORARY TABLE v (a text, b bigint)")
        postgres.insert(connection, "v", pa.table({"a": ["x\ty"] * 3, "b": pa.array([7] * 3, pa.int64())}))
        assert connection.exec_driver_sql("SELECT a, b FROM v").all() == [("x\ty", 7)] * 3


def test_rows_of_a_piece_of_a_table_are_that_piece(place: Place) -> None:
    whole = pa.table({"a": [f"a{at}\t" for at in range(9)], "b": pa.array(range(9), pa.timestamp("ms", "UTC"))})
    with place.engine().connect() as connection:
        connection.exec_driver_sql("CREATE TEMPORARY TABLE v (a text, b timestamptz)")
        postgres.insert(connection, "v", whole.slice(3, 2))
        assert connection.exec_driver_sql("SELECT a FROM v ORDER BY a").scalars().all() == ["a3\t", "a4\t"]


def test_a_list_that_is_bound_finds_what_is_in_it_and_nothing_else(place: Place) -> None:
    names = ["a", "b,c", '"', "{}", "\\", "", "NULL"]
    with place.engine().connect() as connection, transaction(connection):
        query = f"SELECT x FROM unnest(CAST(:all AS text[])) x WHERE {postgres.among('x', 'some')} ORDER BY x"
        for some in (names[:4], names[4:], []):
            found = connection.execute(sa.text(query), {"all": names, "some": postgres.as_list(some)}).scalars().all()
            assert sorted(found) == sorted(some)


def test_the_longest_key_the_oddest_times_and_a_long_text_have_their_rows(place: Place) -> None:
    chance = random.Random(7)
    key = "".join(chance.choices(string.ascii_letters + string.digits, k=KEY_BYTES_MAX))
    codes = ["c" * 1_000_000, "d"]
    writing = place.sink("login")
    for at in range(2):
        writing.write(
            load(
                "login",
                [
                    prediction(
                        "login",
                        4 * at,
                        customer_id=key,
                        prediction_id=key[::-1][at:],
                        items=[{"product_code": code, "score": 1.0} for code in codes],
                        occurred_at=(TIME_MS_MIN, TIME_MS_MAX)[at],
                    )
                ],
                at,
            )
        )
    assert place.rows("SELECT customer_id FROM t") == [(key,)]
    assert place.rows("SELECT length(product_code) FROM t_items ORDER BY item_rank") == [(1_000_000,), (1,)]
    assert place.rows(
        "SELECT to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.MS') FROM t_history ORDER BY 1"
    ) == [
        ("0001-01-01 00:00:00.000",),
        ("9999-12-31 23:59:59.999",),
    ]
