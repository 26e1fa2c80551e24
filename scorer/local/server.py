"""A server of a local surrounding (Kafka, the registry): one handle over its folder, whether it runs or not.

Guarantees: `start` returns when the server answers and otherwise leaves no process behind; `stop` and `kill` return
when its process is gone; started again, it finds its data. Unless kept on purpose it does not outlive this process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scorer.local import class_archive, process
from scorer.local.java import LocalUnavailable, Say

STOP_S_MAX = 60.0  # the end of a first run records classes, some seconds of one core
POLL_S = 0.03


@dataclass(slots=True)
class Server:
    """A program that listens on 127.0.0.1.

    Args:
        name: for messages.
        address: where its clients find it: host:port, or a URL.
        log: its own log; what the JVM itself prints goes beside it, with the suffix `.out`.
        command: makes ready what a start needs and returns the program with its arguments.
        answers: asks the server itself whether it serves requests; False or OSError is not yet.
        ready_s_max: seconds after which a start has failed.
    """

    name: str
    address: str
    log: Path
    command: Callable[[], Sequence[str]]
    answers: Callable[[], bool]
    say: Say
    ready_s_max: float = 90.0
    _started: process.Started | None = field(default=None, init=False)
    _launched_s: float = field(default=0.0, init=False)

    @property
    def folder(self) -> Path:
        """Returns the folder that holds data, settings and logs."""
        return self.log.parent

    @property
    def mark(self) -> process.Mark | None:
        """Returns what tells its process from any other, from a start until a stop or kill."""
        return self._started.mark if self._started else None

    @property
    def running(self) -> bool:
        """Says whether its process is there; it may not answer yet."""
        return self.mark is not None and process.alive(self.mark)

    @property
    def resident_mb(self) -> float:
        """Returns the memory that it holds, in megabytes; 0 when it does not run."""
        return process.resident_mb(self.mark) if self.mark else 0.0

    def start(self, *, keep: bool = False) -> None:
        """Starts the server and waits until it answers; with `keep` it goes on after this process.

        Raises:
            LocalUnavailable: it did not start; nothing of it is left running.
        """
        self.launch(keep=keep)
        self.wait_ready()

    def launch(self, *, keep: bool = False) -> None:
        """Starts the process alone; several servers start at once if all are launched before the first wait."""
        assert not self.running, f"{self.name} already runs"
        self.folder.mkdir(parents=True, exist_ok=True)
        command = self.command()
        self._launched_s = time.monotonic()
        try:
            self._started = process.launch(command, self._output, keep=keep)
        except OSError as error:
            raise LocalUnavailable(f"{self.name} did not start: {error}", "Look at its log") from error

    def wait_ready(self) -> None:
        """Waits until the launched server answers.

        Raises:
            LocalUnavailable: it ended or took too long; nothing of it is left running.
        """
        while not self._answers():
            waited_s = time.monotonic() - self._launched_s
            if not self.running or waited_s > self.ready_s_max:
                why = "gave no answer" if self.running else "ended"
                self.kill()
                logs = "\n".join(process.last_lines(log) for log in (self.log, self._output))
                raise LocalUnavailable(f"{self.name} {why} after {waited_s:.1f} s.\n{logs}\n", "Look at its log")
            time.sleep(POLL_S)
        waited_s = time.monotonic() - self._launched_s
        self.say(f"{self.name} answers at {self.address} after {waited_s:.1f} s, {self.resident_mb:.0f} MB")

    def stop(self) -> None:
        """Asks the server to end and waits for it; its data is whole on disk. Does nothing if it does not run."""
        self._end(STOP_S_MAX)

    def kill(self) -> None:
        """Ends the server at once, as kill -9 does. Its data is what a crash leaves."""
        self._end(0.0)

    def _end(self, grace_s: float) -> None:
        if self._started is None:
            return
        if process.stop(self._started, grace_s):
            class_archive.publish(self.folder)
        class_archive.discard(self.folder)
        self._started = None

    def _answers(self) -> bool:
        try:
            return self.running and self.answers()
        except OSError:
            return False

    @property
    def _output(self) -> Path:
        return self.log.with_suffix(".out")
