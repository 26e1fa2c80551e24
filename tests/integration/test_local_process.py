"""Rules of started processes: who ends with whom, and that a signal never reaches a stranger."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scorer.local import process, stack
from scorer.local.java import LocalUnavailable
from scorer.local.process import Mark
from scorer.local.server import Server

WAIT_S_MAX = 20.0
SLEEPER = [sys.executable, "-c", "import time; time.sleep(300)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(300)",
]
STARTER = """
import pathlib, sys, time
from scorer.local import process
started = process.launch({command!r}, pathlib.Path({log!r}), keep={keep!r})
print(started.mark.pid, started.mark.born, flush=True)
time.sleep(300 if sys.argv[1] == "stay" else 0)
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "out.log"


@pytest.fixture
def sleeper(log: Path) -> Iterator[process.Started]:
    started = process.launch(SLEEPER, log, keep=False)
    yield started
    process.stop(started, 0)


def start_from_another_process(log: Path, *, keep: bool, then: str) -> tuple[subprocess.Popen[str], Mark]:
    """Has another Python process launch a sleeper and then end or stay."""
    source = STARTER.format(command=SLEEPER, log=str(log), keep=keep)
    starter = subprocess.Popen([sys.executable, "-c", source, then], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    with starter.stdout:
        pid, born = starter.stdout.readline().split(maxsplit=1)
    return starter, Mark(int(pid), born.strip())


def gone(mark: Mark) -> bool:
    deadline = time.monotonic() + WAIT_S_MAX
    while process.alive(mark) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not process.alive(mark)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_leashed_process_ends_however_its_starter_is_ended(log: Path, how: signal.Signals) -> None:
    starter, mark = start_from_another_process(log, keep=False, then="stay")
    assert process.alive(mark)
    starter.send_signal(how)
    starter.wait()
    assert gone(mark)


def test_a_leashed_process_ends_when_its_starter_ends_by_itself(log: Path) -> None:
    starter, mark = start_from_another_process(log, keep=False, then="end")
    starter.wait()
    assert gone(mark)


def test_a_kept_process_goes_on_after_its_starter_until_it_is_ended(log: Path) -> None:
    starter, mark = start_from_another_process(log, keep=True, then="stay")
    starter.kill()
    starter.wait()
    time.sleep(0.5)
    assert process.alive(mark)
    assert process.end(mark, WAIT_S_MAX)
    assert not process.alive(mark)


def test_the_terminal_s_ctrl_c_does_not_reach_a_started_process(sleeper: process.Started) -> None:
    assert os.getsid(sleeper.mark.pid) == sleeper.mark.pid != os.getsid(0)


def test_a_process_that_was_given_the_same_id_later_is_never_signalled(sleeper: process.Started) -> None:
    stranger = Mark(sleeper.mark.pid, "another birth")
    assert not process.alive(stranger)
    assert not process.send(stranger, signal.SIGKILL)
    assert not process.end(stranger, 1)
    assert process.resident_mb(stranger) == 0
    assert process.alive(sleeper.mark)


def test_down_never_signals_a_process_that_it_did_not_start(sleeper: process.Started, tmp_path: Path) -> None:
    member = stack.Member("kafka", "127.0.0.1:9092", sleeper.mark.pid, "another birth", str(tmp_path / "broker.log"))
    state = {"members": [{name: getattr(member, name) for name in member.__slots__}]}
    (tmp_path / "state.json").write_text(json.dumps(state))
    assert stack.down(tmp_path, print) == ()
    assert process.alive(sleeper.mark)


def test_a_broken_state_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"members": [{"pid": 1}]}')
    with pytest.raises(LocalUnavailable, match=r"state\.json"):
        stack.status_of(tmp_path)


def test_a_process_that_does_not_heed_sigterm_is_killed_after_its_grace(log: Path) -> None:
    started = process.launch(STUBBORN, log, keep=False)
    deadline = time.monotonic() + WAIT_S_MAX
    while "deaf" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not process.stop(started, 0.3)
    assert not process.alive(started.mark)


def test_the_memory_of_a_live_process_is_known(sleeper: process.Started) -> None:
    deadline = time.monotonic() + WAIT_S_MAX
    while process.resident_mb(sleeper.mark) <= 1 and time.monotonic() < deadline:
        time.sleep(0.02)  # it is known from its birth on, when it holds next to nothing
    assert 1 < process.resident_mb(sleeper.mark) < 100


def test_a_program_that_cannot_be_started_is_an_error_with_its_reason(log: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        process.launch(["/nowhere/java"], log, keep=False)


def test_the_watcher_does_not_outlive_what_it_watches(sleeper: process.Started) -> None:
    assert process.end(sleeper.mark, WAIT_S_MAX)
    assert sleeper.watcher is not None
    assert sleeper.watcher.wait(WAIT_S_MAX) == 0


def test_a_killed_server_leaves_no_half_recorded_archive_of_classes(tmp_path: Path) -> None:
    server = Server("Sleeper", "nowhere", tmp_path / "a.log", lambda: SLEEPER, lambda: True, print)
    server.start()
    (tmp_path / "classes-1.jsa").write_bytes(b"half")
    server.kill()
    assert list(tmp_path.glob("*.jsa")) == []


def test_a_server_that_never_answers_is_ended_and_named(tmp_path: Path) -> None:
    server = Server("Sleeper", "nowhere", tmp_path / "a.log", lambda: SLEEPER, lambda: False, print, ready_s_max=0.5)
    with pytest.raises(LocalUnavailable, match="Sleeper gave no answer"):
        server.start()
    assert not server.running
    assert server.mark is None
