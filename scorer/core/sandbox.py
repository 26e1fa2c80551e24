"""When records are scored in a process that may die, and which of them are set aside.

A partition that was begun at one position twice and never left in good order is suspect: some record behind that
position may end the process. From there on every batch is scored in a sandbox, and record by record if that dies or
hangs. Only a record whose own sandbox dies or hangs is set aside; that others were killed from outside, or for want of
memory, sets nothing aside.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

UNFINISHED_MIN = 2
"""From so many starts at one position on that came to no good end, its records are scored in a sandbox."""
SUSPECT_ROWS = 50_000
"""So many records behind the position are suspect: more than were ever read ahead of a commit."""

START_S_MAX = 120.0
BATCH_S_MAX = 30.0
"""How long a sandbox may take to start, and to score what it is given, before it counts as hanging."""

_MARK = "scorer-starts="
_MARKED = re.compile(_MARK + "([0-9]{1,18})")


def mark(starts: int) -> str:
    """A count as an offset's metadata."""
    return f"{_MARK}{starts}"


def starts_of(metadata: str | None) -> int:
    """The count in an offset's metadata; 0 if there is none."""
    found = _MARKED.fullmatch(metadata or "")
    return int(found[1]) if found else 0


class End(StrEnum):
    """How a sandbox ended in which one record was scored."""

    DIED = "died"
    HUNG = "hung"
    RAISED = "raised"
    OUTSIDE = "killed from outside"


@dataclass(frozen=True, slots=True)
class Death:
    """A record that came to nothing in a sandbox.

    Attributes:
        end: how.
        decoded: whether it had been decoded by then.
        detail: for people: the signal, the exit code or the error's type.
    """

    end: End
    decoded: bool
    detail: str


def end_of(exit_code: int) -> End:
    """What an exit code of a sandbox tells: SIGKILL, which is also what want of memory sends, comes from outside."""
    return End.OUTSIDE if exit_code == -9 else End.DIED
