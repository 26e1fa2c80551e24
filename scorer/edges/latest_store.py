"""The latest prediction per entity, a recent log and the positions behind them, in one SQLite file (WAL).

Guarantees: answers and positions are written in one transaction, so a restart goes on exactly where the file ends; an
older prediction never replaces a newer one; an erased entity's predictions are overwritten on disk (secure_delete), in
the latest ones and in the log. The log notes the erasure itself, by id, until it is cut so far. The file is a cache: it
can be deleted at any time and is built again from the topics.

One `LatestStore` writes, for any thread; any number of `StoreReader` (latest_reader.py) read meanwhile, each for one.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from scorer.core.answers import Answer, Kind, Positions, Reading
from scorer.core.errors import ConfigError, TransientError

VERSION = 1
BUSY_MS_MAX = 2_000
TRIM_EVERY_ROWS, TRIM_EVERY_MS, TRIM_ROWS_MAX = 1_000, 10_000, 5_000
"""The log is cut so often, and at most so much at a time, so that no write takes long."""
COLUMNS = (
    "kind, entity, part, place, event_id, occurred_at, source_timestamp, source_partition, source_offset, scored_at, "
    "tag, body"
)
_SCHEMA = f"""
CREATE TABLE latest (kind TEXT, entity TEXT, part INT, place INT, event_id TEXT, occurred_at INT, source_timestamp INT,
  source_partition INT, source_offset INT, scored_at INT, tag TEXT, body BLOB);
CREATE UNIQUE INDEX latest_entity ON latest (kind, entity);
CREATE TABLE log (seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT, entity TEXT, part INT, place INT, event_id TEXT,
  occurred_at INT, source_timestamp INT, source_partition INT, source_offset INT, scored_at INT, tag TEXT, body BLOB,
  read_at INT);
CREATE UNIQUE INDEX log_place ON log (kind, part, place);
CREATE INDEX log_kind ON log (kind);
CREATE INDEX log_entity ON log (kind, entity);
CREATE TABLE positions (kind TEXT, part INT, next INT, floor INT, PRIMARY KEY (kind, part));
CREATE TABLE kinds (kind TEXT PRIMARY KEY, topic TEXT, epoch TEXT, trimmed INT);
PRAGMA user_version = {VERSION};
"""
_VALUES = ", ".join("?" * 12)
_UPSERT = (
    f"INSERT INTO latest ({COLUMNS}) VALUES ({_VALUES}) ON CONFLICT (kind, entity) DO UPDATE SET "  # noqa: S608
    + ", ".join(f"{name} = excluded.{name}" for name in COLUMNS.split(", ")[2:])
    + " WHERE (excluded.occurred_at, excluded.source_timestamp, excluded.source_partition, excluded.source_offset)"
    " > (latest.occurred_at, latest.source_timestamp, latest.source_partition, latest.source_offset)"
)
_LOG = f"INSERT INTO log ({COLUMNS}, read_at) VALUES ({_VALUES}, ?) ON CONFLICT DO NOTHING"  # noqa: S608


@dataclass(frozen=True, slots=True)
class Keep:
    """How much of the log is kept, of each kind."""

    rows_max: int
    age_ms_max: int


class LatestStore:
    """Writes. Holds a lock on the file: two gateways cannot share it."""

    def __init__(self, path: Path, keep: Keep) -> None:
        self.path, self._keep, self._alone = path, keep, Lock()
        self._untrimmed_rows, self._trimmed_at_ms = 0, 0
        self._erased = True  # it may have been, by the process before
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigError(f"gateway.store {path} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise ConfigError(f"gateway.store {path} is another gateway's; set another path for this one") from error
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            with ExitStack() as undone:
                self._db = undone.enter_context(closing(connected(path)))
                self._prepare()
                undone.pop_all()
        except (sqlite3.DatabaseError, OSError) as error:
            os.close(self._lock)
            raise _unusable(path, error) from error

    def begin(self, kind: Kind, epoch: str) -> bool:
        """Takes up a kind; drops what is kept of it, and returns False, if its topic is not the one that was read."""
        with self._transaction():
            found = self._db.execute("SELECT topic, epoch FROM kinds WHERE kind = ?", (kind.name,)).fetchone()
            if found == (kind.topic, epoch):
                return True
            self._drop(kind, epoch)
            return found is None

    def epoch(self, kind: str) -> str:
        """Which topic is kept of a kind; "" if none is."""
        found = self._db.execute("SELECT epoch FROM kinds WHERE kind = ?", (kind,)).fetchone()
        return str(found[0]) if found else ""

    def start_over(self, kind: Kind, epoch: str) -> None:
        """Drops all that is kept of a kind."""
        with self._transaction():
            self._drop(kind, epoch)

    def resume(self, kind: str, lows: Positions) -> Positions:
        """Partition to the next offset to read: the stored one, else the lowest there is, which is noted."""
        with self._transaction():
            stored = dict(self._db.execute("SELECT part, next FROM positions WHERE kind = ?", (kind,)))
            fresh = [(kind, part, low, low) for part, low in lows.items() if part not in stored]
            self._db.executemany("INSERT INTO positions VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", fresh)
        return {**lows, **stored}

    def write(self, readings: Sequence[Reading], now_ms: int) -> None:
        """Keeps answers, newest wins, and their positions, together.

        Raises:
            TransientError: the disk is full or the file is locked; nothing of it is kept.
            ConfigError: the file is damaged.
        """
        with self._transaction():
            for reading in readings:
                self._keep_answers(reading.answers, now_ms)
                places = [(reading.kind, part, place, place) for part, place in reading.next_offsets.items()]
                self._db.executemany(
                    "INSERT INTO positions VALUES (?, ?, ?, 0) ON CONFLICT DO UPDATE SET next = max(next, ?)", places
                )
                self._untrimmed_rows += len(reading.answers)
            if self._untrimmed_rows >= TRIM_EVERY_ROWS or now_ms - self._trimmed_at_ms >= TRIM_EVERY_MS:
                self._trim_all(now_ms)

    def tidy(self, now_ms: int) -> None:
        """Cuts the log also where nothing is written, and empties SQLite's own log of changes of what was erased.

        Raises:
            TransientError: the disk is full or the file is locked.
        """
        with self._transaction():
            self._trim_all(now_ms)
        if self._erased:
            # An ordinary checkpoint leaves the old pages in that log until newer ones happen to be written over them.
            with self._alone, self._told():
                (held, *_) = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                self._erased = bool(held)

    def close(self) -> None:
        """Lets go of the file."""
        self._db.close()
        os.close(self._lock)

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("PRAGMA secure_delete = ON")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version != VERSION:  # of another release: built anew
            names = [name for (name,) in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for name in names:
                if not name.startswith("sqlite_"):
                    self._db.execute(f'DROP TABLE "{name}"')
            self._db.executescript(_SCHEMA)

    def _keep_answers(self, answers: Sequence[Answer], now_ms: int) -> None:
        rows: list[tuple[Any, ...]] = []
        for answer in answers:
            if answer.body is not None:
                rows.append(_row(answer))
                continue
            self._insert(rows, now_ms)  # what came before the erasure goes with it
            rows = []
            for table in ("latest", "log"):
                self._db.execute(f"DELETE FROM {table} WHERE kind = ? AND entity = ?", (answer.kind, answer.entity))  # noqa: S608
            self._erased = True
            self._db.execute(_LOG, (*_row(answer), now_ms))  # so that readers who were away are told of it
        self._insert(rows, now_ms)

    def _insert(self, rows: list[tuple[Any, ...]], now_ms: int) -> None:
        self._db.executemany(_LOG, [(*row, now_ms) for row in rows])
        self._db.executemany(_UPSERT, rows)

    def _trim_all(self, now_ms: int) -> None:
        for (kind,) in self._db.execute("SELECT kind FROM kinds").fetchall():
            self._trim(kind, now_ms)
        self._untrimmed_rows, self._trimmed_at_ms = 0, now_ms

    def _trim(self, kind: str, now_ms: int) -> None:
        (rows,) = self._db.execute("SELECT count(*) FROM log WHERE kind = ?", (kind,)).fetchone()
        surplus = min(TRIM_ROWS_MAX, max(0, rows - self._keep.rows_max))
        oldest = "SELECT seq FROM log WHERE kind = ? ORDER BY seq LIMIT ?"
        last = [seq for (seq,) in self._db.execute(oldest, (kind, surplus))][-1:]
        aged = self._db.execute(
            f"SELECT max(seq) FROM ({oldest.replace('seq FROM', 'seq, read_at FROM')}) WHERE read_at < ?",  # noqa: S608
            (kind, TRIM_ROWS_MAX, now_ms - self._keep.age_ms_max),
        ).fetchone()[0]
        until = max([*last, *([aged] if aged is not None else [])], default=None)
        if until is None:
            return
        gone = "FROM log WHERE kind = ? AND seq <= ?"
        for part, place in self._db.execute(
            f"SELECT part, max(place) + 1 {gone} GROUP BY part",
            (kind, until),
        ).fetchall():
            self._db.execute(
                "UPDATE positions SET floor = max(floor, ?) WHERE kind = ? AND part = ?", (place, kind, part)
            )
        self._db.execute(f"DELETE {gone}", (kind, until))
        self._db.execute("UPDATE kinds SET trimmed = ? WHERE kind = ?", (until, kind))

    def _drop(self, kind: Kind, epoch: str) -> None:
        for table in ("latest", "log", "positions", "kinds"):
            self._db.execute(f"DELETE FROM {table} WHERE kind = ?", (kind.name,))  # noqa: S608
        self._db.execute("INSERT INTO kinds VALUES (?, ?, ?, 0)", (kind.name, kind.topic, epoch))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._alone, self._told():
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What SQLite says, as what it means to who runs this."""
        try:
            yield
        except sqlite3.Error as error:
            if is_damage(error):
                raise _unusable(self.path, error) from error
            raise TransientError(f"the store {self.path} takes nothing: {error}") from error


def is_damage(error: sqlite3.Error) -> bool:
    """Whether a file is not as SQLite left it, so that waiting does not help."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest says where it was noticed
    return code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def _unusable(path: Path, error: Exception) -> ConfigError:
    return ConfigError(f"gateway.store {path} cannot be used ({error}); delete it, it is only a cache")


def connected(path: Path) -> sqlite3.Connection:
    """The file, without implicit transactions; for one thread at a time."""
    return sqlite3.connect(path, timeout=BUSY_MS_MAX / 1000, isolation_level=None, check_same_thread=False)


def _row(answer: Answer) -> tuple[Any, ...]:
    place = (answer.kind, answer.entity, answer.partition, answer.offset, answer.event_id)
    return (*place, *answer.order, answer.scored_at, answer.tag, answer.body)
