"""Processes that outlive a function call: started, recognised again later, and ended.

Guarantees: a process is known by its id *and* the moment of its birth, so a signal never reaches another one that was
given the same id. It has a session of its own: Ctrl+C on the terminal does not reach it, whoever started it decides
when it ends. A leashed process does not outlive its starter, however that ends.
"""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

POLL_S = 0.02
KILL_S_MAX = 10.0


@dataclass(frozen=True, slots=True)
class Mark:
    """One process of this machine, told from any later one with the same id."""

    pid: int
    born: str


@dataclass(frozen=True, slots=True)
class Started:
    """A process that `launch` has started; `watcher` holds its leash, if it has one."""

    mark: Mark
    watcher: subprocess.Popen[bytes] | None


def launch(command: Sequence[str], log: Path, *, keep: bool) -> Started:
    """Starts `command` in the folder of `log`, its output appended there.

    Args:
        command: the program's absolute path and its arguments.
        log: a file; its folder must exist.
        keep: whether it goes on after this process has ended. Else it ends with us, at the latest.

    Raises:
        OSError: the program cannot be started, or ended at once; the message has the log's last lines.
    """
    watch = [sys.executable, "-I", "-S", str(Path(__file__).with_name("watch.py")), "keep" if keep else "leash"]
    with log.open("ab") as errors:
        watcher = subprocess.Popen(
            [*watch, str(log), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=log.parent,
            start_new_session=True,
        )
    assert watcher.stdout is not None
    with watcher.stdout:
        answer = watcher.stdout.readline()  # not to the end: the interpreter keeps its descriptor open
    mark = _mark(int(answer)) if answer else None
    if keep or mark is None:
        _release(watcher)
    if mark is None:
        raise OSError(f"{command[0]} did not start: {last_lines(log)}")
    return Started(mark, None if keep else watcher)


def alive(mark: Mark) -> bool:
    """Says whether that very process still runs. A zombie does not."""
    return _born(mark.pid) == mark.born


def send(mark: Mark, number: signal.Signals) -> bool:
    """Sends a signal to that very process and says whether it was there to get it."""
    if not alive(mark):
        return False
    try:
        os.kill(mark.pid, number)
    except ProcessLookupError:
        return False
    return True


def end(mark: Mark, grace_s: float) -> bool:
    """Ends a process and waits until it is gone.

    Args:
        mark: the process.
        grace_s: seconds that it has to end by itself once asked (SIGTERM) before it is killed; 0 kills at once.

    Returns:
        Whether it ended by itself because it was asked; False too if it was gone before.

    Raises:
        OSError: it is still there after a kill.
    """
    if grace_s > 0 and send(mark, signal.SIGTERM) and _gone(mark, grace_s):
        return True
    send(mark, signal.SIGKILL)
    if not _gone(mark, KILL_S_MAX):
        raise OSError(f"process {mark.pid} cannot be killed")
    return False


def stop(started: Started, grace_s: float) -> bool:
    """Ends a process of `launch` as `end` does, and what holds its leash."""
    by_itself = end(started.mark, grace_s)
    if started.watcher is not None:
        _release(started.watcher)
    return by_itself


def resident_mb(mark: Mark) -> float:
    """Returns the memory that the process holds, in megabytes (1e6 bytes); 0 if it is gone."""
    if sys.platform == "linux":
        try:
            pages = int(Path(f"/proc/{mark.pid}/statm").read_text(encoding="ascii").split()[1])
        except OSError:
            return 0.0
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6 if alive(mark) else 0.0
    return float(_ps(mark.pid, "rss=") or 0) * 1024 / 1e6


def last_lines(log: Path, count: int = 8) -> str:
    """Returns the end of a log file, for an error message; never fails."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return f"no log at {log}"
    return "\n".join([f"{log} ends with:", *(line[:300] for line in lines[-count:])]) if lines else f"{log} is empty"


def _release(watcher: subprocess.Popen[bytes]) -> None:
    assert watcher.stdin is not None
    watcher.stdin.close()
    watcher.wait(KILL_S_MAX)


def _mark(pid: int) -> Mark | None:
    born = _born(pid)
    return Mark(pid, born) if born else None


def _gone(mark: Mark, wait_s_max: float) -> bool:
    deadline = time.monotonic() + wait_s_max
    while alive(mark):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def _born(pid: int) -> str:
    """Names the moment of a live process's birth, or returns "". A set clock or a reboot cannot make two the same."""
    if sys.platform == "linux":
        try:
            state, *fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if state in "ZX" else f"{_boot()}/{fields[18]}"  # proc(5): starttime, in clock ticks since boot
    state, _, born = _ps(pid, "stat=", "lstart=").partition(" ")
    return "" if state.startswith("Z") else born.strip()


@functools.cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:  # a sandbox may hide it; the ticks alone still tell two processes of one boot apart
        return ""


def _ps(pid: int, *columns: str) -> str:
    wanted = [part for column in columns for part in ("-o", column)]
    found = subprocess.run(["ps", *wanted, "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.strip()
