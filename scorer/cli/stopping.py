"""Signals to a flag: the first SIGTERM or SIGINT asks to stop, the second ends the process at once."""

from __future__ import annotations

import os
import signal
from threading import Event
from types import FrameType


def stopped_by_signals() -> Event:
    """An event that SIGTERM and SIGINT set. Handlers do nothing else: the loop decides when to stop."""
    stop = Event()

    def handle(number: int, _: FrameType | None) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    return stop
