"""The schemas/ folder as a registry: ids are fixed in a checked-in file, registry.json.

    registry.json   [{"id": 1, "subject": "events.login-value", "version": 1, "file": "events.login.avsc",
                      "compatibility": "BACKWARD"}, ...]
    *.avsc          the schemas

What is registered is seen by running workers: registry.json is read again when it has changed. It is replaced whole,
so a reader sees the old one or the new one. Compatibility is noted, not checked: a real registry does that.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from scorer.core.errors import ConfigError, ContractError
from scorer.core.schema import writer_schema

INDEX = "registry.json"
COMPATIBILITIES = (
    "NONE",
    "BACKWARD",
    "BACKWARD_TRANSITIVE",
    "FORWARD",
    "FORWARD_TRANSITIVE",
    "FULL",
    "FULL_TRANSITIVE",
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of registry.json: a version of a subject."""

    id: int
    subject: str
    version: int
    file: str
    compatibility: str


_TYPES = {"id": int, "subject": str, "version": int, "file": str, "compatibility": str}
_Stamp = tuple[int, int, int]


class SchemaFolder:
    """Implements ports.SchemaRegistry and ports.SubjectRegistry.

    Every method raises ConfigError, naming the file, where the folder, registry.json or a schema is broken.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stamp: _Stamp | None = None
        self._entries: tuple[Entry, ...] = ()

    def text(self, schema_id: int) -> str | None:
        """See ports.SchemaRegistry."""
        self._refresh()
        found = next((entry for entry in self._entries if entry.id == schema_id), None)
        return None if found is None else _schema_text(self._folder / found.file)

    def versions(self, subject: str) -> list[tuple[int, str]]:
        """See ports.SubjectRegistry."""
        self._refresh()
        return [(entry.id, _schema_text(self._folder / entry.file)) for entry in self._of(subject)]

    def register(self, subject: str, text: str, compatibility: str) -> int:
        """See ports.SubjectRegistry. Gives a new schema the next id and a file: TOPIC.avsc, then TOPIC.v2.avsc.

        Where there is no registry.json yet it is begun; readers do not take such a folder for a registry.
        A schema that equals a registered version of the subject as JSON keeps its id. Compatibility with earlier
        versions is not checked. Only what changes is written, so a read-only folder will do for what is already there.

        Raises:
            ContractError: the schema is not admitted, or its file exists with another schema in it.
            ConfigError: the compatibility or the subject's name is wrong, or the folder cannot be written.
        """
        if compatibility not in COMPATIBILITIES:
            raise ConfigError(f"compatibility {compatibility!r} of {subject} is none of {', '.join(COMPATIBILITIES)}")
        if not re.fullmatch(r"[A-Za-z0-9._-]+", subject) or subject.startswith("."):
            raise ConfigError(f"subject {subject!r} has characters that a topic's name cannot have")
        writer_schema(0, text)
        with _alone(self._folder):
            if not (self._folder / INDEX).exists():
                write_whole(self._folder / INDEX, "[]\n")
            self._refresh()
            return self._registered(subject, text, compatibility)

    def _registered(self, subject: str, text: str, compatibility: str) -> int:
        known = self._of(subject)
        entries = [
            replace(entry, compatibility=compatibility) if entry.subject == subject else entry
            for entry in self._entries
        ]
        wanted = json.loads(text)
        for entry in known:
            if json.loads(_schema_text(self._folder / entry.file)) == wanted:
                self._write_index(entries)
                return entry.id
        version = known[-1].version + 1 if known else 1
        file = subject.removesuffix("-value") + (".avsc" if version == 1 else f".v{version}.avsc")
        path = self._folder / file
        if not path.exists():
            write_whole(path, text)
        elif json.loads(_schema_text(path)) != wanted:
            raise ContractError(f"{path} exists, with another schema than the one to register for {subject}")
        added = Entry(max((entry.id for entry in entries), default=0) + 1, subject, version, file, compatibility)
        self._write_index([*entries, added])
        return added.id

    def _of(self, subject: str) -> list[Entry]:
        return sorted((entry for entry in self._entries if entry.subject == subject), key=lambda entry: entry.version)

    def _refresh(self) -> None:
        path = self._folder / INDEX
        try:
            found = path.stat()
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            if stamp != self._stamp:
                self._entries = _parse(path.read_bytes(), path)
                self._stamp = stamp
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}") from error

    def _write_index(self, entries: list[Entry]) -> None:
        if tuple(entries) == self._entries:
            return
        lines = ",\n".join(f"  {json.dumps(asdict(entry))}" for entry in entries)
        write_whole(self._folder / INDEX, f"[\n{lines}\n]\n")
        self._refresh()


def write_whole(path: Path, text: str) -> None:
    """Writes a file so that readers see the old one or the whole new one, also after a crash.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:80]}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, 0o644)
                file.write(text.encode())
                file.flush()
                os.fsync(descriptor)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def _parse(content: bytes, path: Path) -> tuple[Entry, ...]:
    try:
        raw = json.loads(content)
    except ValueError as error:
        raise ConfigError(f"{path} is no valid JSON: {error}") from error
    if not isinstance(raw, list):
        raise ConfigError(f"{path} must be a list of entries")
    entries = tuple(_entry(each, f"{path}, entry {number}") for number, each in enumerate(raw, start=1))
    if len({entry.id for entry in entries}) < len(entries):
        raise ConfigError(f"{path} has an id twice")
    if len({(entry.subject, entry.version) for entry in entries}) < len(entries):
        raise ConfigError(f"{path} has a version of a subject twice")
    return entries


def _entry(raw: Any, where: str) -> Entry:
    if not isinstance(raw, dict) or set(raw) != set(_TYPES):
        raise ConfigError(f"{where} must have exactly the keys {', '.join(_TYPES)}")
    for key, kind in _TYPES.items():
        if type(raw[key]) is not kind:
            raise ConfigError(f"{where}: {key} = {raw[key]!r} must be of type {kind.__name__}")
    if raw["id"] < 1 or raw["version"] < 1:
        raise ConfigError(f"{where}: id and version start at 1")
    if Path(raw["file"]).name != raw["file"]:
        raise ConfigError(f"{where}: file = {raw['file']!r} must be a file name in the same folder")
    return Entry(**raw)


def _schema_text(path: Path) -> str:
    """A schema file's content, sure to be JSON."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        json.loads(text)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is no valid JSON: {error}") from error
    return text


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps other processes from registering at the same time; the lock is on the folder, so it leaves no file."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be read: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
