"""The user's home folder, which not every user has."""

from __future__ import annotations

from pathlib import Path

from scorer.core.errors import ConfigError


def expanded(path: Path) -> Path:
    """The path with the home folder in the place of a `~` at its beginning.

    Raises:
        ConfigError: HOME is not set, and the system does not know the user, as in many a container.
    """
    try:
        return path.expanduser()
    except RuntimeError:
        raise ConfigError(f"{path}: this user has no home folder: set HOME") from None
