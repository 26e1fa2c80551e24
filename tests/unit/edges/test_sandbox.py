"""A real process that scores batches and may die of them: what it answers, and how its deaths are told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scorer.core.records import Scored
from scorer.core.sandbox import Death, End
from scorer.core.schema import writer_schema
from scorer.core.scoring import score_batch
from scorer.core.wire import split_frames
from scorer.edges.sandbox import Sandbox
from tests.harness.deadly import CRASH, HANG, KILL, deadly
from tests.unit.services.samples import BAD, EVENT_ID, EVENT_TEXT, lead, recipe
from tests.unit.services.test_suspects import SCHEMAS, batch


@pytest.fixture
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    for name, value in deadly(tmp_path / "site").items():
        monkeypatch.setenv(name, value)
    made = Sandbox(1 << 20, batch_s_max=6.0)
    yield made
    made.close()


def text(value: str) -> bytes:
    """A value that holds this text; whether it decodes does not matter, as it is looked at before."""
    return value.encode()


@pytest.mark.parametrize(("unit", "per_ms"), [("millis", 1), ("micros", 1_000), ("nanos", 1_000_000)])
def test_it_answers_what_scoring_here_would(sandbox: Sandbox, unit: str, per_ms: int) -> None:
    schemas = {EVENT_ID: writer_schema(EVENT_ID, EVENT_TEXT.replace("timestamp-millis", f"timestamp-{unit}"))}
    leads = [lead(number, per_ms=per_ms) for number in range(50)]
    for values in ((leads[3],), (BAD,), (None,), (leads[0], BAD, None, *leads[1:])):
        record = batch(*values)
        wanted = score_batch(record, split_frames(record.values, 1 << 20), schemas, recipe(), 7)
        assert {each.reason for each in wanted.rejections} <= {"bad_frame"}
        found = sandbox.score(record, schemas, recipe(), 7)
        assert isinstance(found, Scored)
        assert (found.outbound.values, found.outbound.keys) == (wanted.outbound.values, wanted.outbound.keys)
        assert (found.rejections, found.tombstones) == (wanted.rejections, wanted.tombstones)


def test_a_crash_a_hang_and_a_kill_are_told_apart_and_the_next_record_is_scored(sandbox: Sandbox) -> None:
    assert sandbox.score(batch(text(CRASH)), SCHEMAS, recipe(), 7) == Death(End.DIED, False, "SIGSEGV")
    assert sandbox.score(batch(text(HANG)), SCHEMAS, recipe(), 7) == Death(End.HUNG, False, "no answer within 6 s")
    assert sandbox.score(batch(text(KILL)), SCHEMAS, recipe(), 7) == Death(End.OUTSIDE, False, "SIGKILL")
    assert isinstance(sandbox.score(batch(lead(1)), SCHEMAS, recipe(), 7), Scored)


PARENT = """
from tests.unit.edges.test_sandbox import HANG, SCHEMAS, Sandbox, batch, lead, recipe, text
if __name__ == "__main__":
    sandbox = Sandbox(1 << 20)
    sandbox.score(batch(lead(1)), SCHEMAS, recipe(), 7)
    print(sandbox._process.pid, flush=True)
    sandbox.score(batch(text(HANG)), SCHEMAS, recipe(), 7)
"""


@pytest.mark.usefixtures("sandbox")
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the kernel cannot be asked")
def test_one_that_hangs_ends_with_its_parent_however_that_ends(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    with subprocess.Popen([sys.executable, str(tmp_path / "parent.py")], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        time.sleep(0.5)  # it has the record by then
        parent.kill()
    until_s = time.monotonic() + 10
    while runs(pid) and time.monotonic() < until_s:
        time.sleep(0.05)
    if runs(pid):
        os.kill(pid, signal.SIGKILL)
        pytest.fail("it outlives its parent")


def runs(pid: int) -> bool:
    """Whether a process is there, and not only its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


STARTS_BADLY = """
import os, signal, sys
if "spawn_main" in str(sys.orig_argv):
    {act}
"""
FAILS_TO_LOAD = """import scorer.core.model as model
    model.load_model = lambda bundle: 1 / 0"""


@pytest.mark.parametrize(
    ("act", "detail"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL while it started"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV while it started"),
        (FAILS_TO_LOAD, "exit code 1 while it started"),
    ],
)
def test_a_death_before_it_has_seen_a_record_is_none_of_the_records(
    sandbox: Sandbox, tmp_path: Path, act: str, detail: str
) -> None:
    site = tmp_path / "site/sitecustomize.py"
    before = site.read_text()
    site.write_text(STARTS_BADLY.format(act=act))
    assert sandbox.score(batch(lead(1)), SCHEMAS, recipe(), 7) == Death(End.OUTSIDE, False, detail)
    site.write_text(before)
    assert isinstance(sandbox.score(batch(lead(1)), SCHEMAS, recipe(), 7), Scored)


def test_it_ends_with_its_parents_wish(sandbox: Sandbox) -> None:
    sandbox.score(batch(lead(1)), SCHEMAS, recipe(), 7)
    assert sandbox._process is not None
    pid = sandbox._process.pid
    assert pid is not None
    sandbox.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
