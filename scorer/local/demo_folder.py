"""The folder of a demo, whose start deletes what an earlier one left there.

Guarantee: only a folder that holds no file or that a demo has made is taken, by one demo at a time. What is anybody
else's, a surrounding of `scorer local` among them, is left as it is.
"""

from __future__ import annotations

import fcntl
from contextlib import ExitStack
from pathlib import Path

from scorer.core.errors import ConfigError
from scorer.local.stack import LOCK, STATE, open_lock

MARK = "made-by-scorer-demo"
MARK_TEXT = "`scorer demo --folder HERE` deletes the broker's data and the tables in this folder at its start.\n"


def hold(folder: Path, stack: ExitStack) -> None:
    """Makes the folder a demo's and keeps a second one out; the kernel lets go when this process ends, however it ends.

    Raises:
        ConfigError: it is not a demo's, or another demo runs in it, or it cannot be used.
    """
    if not _is_a_demos(folder):
        raise ConfigError(
            f"{folder} holds files that are not a demo's, which starts by deleting what is there: give --folder OTHER"
        )
    lock = stack.enter_context(open_lock(folder))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise ConfigError(
            f"another demo or a `scorer local` works in {folder}: wait for it, or give --folder OTHER"
        ) from None
    (folder / MARK).write_text(MARK_TEXT, encoding="utf-8")


def _is_a_demos(folder: Path) -> bool:
    if (folder / STATE).exists():
        return False
    return (folder / MARK).exists() or _is_an_old_demos(folder) or _holds_nothing(folder)


def _is_an_old_demos(folder: Path) -> bool:
    """Demos before there was a mark left an empty lock, and settings with a group of their own."""
    try:
        settings = (folder / "scorer.toml").read_bytes()
    except OSError:
        return False
    return (folder / LOCK).exists() and settings.startswith(b'group = "demo-')


def _holds_nothing(folder: Path) -> bool:
    """Whether there is no file but a lock; a demo without network ended with a lock and empty folders."""
    there = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return all(path == folder / LOCK for path in there)
