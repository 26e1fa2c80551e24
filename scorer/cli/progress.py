"""Progress on stderr, for long work whose end is known."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import typer

from scorer.core.ports import Clock

PROGRESS_MS = 1_000


def progress(clock: Clock, what: str) -> Callable[[int, int], None]:
    """Something to tell how much is done, of how much. It says so with rate and predicted end, once a second at most.

    Args:
        clock: the time.
        what: is counted, as in "1,000 of 9,000 <what>".
    """
    began_ms = clock.ticks_ms()
    due_ms, first = began_ms + PROGRESS_MS, -1

    def say(done: int, whole: int) -> None:
        nonlocal began_ms, due_ms, first
        now_ms = clock.ticks_ms()
        if first < 0 or done == first:  # a group has to come together before anything moves
            first, began_ms = done, now_ms
        if now_ms < due_ms:
            return
        due_ms = now_ms + PROGRESS_MS
        rate = 1000 * (done - first) / max(1.0, now_ms - began_ms)
        text = f"{done:,} of {whole:,} {what}, {rate:,.0f}/s"
        if rate > 0 and done < whole:
            left_s = (whole - done) / rate
            at = datetime.fromtimestamp(clock.now_ms() / 1000, UTC) + timedelta(seconds=left_s)
            text += f", done at about {at:%H:%M:%S} UTC, in {left_s:,.0f} s"
        typer.echo(text, err=True)

    return say
