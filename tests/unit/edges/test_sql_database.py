"""Connections and transactions, on SQLite; and of both databases whose fault an error is, with no secret in it."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import errors
from sqlalchemy.engine import Connection, Engine

from scorer.core.errors import ConfigError, HaltError, TransientError
from scorer.edges.sql.database import Access, address, connected, open_engine, transaction, translated, tried

SECRET = "hunter2"


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """A file with a table of one column, and no patience with locks."""
    engine = open_engine(Access(f"sqlite:///{tmp_path}/own.db"))
    sa.event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout=0"))
    with engine.connect() as connection:
        connection.execute(sa.text("CREATE TABLE t (number integer PRIMARY KEY)"))
    return engine


def add(connection: Connection, *numbers: int) -> None:
    for number in numbers:
        connection.exec_driver_sql("INSERT INTO t VALUES (?)", (number,))


def numbers(connection: Connection) -> list[int]:
    return list(connection.execute(sa.text("SELECT number FROM t ORDER BY 1")).scalars())


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "sqlite://",
        "sqlite:///:memory:",
        f"mysql://scorer:{SECRET}@host/scores",
        f"postgresql://host/scores?password={SECRET}",
        "postgresql://host/scores?passfile=/own",
    ],
)
def test_an_address_that_is_no_database_of_ours_or_would_print_a_password_is_refused(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        open_engine(Access(url))
    assert SECRET not in str(refused.value)


def test_a_name_and_password_of_their_own_count_before_those_in_the_address_which_is_never_shown_with_them() -> None:
    url = "postgresql://web:other@host:5432/scores"
    given, own = open_engine(Access(url)), open_engine(Access(url, "scorer", SECRET))
    assert [(each.url.username, each.url.password) for each in (given, own)] == [("web", "other"), ("scorer", SECRET)]
    shown = [address(each) for each in (given, own)]
    assert all("host:5432/scores" in text and "other" not in text and SECRET not in text for text in shown)


def test_a_transaction_that_fails_leaves_nothing_and_its_connection_goes_on(engine: Engine) -> None:
    def fail(connection: Connection) -> None:
        with transaction(connection):
            add(connection, 1)
            raise RuntimeError

    with connected(engine) as connection:
        with pytest.raises(RuntimeError):
            fail(connection)
        with transaction(connection):
            add(connection, 2)
        assert numbers(connection) == [2]


def test_an_attempt_that_meets_rows_that_are_there_takes_back_what_it_did_and_its_transaction_goes_on(
    engine: Engine,
) -> None:
    with connected(engine) as connection:
        with transaction(connection):
            assert tried(connection, lambda: add(connection, 1, 2))
            assert not tried(connection, lambda: add(connection, 3, 2))
            add(connection, 4)
        assert numbers(connection) == [1, 2, 4]


def test_a_transaction_waits_for_the_lock_at_its_beginning_and_somebody_elses_lock_is_an_outage(engine: Engine) -> None:
    with connected(engine) as one, connected(engine) as other, transaction(one):
        with pytest.raises(TransientError, match="locked"), translated(engine), transaction(other):
            pass
        add(one, 1)


def test_people_read_while_a_load_is_written_and_do_not_hold_it_up(engine: Engine) -> None:
    with connected(engine) as writer, connected(engine) as reader:
        reader.exec_driver_sql("BEGIN")
        assert numbers(reader) == []
        with transaction(writer):
            add(writer, 1)
        assert numbers(reader) == []
        reader.exec_driver_sql("COMMIT")
        assert numbers(reader) == [1]


@pytest.mark.parametrize(
    ("error", "whose"),
    [
        (psycopg.OperationalError("connection refused"), TransientError),
        (psycopg.OperationalError('password authentication failed for user "scorer"'), ConfigError),
        (psycopg.OperationalError('database "scores" does not exist'), ConfigError),
        (psycopg.OperationalError("SSL error: unexpected eof while reading"), TransientError),
        (psycopg.OperationalError("SSL error: certificate verify failed"), ConfigError),
        (psycopg.OperationalError("server does not support SSL, but SSL was required"), ConfigError),
        (psycopg.OperationalError('server certificate for "a" does not match host name "b"'), ConfigError),
        (psycopg.OperationalError('connection is bad: invalid sslmode value: "verfy-full"'), ConfigError),
        (psycopg.ProgrammingError('invalid connection option "sslmod"'), ConfigError),
        (errors.InvalidPassword("no"), ConfigError),
        (errors.InvalidCatalogName("no such database"), ConfigError),
        (errors.InsufficientPrivilege("no right"), ConfigError),
        (errors.DeadlockDetected("deadlock"), TransientError),
        (errors.DiskFull("full"), TransientError),
        (errors.LockNotAvailable("locked"), TransientError),
        (errors.AdminShutdown("going down"), TransientError),
        (errors.ReadOnlySqlTransaction("a standby"), TransientError),
        (errors.UndefinedColumn("no such column"), HaltError),
        (errors.NumericValueOutOfRange(f"value {SECRET} is out of range"), HaltError),
        (errors.InvalidTextRepresentation(f"invalid input: {SECRET}"), HaltError),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Exception) else "",
)
def test_an_error_of_postgresql_says_who_must_act_and_holds_no_value_of_a_row(
    error: psycopg.Error, whose: type[Exception]
) -> None:
    engine = open_engine(Access("postgresql://host/scores", "scorer", SECRET))
    with pytest.raises(whose) as told, translated(engine):
        raise error
    assert type(told.value) is whose
    assert SECRET not in str(told.value)
