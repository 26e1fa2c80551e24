"""What a process has cost, from outside: CPU time of its whole tree and its peak of memory. Linux alone."""

from __future__ import annotations

import os
import time
from pathlib import Path

_CPUCLOCK_SCHED = 2


def cpu_s(pid: int) -> float:
    """CPU time that a process and its descendants have used so far, seconds.

    Living processes by their CPU clock, to the nanosecond, threads that have ended included; descendants that have
    ended by /proc's clock ticks. Source: clock_getcpuclockid(3), proc(5).
    """
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    ended = (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")  # cutime and cstime
    own = time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)
    return own + ended + sum(cpu_s(child) for child in children(pid))


def memory_peak_mb(pid: int) -> float:
    """The most memory that a process and its living descendants have held (VmHWM), MB of 1e6 bytes, summed."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            own_mb = int(line.split()[1]) * 1024 / 1e6
            return own_mb + sum(memory_peak_mb(child) for child in children(pid))
    return 0.0


def children(pid: int) -> list[int]:
    """The living children of a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += map(int, (task / "children").read_text(encoding="ascii").split())
        except OSError:  # the thread has ended meanwhile
            continue
    return found


def load_average() -> float:
    """How many processes wanted a CPU in the last minute."""
    return os.getloadavg()[0]
