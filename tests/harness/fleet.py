"""Workers that are watched over as an operator's supervisor would: whoever dies is started again, and it is noted how.

A worker that ends in a way that no fault explains is a finding.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness.workers import Worker, worker

WATCH_S = 0.1
RESTART_S = 0.2
FENCED = 6

Variables = Callable[[str], Mapping[str, str]]
"""From a worker's name to what its environment has besides, asked at every start."""


@dataclass(frozen=True, slots=True)
class Death:
    """How a worker ended; `code` negative for a signal, `at_s` by the monotonic clock."""

    name: str
    code: int
    at_s: float
    planned: bool


@dataclass(slots=True)
class Fleet:
    """Workers by name.

    Attributes:
        settings: from a name to its scorer.toml.
        variables: see Variables; a start with SCORER_FAILPOINT may die of it.
        deaths: so far.
        expected: exit codes with which a worker may end by itself.
        wanted: the names of workers that are to be running.
        keeps: whether the dead are started again; who was fenced is not.
    """

    settings: Callable[[str], Path]
    variables: Variables = lambda _: {}
    deaths: list[Death] = field(default_factory=list)
    workers: dict[str, Worker] = field(default_factory=dict)
    wanted: set[str] = field(default_factory=set)
    expected: set[int] = field(default_factory=set)
    armed: set[str] = field(default_factory=set)
    keeps: bool = True
    _leaving: list[tuple[str, Worker]] = field(default_factory=list)
    _blocks: list[AbstractContextManager[Worker]] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _enough: threading.Event = field(default_factory=threading.Event)

    def start(self, name: str) -> Worker:
        """Starts a worker; it need not be ready yet."""
        with self._lock:
            variables = self.variables(name)
            self.armed = self.armed | {name} if "SCORER_FAILPOINT" in variables else self.armed - {name}
            block = worker(self.settings(name), name=name, variables=variables)
            self.workers[name] = block.__enter__()
            self._blocks.append(block)
            self.wanted.add(name)
            return self.workers[name]

    def kill(self, name: str) -> None:
        """SIGKILL; it is started again."""
        with self._lock:
            self.armed.add(name)
            self.workers[name].signal(signal.SIGKILL)

    def stop(self, name: str, wait_s_max: float = 40.0) -> tuple[int, float]:
        """SIGTERM; it stays away. Returns its exit code and how long it took."""
        with self._lock:
            self.wanted.discard(name)
            started_s = time.monotonic()
            self.workers[name].signal(signal.SIGTERM)
        code = self.workers[name].wait(wait_s_max)
        return code, time.monotonic() - started_s

    def dismiss(self, name: str) -> None:
        """SIGTERM; it stays away, and nobody waits for it now."""
        with self._lock:
            self.wanted.discard(name)
            self._leaving.append((name, self.workers[name]))
            _heed(self.workers[name])
            self.workers[name].signal(signal.SIGTERM)

    def dismissed(self) -> dict[str, int]:
        """Waits for all who were dismissed; their exit codes, a wrong one rather than a right one of the same name."""
        codes: dict[str, int] = {}
        for name, leaving in self._leaving:
            codes[name] = leaving.wait() or codes.get(name, 0)
        return codes

    def stop_all(self) -> dict[str, int]:
        """SIGTERM to all; their exit codes."""
        with self._lock:
            names, self.wanted = list(self.wanted), set()
            for name in names:
                if self.workers[name].running:
                    _heed(self.workers[name])
                    self.workers[name].signal(signal.SIGTERM)
        return {name: self.workers[name].wait() for name in names}

    def abort_all(self) -> None:
        """SIGABRT to all, who stay away: with PYTHONFAULTHANDLER=1 their logs then say where they were."""
        with self._lock:
            self.wanted.clear()
            for worker in self.workers.values():
                if worker.running:
                    worker.signal(signal.SIGABRT)
        for worker in self.workers.values():
            worker.wait()

    def running(self, name: str) -> bool:
        """Whether a process of that name is there, wanted or still leaving."""
        return name in self.workers and self.workers[name].running

    @property
    def killed(self) -> int:
        """How many ended by SIGKILL, from outside or by a fail-point."""
        return sum(death.code == -signal.SIGKILL for death in self.deaths)

    @property
    def unplanned(self) -> list[Death]:
        """Ends that no fault explains."""
        return [death for death in self.deaths if not death.planned]

    def watch(self) -> None:
        """Starts the dead again until told to stop."""
        while not self._enough.wait(WATCH_S):
            with self._lock:
                gone = [name for name in self.wanted if not self.workers[name].running]
                for name in gone:
                    code = self.workers[name].wait()
                    planned = (name in self.armed and code == -signal.SIGKILL) or code in self.expected
                    self.deaths.append(Death(name, code, time.monotonic(), planned))
                    self.wanted.discard(name)
            for name in gone:
                if self.keeps and self.workers[name].wait() != FENCED:
                    time.sleep(RESTART_S)
                    self.start(name)

    def end(self) -> None:
        """Ends all of them."""
        self._enough.set()
        with self._lock:
            self.wanted.clear()
            for block in self._blocks:
                block.__exit__(None, None, None)


@contextmanager
def fleet(settings: Callable[[str], Path], variables: Variables = lambda _: {}) -> Iterator[Fleet]:
    """A fleet for the length of a block; nobody is started yet."""
    made = Fleet(settings, variables)
    thread = threading.Thread(target=made.watch, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.end()
        thread.join(30)


def _heed(worker: Worker) -> None:
    """Waits until a worker that was just started hears signals: before, Python itself is not up."""
    worker.until(lambda: worker.health("live")[0], "up", 30)
