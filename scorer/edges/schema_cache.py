"""A registry's answers on disk: ids that were seen once never go to the network again, in this process or a later one.

Below the cache's folder each registry has its own, named by the sha256 of its URL without credentials. Processes may
share it: files are replaced whole and carry a checksum, so a damaged one is as good as none. Ids never change their
schema; where a registry shows one that did, it is another registry at the same URL, and what was kept is dropped.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

from scorer.core.errors import ConfigError, TransientError
from scorer.core.ports import Report, SchemaRegistry, SubjectRegistry
from scorer.edges.schema_folder import write_whole


class Registry(SchemaRegistry, SubjectRegistry, Protocol):
    """A registry that is asked by id and by subject."""


class CachedRegistry:
    """Implements ports.SchemaRegistry and ports.SubjectRegistry by asking another registry as little as it can.

    Args:
        registry: the registry that is asked.
        url: its URL.
        folder: where answers are kept; made if it is not there.
        report: told when the registry is down and the disk answers for it (`registry.from_disk`), and when an answer
            cannot be kept (`registry.not_kept`), which costs later processes a question and nothing else.

    Raises:
        ConfigError: the folder cannot be made.
    """

    def __init__(self, registry: Registry, url: str, folder: Path, report: Report) -> None:
        self._registry = registry
        self._report = report
        own = folder / hashlib.sha256(_bare(url).encode()).hexdigest()
        self._ids, self._subjects = own / "ids", own / "subjects"
        self._make_folders()

    def text(self, schema_id: int) -> str | None:
        """See ports.SchemaRegistry."""
        kept = _read(self._ids / str(schema_id))
        if kept is not None:
            return kept
        text = self._registry.text(schema_id)
        if text is not None:
            self._write(self._ids / str(schema_id), text)
        return text

    def versions(self, subject: str) -> list[tuple[int, str]]:
        """See ports.SubjectRegistry. The registry is asked; only while it is down the last answer counts.

        Raises:
            TransientError: the registry is down and was never asked for this subject before.
        """
        path = self._subjects / hashlib.sha256(subject.encode()).hexdigest()
        try:
            found = self._registry.versions(subject)
        except TransientError as error:
            kept = self._kept_versions(path)
            if kept is None:
                raise
            self._report("registry.from_disk", {"subject": subject, "versions": len(kept), "error": str(error)})
            return kept
        self._keep(path, found)
        return found

    def register(self, subject: str, text: str, compatibility: str) -> int:
        """See ports.SubjectRegistry."""
        return self._registry.register(subject, text, compatibility)

    def _keep(self, path: Path, found: list[tuple[int, str]]) -> None:
        kept = {schema_id: old for schema_id, _ in found if (old := _read(self._ids / str(schema_id))) is not None}
        if any(json.loads(kept.get(schema_id, text)) != json.loads(text) for schema_id, text in found):
            shutil.rmtree(self._ids.parent, ignore_errors=True)
            self._make_folders()
            kept = {}
        for schema_id, text in found:
            if schema_id not in kept:
                self._write(self._ids / str(schema_id), text)
        if found:
            self._write(path, json.dumps([schema_id for schema_id, _ in found]))

    def _kept_versions(self, path: Path) -> list[tuple[int, str]] | None:
        listed = _read(path)
        if listed is None:
            return None
        kept = [(schema_id, _read(self._ids / str(schema_id))) for schema_id in json.loads(listed)]
        whole = [(schema_id, text) for schema_id, text in kept if text is not None]
        return whole if len(whole) == len(kept) else None

    def _write(self, path: Path, text: str) -> None:
        try:
            write_whole(path, f"{_checksum(text)}\n{text}")
        except ConfigError as error:  # a full disk must not stop scoring: the answer itself is in hand
            self._report("registry.not_kept", {"error": str(error)})

    def _make_folders(self) -> None:
        try:
            for each in (self._ids, self._subjects):
                each.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"the schema cache's folder {each} cannot be made: {error.strerror}") from error


def _read(path: Path) -> str | None:
    """What was kept in a file, or None if there is nothing or it is damaged."""
    try:
        checksum, _, text = path.read_bytes().decode().partition("\n")
    except (OSError, ValueError):
        return None
    return text if checksum == _checksum(text) else None


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _bare(url: str) -> str:
    """The URL without credentials, so that a new password does not cost the cache."""
    parts = [urlsplit(each.strip()) for each in url.split(",")]
    return ",".join(urlunsplit((p.scheme, p.netloc.rpartition("@")[2], p.path.rstrip("/"), "", "")) for p in parts)
