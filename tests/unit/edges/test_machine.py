"""What a machine is called in predictions."""

from __future__ import annotations

import gc
import os
import platform
import signal
import subprocess
import sys
import threading
import time
import weakref
from typing import Any

import pytest

from scorer.edges import machine


@pytest.mark.parametrize(
    ("architecture", "cpu_info", "expected"),
    [
        ("x86_64", "processor\t: 0\nflags\t\t: fpu sse2 avx avx2 avx512f avx512vl\n", "x86_64-avx512"),
        ("x86_64", "flags\t\t: fpu sse2 avx avx2\n", "x86_64-avx2"),
        ("x86_64", "flags\t\t: fpu sse2 avx\n", "x86_64"),
        ("x86_64", "model name: avx2\nflags : fpu\n", "x86_64"),
        ("x86_64", "flags : fpu\n\nflags : avx2\n", "x86_64"),
        ("aarch64", "Features\t: fp asimd evtstrm\n", "aarch64-neon"),
        ("aarch64", "Features\t: fp asimd sve\n", "aarch64-sve"),
        ("arm64", "", "arm64"),
        ("riscv64", "isa : rv64\n", "riscv64"),
    ],
)
def test_the_class_is_the_widest_instruction_set_of_the_first_cpu(
    architecture: str, cpu_info: str, expected: str
) -> None:
    assert machine.classify(architecture, cpu_info) == expected


def test_this_machine_has_a_class() -> None:
    assert machine.cpu_class().startswith(platform.machine())


def test_the_version_is_the_installed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "DISTRIBUTION", "pytest")
    assert machine.scorer_version() == pytest.__version__
    monkeypatch.setattr(machine, "DISTRIBUTION", "no-such-distribution")
    assert machine.scorer_version() == "unpackaged"


ENDS = "import sys; from scorer.edges.machine import end_with_parent; end_with_parent(int(sys.argv[1])); print('on')"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the kernel cannot be asked")
@pytest.mark.parametrize(("gone", "code"), [(False, 0), (True, -signal.SIGTERM)])
def test_a_process_whose_parent_is_gone_before_it_asks_to_end_with_it_ends_at_once(gone: bool, code: int) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as other:
        other.wait()
    parent = other.pid if gone else os.getpid()
    ended = subprocess.run([sys.executable, "-c", ENDS, str(parent)], capture_output=True, check=False)
    assert (ended.returncode, ended.stdout) == (code, b"" if gone else b"on\n")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the kernel cannot be asked")
def test_a_process_of_a_supervisor_that_says_1_as_earlier_ones_did_goes_on() -> None:
    ended = subprocess.run([sys.executable, "-c", ENDS, "1"], capture_output=True, check=True)
    assert ended.stdout == b"on\n"


KEEPS = """
import gc, weakref
from scorer.edges.machine import keep_out_of_collections
gc.set_threshold(700, 10, 10)  # as Python 3.11 has them: what comes here is too little for later versions to look
held = [[] for _ in range(400_000)]
{call}
class Batch: pass
def fails():
    batch = Batch()
    dead = weakref.ref(batch)
    try:
        raise ValueError
    except ValueError as error:
        kept = error  # its traceback holds this frame
        return dead, error
dead, error = fails()
gc.collect(1)  # it has grown old
del error
count = 0
while dead() is not None and count < 400_000:
    later = [[] for _ in range(1_000)]
    count += 1_000
print(count)
"""


@pytest.mark.parametrize(("call", "soon"), [("keep_out_of_collections()", True), ("gc.collect(); gc.freeze()", False)])
def test_an_error_that_holds_its_batch_is_collected_soon_whatever_was_there_before(call: str, soon: bool) -> None:
    ended = subprocess.run([sys.executable, "-c", KEEPS.format(call=call)], capture_output=True, text=True, check=True)
    assert (int(ended.stdout) < 400_000) == soon


def test_while_a_worker_runs_garbage_is_collected_by_time_alone() -> None:
    class Kept:
        itself: Any = None

    with machine.collecting_by_time(every_s=0.3):
        (collector,) = (each for each in threading.enumerate() if each.name == "collector")
        kept = Kept()
        kept.itself, dead = kept, weakref.ref(kept)
        del kept
        later: list[list[int]] = [[] for _ in range(100_000)]  # far more than Python would wait for
        assert dead() is not None, len(later)
        until_s = time.monotonic() + 10
        while dead() is not None and time.monotonic() < until_s:
            time.sleep(0.01)
        assert dead() is None
    collector.join(5)
    assert not collector.is_alive()
    assert gc.isenabled()
