"""Signals to a flag: the first SIGTERM or SIGINT asks to stop, the second ends the process at once."""

from __future__ import annotations

import os
import signal
import socket
import time
from threading import Event, Thread
from types import FrameType

from scorer.cli.exits import ExitCode
from scorer.core.ports import Report

ECHO_S_MAX = 0.3
"""A signal that follows the first one so soon is the same one: a parent that dies sends one for each of its threads,
and service managers signal a whole group whose leader passes it on."""
EXIT_MS = 500
"""What is kept of the budget for the end itself, which a loaded machine does not make at once."""


def stopped_by_signals() -> Event:
    """An event that SIGTERM and SIGINT set. Handlers do nothing else: the loop decides when to stop."""
    stop = Event()
    first_s = 0.0

    def handle(number: int, _: FrameType | None) -> None:
        nonlocal first_s
        if stop.is_set() and time.monotonic() - first_s > ECHO_S_MAX:
            os._exit(128 + number)
        first_s = first_s or time.monotonic()
        stop.set()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    return stop


def end_in_time(budget_ms: int, report: Report) -> None:
    """Ends the process at the second signal, and when a stop has used up its budget, whatever call it is stuck in.

    A call into librdkafka lasts as long as a broker hangs, and Python's own signal handlers wait until it returns. So a
    thread listens to what the interpreter writes at the very moment of a signal. That is a good end all the same: what
    is not confirmed is not committed, and is read again by whoever comes next.
    """
    heard, told = socket.socketpair()
    told.setblocking(False)
    signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)

    def listen(heard: socket.socket, _: socket.socket) -> None:
        heard.recv(1)  # the first: Python's own handler sets the flag
        first_s = time.monotonic()
        heard.settimeout(max(budget_ms / 2, budget_ms - EXIT_MS) / 1000)
        try:
            second = heard.recv(1)[0]
            while time.monotonic() - first_s < ECHO_S_MAX:
                second = heard.recv(1)[0]
        except TimeoutError:
            report("stop.overdue", {"why": f"a neighbour has not answered for {budget_ms} ms"})
            os._exit(ExitCode.OK)
        os._exit(128 + second)

    Thread(target=listen, args=(heard, told), name="signals", daemon=True).start()
