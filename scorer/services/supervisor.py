"""Several streams: a process for each, watched over. A flood, a fence or a crash of one never stops another.

A process that dies is started again after a pause that grows while it keeps dying. One that ends with the exit code
for wrong settings is left alone, since starting it again would change nothing.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from scorer.core.ports import Clock, Report
from scorer.services.patience import pause_ms

LOOK_MS = 100
STEADY_MS = 60_000
"""A process that has lived this long has started well; its next death starts the pauses anew."""


@dataclass(slots=True)
class Child:
    """One stream's process."""

    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    started_ms: float = 0.0
    start_at_ms: float = 0.0
    deaths: int = 0
    given_up: bool = False


@dataclass(slots=True)
class Supervisor:
    """Starts commands, restarts those that die, and ends them all when told to stop.

    Attributes:
        children: one per stream.
        clock, report: the surroundings.
        stop: set by signal handlers.
        hopeless_codes: exit codes after which starting again is useless.
        grace_ms_max: how long children may drain before they are killed.
    """

    children: list[Child]
    clock: Clock
    report: Report
    stop: Event
    hopeless_codes: frozenset[int] = field(default_factory=frozenset)
    grace_ms_max: int = 25_000

    def run(self) -> int:
        """Watches until told to stop, or until no child is worth another start. Returns an exit code."""
        try:
            while not self.stop.is_set():
                for child in self.children:
                    self._look(child)
                if all(child.given_up for child in self.children):
                    break
                self.stop.wait(LOOK_MS / 1000)
        finally:
            self._end()
        return max((code for child in self.children if (code := self._code(child)) > 0), default=0)

    def _look(self, child: Child) -> None:
        now_ms = self.clock.ticks_ms()
        if child.given_up:
            return
        if child.process is None:
            if now_ms >= child.start_at_ms:
                self._start(child, now_ms)
            return
        code = child.process.poll()
        if code is None:
            return
        if code in self.hopeless_codes:
            child.given_up = True
            self.report("process.failed", {"stream": child.name, "exit_code": code, "restart": False})
            return
        steady = now_ms - child.started_ms > STEADY_MS
        self._try_later(child, now_ms, steady, {"exit_code": code})

    def _start(self, child: Child, now_ms: float) -> None:
        try:
            # In a group of its own: Ctrl+C goes to us alone, and we tell it. Told twice, it would end undrained.
            child.process = subprocess.Popen(child.command, process_group=0)
        except OSError as error:
            self._try_later(child, now_ms, False, {"error": str(error)})
            return
        child.started_ms = now_ms
        self.report("process.started", {"stream": child.name, "pid": child.process.pid})

    def _try_later(self, child: Child, now_ms: float, steady: bool, why: Mapping[str, Any]) -> None:
        child.deaths = 1 if steady else child.deaths + 1
        wait = pause_ms(child.deaths)
        child.process, child.start_at_ms = None, now_ms + wait
        self.report("process.failed", {"stream": child.name, **why, "restart_in_ms": wait})

    def _end(self) -> None:
        alive = [child.process for child in self.children if child.process is not None]
        for process in alive:
            process.terminate()
        until_ms = self.clock.ticks_ms() + self.grace_ms_max
        for process in alive:
            try:
                process.wait(max(0.0, until_ms - self.clock.ticks_ms()) / 1000)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _code(self, child: Child) -> int:
        """The exit code that counts; a process that dies of our own signal has none."""
        code = child.process.returncode if child.process is not None else 0
        return abs(code) if code and (child.given_up or code > 0) else 0
