"""Where the shipped schemas and models are: inside the installed package, or beside it in a clone."""

from __future__ import annotations

from pathlib import Path

from scorer.core.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parent.parent


def shipped(name: str) -> Path:
    """The folder `schemas` or `models` that came with the scorer.

    Raises:
        ConfigError: it is in neither place.
    """
    for folder in (_PACKAGE / "bundled" / name, _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise ConfigError(f"the shipped {name} are missing; install the scorer again")
