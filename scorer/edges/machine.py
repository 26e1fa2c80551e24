"""What this machine and this installation are, for provenance."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Event, Thread

import pyarrow as pa

DISTRIBUTION = "streaming-scorer"
ARENAS = 2
COLLECT_EVERY_S = 10.0
_CPU_INFO = Path("/proc/cpuinfo")
_CLASSES = {
    "x86_64": (("avx512f", "avx512"), ("avx2", "avx2")),
    "aarch64": (("sve", "sve"), ("asimd", "neon")),
}
"""Architecture to (CPU flag, class), widest first: ONNX Runtime picks its kernels by these."""


def cpu_class() -> str:
    """The instruction set class, as in `x86_64-avx512`, `x86_64-avx2`, `x86_64`, `aarch64-neon`.

    The same runtime version and class give the same bits.
    """
    try:
        info = _CPU_INFO.read_text(errors="replace")
    except OSError:
        info = ""
    return classify(platform.machine(), info)


def classify(architecture: str, cpu_info: str) -> str:
    """The class of an architecture, from what /proc/cpuinfo says of its first CPU."""
    flags: set[str] = set()
    for line in cpu_info.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            flags = set(value.split())
            break
    for flag, name in _CLASSES.get(architecture, ()):
        if flag in flags:
            return f"{architecture}-{name}"
    return architecture


def scorer_version() -> str:
    """The installed version, or "unpackaged" where the code runs without being installed."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unpackaged"


def end_with_parent(pid: int) -> None:
    """Asks the kernel for SIGTERM when the process that started us ends, however it ends. Linux alone; else nothing.

    Args:
        pid: that process. If it has ended by now, nobody would tell: we send the signal ourselves. Not for the first
            process, whose end is that of all; and a supervisor of an earlier version gives no other number.
    """
    if sys.platform == "linux":
        set_death_signal = 1
        ctypes.CDLL(None, use_errno=True).prctl(set_death_signal, signal.SIGTERM)
        if os.getppid() != pid != 1:
            signal.raise_signal(signal.SIGTERM)


def keep_out_of_collections() -> None:
    """Has the garbage collector leave alone what is there now, and look the more often at what comes.

    A full collection is due when as much again has come as a quarter of what the last one saw. So one more is made once
    nothing is left to see: else what comes would have to outgrow the libraries' 200,000 objects, and exceptions that
    hold their own frames, and a batch in them, would wait for hours.
    """
    gc.collect()
    gc.freeze()
    gc.collect()


@contextmanager
def collecting_by_time(every_s: float = COLLECT_EVERY_S) -> Iterator[None]:
    """As keep_out_of_collections; and while the block runs, garbage is collected by time, not by how much has come.

    A batch of 4,000 records makes some 12,000 objects, none of which is garbage: Python would look through them sixteen
    times while they are in use, 0.4 us a lead. What there is to collect comes of errors, at most some dozens a second.
    """
    keep_out_of_collections()
    ended = Event()

    def collect() -> None:
        while not ended.wait(every_s):
            gc.collect()

    gc.disable()
    Thread(target=collect, name="collector", daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        gc.enable()


def give_memory_back() -> None:
    """Returns what the process has freed to the system; glibc keeps it otherwise. Some milliseconds."""
    if _has_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def keep_memory_low() -> None:
    """Has glibc make few heaps, which it never gives back, and Arrow use them, not an allocator of its own.

    librdkafka has threads per client and broker, and each client that is replaced after a fault has new ones: under
    faults by chance a worker grew by 33 MB in 10 minutes, with two heaps by 6 and less and less. Arrow's own allocator
    held 16 MB more at full load, and was no faster.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    arena_max = -8
    if _has_glibc():
        ctypes.CDLL(None).mallopt(arena_max, ARENAS)


def _has_glibc() -> bool:
    return sys.platform == "linux" and platform.libc_ver()[0] == "glibc"
