"""Rows put aside on disk by bucket, and taken back bucket by bucket: memory holds one bucket at a time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from struct import Struct
from tempfile import TemporaryDirectory
from types import TracebackType

from scorer.core.errors import ConfigError
from scorer.core.ranges import Aside

_HEAD = Struct("<qiqii")
_NOTHING = -1


class Spill:
    """A folder of its own among the temporary ones, gone when the `with` block is left. Not compressed, not synced."""

    def __enter__(self) -> Spill:
        try:
            self._folder = TemporaryDirectory(prefix="scorer-")
        except OSError as error:
            raise ConfigError(f"no temporary folder can be made: {error}; point TMPDIR to one with room") from error
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._folder.cleanup()

    def put(self, bucket: int, rows: Iterable[Aside]) -> None:
        """Puts rows behind those of the bucket.

        Raises:
            ConfigError: the disk does not take them.
        """
        whole = bytearray()
        for row in rows:
            sizes = (_NOTHING if part is None else len(part) for part in (row.key, row.value))
            whole += _HEAD.pack(row.offset, *row.place, *sizes) + (row.key or b"") + (row.value or b"")
        try:
            with self._path(bucket).open("ab") as file:
                file.write(whole)
        except OSError as error:
            raise ConfigError(f"{self._folder.name} takes no more: {error}; point TMPDIR to a larger disk") from error

    def take(self, bucket: int) -> list[Aside]:
        """The rows of a bucket, in the order in which they came; they are gone from it then."""
        path = self._path(bucket)
        if not path.exists():
            return []
        whole = path.read_bytes()
        path.unlink()
        found, at = [], 0
        while at < len(whole):
            offset, partition, place, key_bytes, value_bytes = _HEAD.unpack_from(whole, at)
            at += _HEAD.size
            key = whole[at : at + key_bytes] if key_bytes >= 0 else None
            at += max(0, key_bytes)
            value = whole[at : at + value_bytes] if value_bytes >= 0 else None
            at += max(0, value_bytes)
            found.append(Aside(offset, (partition, place), key, value))
        return found

    def _path(self, bucket: int) -> Path:
        return Path(self._folder.name) / str(bucket)
