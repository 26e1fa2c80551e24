"""Connections to SQLite and PostgreSQL, transactions, and whose fault an error is.

Guarantees: no message holds a password or a value of a row. An outage (down, restarted, locked, full, deadlock, reset)
is a TransientError; a wrong address, password, certificate or right is a ConfigError; anything else that the database
refuses halts.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from scorer.core.errors import ConfigError, HaltError, ScorerError, TransientError, pip_install

CONNECT_S_MAX = 10
LOCK_MS_MAX = 5000
"""How long one attempt waits for somebody else's lock; then it is tried again from the start, and said."""
DEAD_PEER_MS_MAX = 30_000
"""After so long without an answer to what was sent a connection counts as broken."""
IDLE_MS_MAX = 60_000
"""A transaction of ours that has stopped (a frozen process) is ended by the server, so that its locks go."""

SQLITE_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=NORMAL",
    "cache_size=-65536",
    "wal_autocheckpoint=10000",
)
"""People read while we write; a load's pages stay in memory (64 MB) until it is committed, and are written into the
file once for several loads (every 40 MB)."""

POSTGRES, SQLITE = "postgresql", "sqlite"
_WAITING_HELPS = ("08", "40", "53", "55", "57", "58", "25006")
_REFUSED = ("28", "3D", "42501")
_SQLITE_WAITING = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_NOMEM", "SQLITE_PROTOCOL")
_SQLITE_REFUSED = ("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH", "SQLITE_NOTADB")
_REFUSALS = re.compile(
    r"authentication failed|no password supplied|does not exist|pg_hba\.conf|permission denied"
    r"|invalid connection option|invalid \w+ value|SSL was required|certificate|does not match host name|unknown ca",
    re.I,
)
"""What a server or libpq says while connecting, where psycopg knows of no SQLSTATE, and waiting would not help."""
_NOT_QUOTED = frozenset({"collation", "concurrently", "lateral", "system_user", "tablesample"})
"""Words that PostgreSQL reserves and SQLAlchemy does not quote."""


@dataclass(frozen=True, slots=True)
class Access:
    """Where the database is and who asks. `password` is never shown."""

    url: str
    username: str = ""
    password: str = ""


def open_engine(access: Access) -> Engine:
    """An engine; nothing is connected yet. Every connection is in autocommit: `transaction` says where one begins.

    Raises:
        ConfigError: the URL is not one, or the driver is not installed.
    """
    url = _url(access)
    options: dict[str, Any] = {}
    if url.get_backend_name() == POSTGRES:
        preferred = {
            "connect_timeout": CONNECT_S_MAX,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": DEAD_PEER_MS_MAX,
            "application_name": "scorer sink",
        }
        options = {name: value for name, value in preferred.items() if name not in url.query}
        # COPY sends bytes as they are, whatever a role's settings say. Prepared statements stay with one server
        # process, and a pooler gives each transaction another one.
        options |= {"client_encoding": "utf8", "prepare_threshold": None}
    else:
        options = {"timeout": LOCK_MS_MAX / 1000, "check_same_thread": False}
    try:
        engine = sa.create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=options)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"sink.sql.url needs {error.name}, which is not installed: run {pip_install('postgres')}"
        ) from error
    if engine.dialect.name == SQLITE:
        sa.event.listen(engine, "connect", _prepare_sqlite)
    else:
        preparer = engine.dialect.identifier_preparer
        preparer.reserved_words = preparer.reserved_words | _NOT_QUOTED
    return engine


def address(engine: Engine) -> str:
    """Where the database is, for people; a password in it is hidden."""
    return engine.url.render_as_string(hide_password=True)


@contextmanager
def connected(engine: Engine) -> Iterator[Connection]:
    """A connection for a few statements.

    Raises:
        TransientError, ConfigError, HaltError: as `translated` says.
    """
    with translated(engine), engine.connect() as connection:
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """The same for statements that only read; on PostgreSQL they wait for locks as `transaction` does."""
    with connected(engine) as connection, nullcontext() if engine.dialect.name == SQLITE else transaction(connection):
        yield connection


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """All or nothing. SQLite's takes the one write lock at its beginning, so that it never has to give up half-way.

    PostgreSQL's brings its settings along, since a pooler may give it any server process and roles have settings of
    their own: a lock is waited for and a frozen transaction kept so long at most, work may take its time, and who has
    waited for another's lock then sees what that one did.
    """
    begin = "BEGIN IMMEDIATE"
    if connection.dialect.name == POSTGRES:
        begin = (
            f"BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = {LOCK_MS_MAX}; "
            f"SET LOCAL idle_in_transaction_session_timeout = {IDLE_MS_MAX}; SET LOCAL statement_timeout = 0"
        )
    connection.exec_driver_sql(begin)
    try:
        yield
        connection.exec_driver_sql("COMMIT")
    except BaseException:
        try:
            connection.exec_driver_sql("ROLLBACK")
        except SQLAlchemyError:
            connection.invalidate()
        raise


def tried(connection: Connection, attempt: Callable[[], None]) -> bool:
    """Does something within a transaction; if rows are there already, leaves everything as it was and returns False."""
    connection.exec_driver_sql("SAVEPOINT attempt")
    try:
        attempt()
    except Exception as error:
        if not _is_repeat(error):
            raise
        connection.exec_driver_sql("ROLLBACK TO SAVEPOINT attempt")
        connection.exec_driver_sql("RELEASE SAVEPOINT attempt")
        return False
    connection.exec_driver_sql("RELEASE SAVEPOINT attempt")
    return True


@contextmanager
def translated(engine: Engine) -> Iterator[None]:
    """Raises the database's errors as the scorer's own."""
    try:
        yield
    except DBAPIError as error:
        raise _judged(error.orig, bool(error.connection_invalidated), engine) from None
    except sqlite3.Error as error:
        raise _judged(error, False, engine) from None
    except SQLAlchemyError as error:
        raise HaltError(f"{address(engine)}: {type(error).__name__}") from None
    except ScorerError:
        raise
    except Exception as error:
        if not type(error).__module__.startswith("psycopg"):
            raise
        raise _judged(error, False, engine) from None


def _url(access: Access) -> URL:
    hint = "write sqlite:///PATH or postgresql://HOST:PORT/DATABASE"
    try:
        url = make_url(access.url)
    except (ArgumentError, ValueError):
        raise ConfigError(f"sink.sql.url is no database's URL: {hint}") from None
    backend = url.get_backend_name()
    if backend == SQLITE:
        if not url.database or url.database == ":memory:":
            raise ConfigError("sink.sql.url = sqlite needs a file: write sqlite:///PATH")
        return url
    if backend not in (POSTGRES, "postgres"):
        raise ConfigError(f"sink.sql.url is for {backend}, and there are tables for SQLite and PostgreSQL: {hint}")
    if not url.query.keys().isdisjoint({"password", "passfile", "sslpassword"}):
        raise ConfigError("sink.sql.url holds a password, which would be printed: set sink.sql.password instead")
    url = url.set(drivername="postgresql+psycopg")
    return url.set(username=access.username or url.username, password=access.password or url.password)


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    for pragma in SQLITE_PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _is_repeat(error: Exception) -> bool:
    return isinstance(error, IntegrityError | sqlite3.IntegrityError) or getattr(error, "sqlstate", "") == "23505"


def _judged(error: BaseException | None, broken: bool, engine: Engine) -> ScorerError:
    where = address(engine)
    if isinstance(error, sqlite3.Error):
        name = str(getattr(error, "sqlite_errorname", ""))
        text = f"{where}: {error}"
        if name.startswith(_SQLITE_WAITING):
            return TransientError(text)
        if name.startswith(_SQLITE_REFUSED):
            return ConfigError(f"{text}; is sink.sql.url right, and may this user write there?")
        return HaltError(text)
    state = str(getattr(error, "sqlstate", None) or "")
    said = _said(error)
    if state.startswith(_REFUSED) or (not state and _REFUSALS.search(said)):
        hint = "check sink.sql.url, sink.sql.username and sink.sql.password"
        return ConfigError(f"{where}: {said}; {hint}")
    if not state or broken or state.startswith(_WAITING_HELPS):
        return TransientError(f"{where}: {said}{f' ({state})' if state else ''}")
    return HaltError(f"{where}: {said} ({state})")


def _said(error: BaseException | None) -> str:
    """What the server said, without what may hold values: details, and messages about data."""
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    if str(getattr(error, "sqlstate", None) or "").startswith("22"):
        return "a value does not fit its column"
    return " ".join(str(primary or error).split())[:300]
