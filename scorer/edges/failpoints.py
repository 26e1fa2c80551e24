"""Places where the fault tests end or disturb this process: SCORER_FAILPOINT=NAME:ACTION:COUNT.

Names: consumed, scored, produced, flushed, offsets_sent, before_commit, after_commit. Actions: `kill` sends SIGKILL to
itself at the COUNTth time, `abort` gives the transaction up at every COUNTth. Unset, the places do nothing.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from scorer.core.errors import AbortedError, ConfigError

VARIABLE = "SCORER_FAILPOINT"
NAMES = ("consumed", "scored", "produced", "flushed", "offsets_sent", "before_commit", "after_commit")
ACTIONS = ("kill", "abort")


def failpoint(text: str | None) -> Callable[[str], None]:
    """What to call at each place, by its name.

    Raises:
        ConfigError: the text names no place or no action.
    """
    if not text:
        return lambda _: None
    name, _, rest = text.partition(":")
    action, _, number = rest.partition(":")
    if name not in NAMES or action not in ACTIONS or not number.isdigit() or int(number) < 1:
        raise ConfigError(f"{VARIABLE}={text}: should be NAME:ACTION:COUNT, a name of {NAMES}, an action of {ACTIONS}")
    every, seen = int(number), 0

    def reached(place: str) -> None:
        nonlocal seen
        if place != name:
            return
        seen += 1
        if action == "kill" and seen == every:
            os.kill(os.getpid(), signal.SIGKILL)
        if action == "abort" and seen % every == 0:
            raise AbortedError(f"given up at {place}, as {VARIABLE} demands")

    return reached
