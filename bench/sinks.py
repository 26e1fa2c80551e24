"""`python -m bench.sinks`: predictions from a real Kafka into PostgreSQL and SQLite by `scorer sink sql`, beside the
least that their databases need for the same rows: a bare COPY, and one executemany in one transaction.

The bare ones hold the rows ready in memory and write the tables that the sink writes (history and latest, with their
columns and keys), and, for comparison, the history alone. The sink reads, decodes, and writes in transactions that
carry its positions. Its time runs from its first partition until its positions have come to the ends. Medians of the
runs; the ratio is what counts.

Exit code 0 if every demand is met (with --quick: if every row is there), 1 if one is not.
"""

# ruff: noqa: S608 - the names are our own
from __future__ import annotations

import argparse
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from bench.load import fill
from bench.machine import BROKER, machine, prepare
from bench.sink_load import ENTITY, as_csv, as_python, messages, predictions
from bench.stage import Stage, new_stage
from scorer.local.kafka import running_kafka
from tests.harness.postgres import Server, running

COPY_ROWS = 15_000
RATE_MIN, RATIO_MIN = 20_000, 0.5
WAIT_S_MAX = 600.0


@dataclass(frozen=True, slots=True)
class Figure:
    """One way's rates, rows a second, run by run."""

    name: str
    rates: list[float]

    @property
    def rate(self) -> float:
        """The median."""
        return median(self.rates)


def main() -> int:
    """Runs the benchmark and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.sinks", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="a smoke test: 20,000 rows, one run each")
    parser.add_argument("--rows", type=int, default=1_000_000, help="predictions")
    parser.add_argument("--leads", type=int, default=0, help="of so many leads; each is new by default")
    parser.add_argument("--runs", type=int, default=3, help="runs of each way")
    parser.add_argument("--only", choices=("postgresql", "sqlite"), help="one database alone")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    args = parser.parse_args()
    rows, runs = (20_000, 1) if args.quick else (args.rows, args.runs)
    prepare()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        work = Path(folder)
        table = predictions(rows, args.leads or rows)
        with (
            running_kafka(work / "kafka", jvm=BROKER, say=_say) as kafka,
            new_stage(kafka.address, "lead", work) as stage,
        ):
            _say(f"sending {rows:,} predictions")
            fill(kafka.address, stage.target, list(messages(stage, table)))
            if args.only != "sqlite":
                with running() as server:
                    figures += into_postgres(stage, server, table, runs)
            if args.only != "postgresql":
                figures += into_sqlite(stage, table, runs)
    return _told(figures, rows, args.leads or rows, args.quick, args.json)


def into_postgres(stage: Stage, server: Server, table: pa.Table, runs: int) -> list[Figure]:
    """A bare COPY into a table like the history, a bare COPY into two like both, and the sink, in turn."""
    rates: dict[str, list[float]] = {"bare COPY, one table": [], "bare COPY, both tables": [], "sink, PostgreSQL": []}
    chunks = [as_csv(table.slice(at, COPY_ROWS)) for at in range(0, len(table), COPY_ROWS)]
    columns = ", ".join(table.column_names)
    for run in range(runs):
        name = f"bench_{uuid.uuid4().hex[:8]}"
        with server.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        config = _settings(stage, f"{server.url}/{name}")

        def there(name: str = name) -> int:
            with server.connect(name) as connection:
                found = connection.execute("SELECT sum(next_offset) FROM scorer_position").fetchone()
                return int(found[0] or 0)

        rates["sink, PostgreSQL"].append(len(table) / _sink_s(stage, config, there, len(table)))
        with server.connect(name) as connection:
            _counted(connection, stage, len(table))
            base = _base(connection)
            for tables in (1, 2):
                connection.execute("CHECKPOINT")
                copies = [
                    (f"bare_{tables}_{number}", source)
                    for number, source in enumerate((f"{base}_history", base)[:tables])
                ]
                for copy, source in copies:
                    connection.execute(f"CREATE TABLE {copy} (LIKE {source} INCLUDING ALL)")
                began_s = time.monotonic()
                with connection.transaction(), connection.cursor() as cursor:
                    for copy, source in copies:
                        if source == base and pc.count_distinct(table.column(ENTITY)).as_py() < len(table):
                            continue
                        with cursor.copy(f"COPY {copy} ({columns}) FROM STDIN (FORMAT csv)") as stream:
                            for chunk in chunks:
                                stream.write(chunk)
                key = "bare COPY, one table" if tables == 1 else "bare COPY, both tables"
                rates[key].append(len(table) / (time.monotonic() - began_s))
                for copy, _ in copies:
                    connection.execute(f"DROP TABLE {copy}")
        with server.connect() as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        _say(f"PostgreSQL, run {run + 1} of {runs}: " + ", ".join(f"{k} {v[-1]:,.0f}/s" for k, v in rates.items()))
    return [Figure(name, found) for name, found in rates.items()]


def into_sqlite(stage: Stage, table: pa.Table, runs: int) -> list[Figure]:
    """One executemany in one transaction into a table like the history, and the sink, in turn."""
    bare: dict[int, list[float]] = {1: [], 2: []}
    sink: list[float] = []
    rows = list(zip(*(as_python(table, name) for name in table.column_names), strict=True))
    for run in range(runs):
        path = stage.folder / f"{uuid.uuid4().hex[:8]}.db"

        def there(path: Path = path) -> int:
            with closing(sqlite3.connect(path)) as connection:
                found = connection.execute("SELECT sum(next_offset) FROM scorer_position").fetchone()
                return int(found[0] or 0)

        sink.append(len(table) / _sink_s(stage, _settings(stage, f"sqlite:///{path}"), there, len(table)))
        with closing(sqlite3.connect(path)) as connection:
            _counted(connection, stage, len(table))
            base = _base(connection)
            query = "SELECT sql FROM sqlite_master WHERE name = ?"
            made = [connection.execute(query, (name,)).fetchone()[0] for name in (f"{base}_history", base)]
        other = path.with_suffix(".bare")
        for tables in (1, 2):
            bare[tables].append(len(table) / _executemany_s(other, made[:tables], table.column_names, rows))
        path.unlink()
        _say(
            f"SQLite, run {run + 1} of {runs}: executemany, one table {bare[1][-1]:,.0f}/s, both {bare[2][-1]:,.0f}/s, "
            f"sink {sink[-1]:,.0f}/s"
        )
    return [
        Figure("executemany, one table", bare[1]),
        Figure("executemany, both tables", bare[2]),
        Figure("sink, SQLite", sink),
    ]


def _executemany_s(path: Path, made: list[str], names: list[str], rows: list[tuple[Any, ...]]) -> float:
    """How long one transaction takes that fills new tables with rows that are ready."""
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        for statement in made:
            connection.execute(statement)
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns, marks = ", ".join(names), ", ".join("?" * len(names))
        began_s = time.monotonic()
        connection.execute("BEGIN IMMEDIATE")
        for name in tables:
            connection.executemany(f"INSERT OR IGNORE INTO {name} ({columns}) VALUES ({marks})", rows)
        connection.execute("COMMIT")
        took_s = time.monotonic() - began_s
    path.unlink()
    return took_s


def _sink_s(stage: Stage, config: Path, there: Callable[[], int], rows: int) -> float:
    """How long a sink takes from its first partition until its positions have come to the ends."""
    command = [sys.executable, "-m", "scorer", "sink", "sql", "lead", "--config", str(config)]
    with (stage.folder / "sink.log").open("w+b") as log:
        began_s = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            while b"partitions.assigned" not in (stage.folder / "sink.log").read_bytes():
                _alive(process, log, began_s)
                time.sleep(0.005)
            began_s = time.monotonic()
            while there() < rows:
                _alive(process, log, began_s)
                time.sleep(0.05)
            return time.monotonic() - began_s
        finally:
            process.terminate()
            process.wait(60)


def _alive(process: subprocess.Popen[bytes], log: Any, began_s: float) -> None:
    if process.poll() is not None or time.monotonic() - began_s > WAIT_S_MAX:
        log.seek(0)
        raise RuntimeError(f"the sink did not get there: {log.read().decode(errors='replace')[-2000:]}")


def _settings(stage: Stage, url: str) -> Path:
    path = stage.folder / "sink.toml"
    path.write_text(
        f'group = "bench-{uuid.uuid4().hex[:8]}"\n[kafka]\n"bootstrap.servers" = "{stage.bootstrap}"\n'
        f'[registry]\nurl = "folder:{stage.schemas}"\n[sink]\nport = -1\n[sink.sql]\nurl = "{url}"\n'
        + ('username = "scorer"\n' if url.startswith("postgres") else "")
        + f'[[streams]]\nname = "lead"\nbundle = "{stage.bundle}"\nfrom = "{stage.source}"\nto = "{stage.target}"\n',
        encoding="utf-8",
    )
    return path


def _base(connection: Any) -> str:
    return str(connection.execute("SELECT min(sink) FROM scorer_position").fetchone()[0])


def _counted(connection: Any, stage: Stage, rows: int) -> None:
    (found,) = connection.execute(f"SELECT count(*) FROM {_base(connection)}_history").fetchone()
    if found != rows:
        raise RuntimeError(f"{stage.target}: {found} rows of {rows}")


def _told(figures: list[Figure], rows: int, leads: int, quick: bool, as_json: bool) -> int:
    rates = {each.name: each.rate for each in figures}
    demands = [
        ("sink, PostgreSQL", None, RATE_MIN),
        ("sink, PostgreSQL", "bare COPY, both tables", RATIO_MIN),
        ("sink, SQLite", "executemany, both tables", RATIO_MIN),
    ]
    lines = []
    for name, beside, least in demands:
        if name in rates and (beside is None or beside in rates):
            found = rates[name] / (rates[beside] if beside else 1)
            lines.append({"what": name, "beside": beside, "found": found, "least": least, "met": found >= least})
    if as_json:
        print(
            json.dumps(
                {"rows": rows, "leads": leads, "rates": {each.name: each.rates for each in figures}, "demands": lines}
            )
        )
    else:
        print(f"{rows:,} predictions of {leads:,} leads; {machine()}")
        for each in figures:
            print(f"{each.name:32} {each.rate:12,.0f} rows/s   ({', '.join(f'{rate:,.0f}' for rate in each.rates)})")
        for line in lines:
            unit = f"x {line['beside']}" if line["beside"] else "rows/s"
            verdict = "met    " if line["met"] else "NOT MET"
            print(f"{verdict} {line['what']}: {line['found']:,.2f} {unit}, at least {line['least']:,}")
    return 0 if quick or all(line["met"] for line in lines) else 1


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
