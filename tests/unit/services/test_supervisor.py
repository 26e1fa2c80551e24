"""Several processes watched over, with real processes that live a few milliseconds and a clock that tests set."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event, Timer
from typing import Any

import pytest

from scorer.services.supervisor import STEADY_MS, Child, Supervisor

Told = list[tuple[str, dict[str, Any]]]
HOPELESS = frozenset({3})


class Clock:
    """Ticks that run `speed` times as fast as the machine's."""

    def __init__(self, speed: float = 1.0) -> None:
        self.speed, self.skipped_ms = speed, 0.0

    def ticks_ms(self) -> float:
        return time.monotonic() * 1000 * self.speed + self.skipped_ms

    def now_ms(self) -> int:
        raise AssertionError("nobody asks")

    def sleep(self, ms: float) -> None:
        raise AssertionError(f"nobody sleeps {ms} ms")


def python(code: str) -> list[str]:
    """A command that starts fast: no site, no environment."""
    return [sys.executable, "-I", "-S", "-c", textwrap.dedent(code)]


SLEEPS = ["sleep", "60"]
DRAINS = """
    import pathlib, signal, sys, time
    def drain(*_):
        pathlib.Path({0!r}).write_text("drained")
        sys.exit(0)
    signal.signal(signal.SIGTERM, drain)
    pathlib.Path({0!r}).write_text("ready")
    time.sleep(60)
"""


def watched(
    *children: Child, until: Callable[[Told], bool], clock: Clock | None = None, grace_ms_max: int = 5000
) -> tuple[int, Told]:
    """Runs a supervisor until what it has told satisfies the test, 20 s at most. Returns its exit code and all told."""
    told: Told = []
    stop, seen = Event(), Event()

    def report(event: str, fields: Mapping[str, Any]) -> None:
        told.append((event, dict(fields)))
        if until(told):
            seen.set()
            stop.set()

    limit = Timer(20, stop.set)
    limit.start()
    try:
        supervisor = Supervisor(list(children), clock or Clock(), report, stop, HOPELESS, grace_ms_max)
        code = supervisor.run()
    finally:
        limit.cancel()
    assert seen.is_set() or all(child.given_up for child in children), told
    return code, told


def failures(told: Told) -> list[dict[str, Any]]:
    return [fields for event, fields in told if event == "process.failed"]


def started(told: Told) -> list[dict[str, Any]]:
    return [fields for event, fields in told if event == "process.started"]


def test_a_process_that_dies_is_started_again_after_pauses_that_grow() -> None:
    code, told = watched(Child("lead", python("raise SystemExit(4)")), until=lambda told: len(failures(told)) == 4)
    assert [fields["restart_in_ms"] for fields in failures(told)] == [100, 200, 400, 800]
    assert {fields["exit_code"] for fields in failures(told)} == {4}
    assert len({fields["pid"] for fields in started(told)}) == 4
    assert code == 0


def test_a_pause_is_waited_before_the_next_start() -> None:
    times: list[float] = []

    def twice(told: Told) -> bool:
        times.append(time.monotonic())
        return len(started(told)) == 3

    watched(Child("lead", ["false"]), until=twice)
    assert times[3] - times[1] >= 0.1
    assert times[-1] - times[3] >= 0.2


def test_a_process_that_has_lived_long_starts_its_pauses_anew() -> None:
    clock = Clock()

    def skip(told: Told) -> bool:
        if len(started(told)) == 3 and not clock.skipped_ms:
            clock.skipped_ms = STEADY_MS + 1.0
        return len(failures(told)) == 3

    _, told = watched(Child("lead", ["false"]), until=skip, clock=clock)
    assert [fields["restart_in_ms"] for fields in failures(told)] == [100, 200, 100]


def test_a_process_that_ends_for_wrong_settings_is_left_alone_and_its_code_is_the_result() -> None:
    child = Child("lead", python("raise SystemExit(3)"))
    code, told = watched(child, until=lambda _: False)
    assert failures(told) == [{"stream": "lead", "exit_code": 3, "restart": False}]
    assert (code, child.given_up) == (3, True)


def test_one_that_is_given_up_does_not_end_the_others() -> None:
    broken, steady = Child("lead", python("raise SystemExit(3)")), Child("login", SLEEPS)
    alive: list[bool] = []

    def seen(told: Told) -> bool:
        if failures(told) and steady.process is not None:
            alive.append(steady.process.poll() is None)
        return bool(alive)

    code, _ = watched(broken, steady, until=seen)
    assert alive == [True]
    assert code == 3
    assert steady.process is not None
    assert steady.process.returncode == -signal.SIGTERM


def test_a_crash_of_one_does_not_touch_another() -> None:
    steady = Child("login", SLEEPS)
    _, told = watched(Child("lead", ["false"]), steady, until=lambda told: len(failures(told)) == 3)
    assert {fields["stream"] for fields in failures(told)} == {"lead"}
    assert [fields["stream"] for fields in started(told)].count("login") == 1


def test_a_command_that_cannot_be_started_is_tried_again_and_the_others_run() -> None:
    steady = Child("login", SLEEPS)
    nowhere = Child("lead", ["/nowhere/at-all"])
    code, told = watched(nowhere, steady, until=lambda told: len(failures(told)) == 2 and bool(started(told)))
    assert [fields["restart_in_ms"] for fields in failures(told)] == [100, 200]
    assert all("No such file" in fields["error"] for fields in failures(told))
    assert steady.process is not None
    assert code == 0


def _ready(path: Path) -> bool:
    return path.exists() and path.read_text() == "ready"


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture
def drained(tmp_path: Path) -> Path:
    return tmp_path / "drained"


def test_told_to_stop_it_asks_each_process_and_waits_until_it_has_drained(drained: Path) -> None:
    child = Child("lead", python(DRAINS.format(str(drained))))

    code, _ = watched(child, until=lambda _: wait_for(lambda: _ready(drained)) is None)
    assert drained.read_text() == "drained"
    assert child.process is not None
    assert (code, child.process.returncode) == (0, 0)


def test_a_process_that_will_not_end_is_killed_when_its_grace_is_over(drained: Path) -> None:
    code = f"""
        import pathlib, signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        pathlib.Path({str(drained)!r}).write_text("ready")
        time.sleep(60)
    """
    stubborn = Child("lead", python(code))
    result, _ = watched(stubborn, until=lambda _: wait_for(lambda: _ready(drained)) is None, grace_ms_max=200)
    assert stubborn.process is not None
    assert stubborn.process.returncode == -signal.SIGKILL
    assert result == 0


def test_processes_are_ended_also_when_the_supervisor_fails() -> None:
    child = Child("lead", SLEEPS)

    def report(event: str, fields: Mapping[str, Any]) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Supervisor([child], Clock(), report, Event()).run()
    assert child.process is not None
    assert child.process.returncode == -signal.SIGTERM


SUPERVISES = """
    import signal, sys, threading
    sys.path.insert(0, {root!r})
    from scorer.edges.clock import SystemClock
    from scorer.services.supervisor import Child, Supervisor
    stop = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    child = Child("lead", [sys.executable, "-I", "-S", "-c", {code!r}])
    sys.exit(Supervisor([child], SystemClock(), lambda *_: None, stop).run())
"""
COUNTS = """
import pathlib, signal, sys, time
told = []
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _: told.append(number))
pathlib.Path({0!r}).write_text("ready")
while not told:
    time.sleep(0.01)
time.sleep(0.5)
pathlib.Path({0!r}).write_text(" ".join(signal.Signals(number).name for number in told))
"""


def test_ctrl_c_on_a_terminal_reaches_each_process_once_so_that_it_drains(drained: Path) -> None:
    """A terminal signals the whole foreground group; a worker that is told twice ends at once, undrained."""
    code = SUPERVISES.format(root=str(Path(__file__).parents[3]), code=COUNTS.format(str(drained)))
    supervisor = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], start_new_session=True)
    try:
        wait_for(lambda: _ready(drained))
        os.killpg(supervisor.pid, signal.SIGINT)
        assert supervisor.wait(20) == 0
    finally:
        supervisor.kill()
        supervisor.wait()
    assert drained.read_text() == "SIGTERM"
