"""Secrets: where they are found, and that they are never printed.

Guarantee: a Secret's repr and str are `***`, in every message, log line and dump; only `reveal` gives the text, and
it reads the file then, so that commands which need no secret work where it is not mounted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scorer.core.errors import ConfigError

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

HIDDEN = "***"
SECRET_BYTES_MAX = 65_536
_CREDENTIALS = re.compile(r"://.*@|[?&](ssl)?pass(word|file)=", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A text that is used and never shown.

    Attributes:
        key: the setting, for messages.
        place: where it is found, for people: "file PATH" or "variable NAME"; "" if it stood in the setting itself.
        path: the file that holds it.
        value: the text, where it is known already.
    """

    key: str
    place: str = ""
    path: Path | None = None
    value: str | None = None

    def reveal(self) -> str:
        """The text, without a byte order mark in front and one line end at its end.

        Raises:
            ConfigError: the file cannot be read or is empty, or the variable is not set.
        """
        if self.value is not None:
            return self.value
        if self.path is None:
            raise ConfigError(f"{self.key}: the {self.place} is not set")
        return self._read(self.path)

    def _read(self, path: Path) -> str:
        try:
            with path.open("rb") as file:
                content = file.read(SECRET_BYTES_MAX + 1)
        except OSError as error:
            raise ConfigError(f"{self.key}: the {self.place} cannot be read: {error.strerror}") from None
        if len(content) > SECRET_BYTES_MAX:
            raise ConfigError(f"{self.key}: the {self.place} is longer than {SECRET_BYTES_MAX} bytes")
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ConfigError(f"{self.key}: the {self.place} is not UTF-8") from None
        text = text.removesuffix("\n").removesuffix("\r")
        if not text:
            raise ConfigError(f"{self.key}: the {self.place} is empty")
        return text

    def __repr__(self) -> str:
        return HIDDEN

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> CoreSchema:
        """As a part of a model: an instance, which dumps as ***. A dataclass would be dumped with its fields."""
        from pydantic_core import core_schema

        return core_schema.is_instance_schema(cls, serialization=core_schema.to_string_ser_schema())


def has_credentials(text: str) -> bool:
    """Whether a text holds a URL with a user or a password in it, in front of the host or among its parameters."""
    return _CREDENTIALS.search(text) is not None
