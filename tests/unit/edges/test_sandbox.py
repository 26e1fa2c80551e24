"""A real process that scores batches and may die of them: what it answers, and how its deaths are told."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from scorer.core.records import Scored
from scorer.core.sandbox import Death, End
from scorer.core.scoring import score_batch
from scorer.core.wire import split_frames
from scorer.edges.sandbox import Sandbox
from tests.harness.deadly import CRASH, HANG, KILL, deadly
from tests.unit.services.samples import BAD, recipe
from tests.unit.services.test_suspects import SCHEMAS, batch, lead


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


def test_it_answers_what_scoring_here_would(sandbox: Sandbox) -> None:
    for values in ((lead(3),), (BAD,), (None,), (lead(0), BAD, None, *map(lead, range(1, 50)))):
        record = batch(*values)
        wanted = score_batch(record, split_frames(record.values, 1 << 20), SCHEMAS, recipe(), 7)
        found = sandbox.score(record, SCHEMAS, recipe(), 7)
        assert isinstance(found, Scored)
        assert (found.outbound.values, found.outbound.keys) == (wanted.outbound.values, wanted.outbound.keys)
        assert (found.rejections, found.tombstones) == (wanted.rejections, wanted.tombstones)


def test_a_crash_a_hang_and_a_kill_are_told_apart_and_the_next_record_is_scored(sandbox: Sandbox) -> None:
    assert sandbox.score(batch(text(CRASH)), SCHEMAS, recipe(), 7) == Death(End.DIED, False, "SIGSEGV")
    assert sandbox.score(batch(text(HANG)), SCHEMAS, recipe(), 7) == Death(End.HUNG, False, "no answer within 6 s")
    assert sandbox.score(batch(text(KILL)), SCHEMAS, recipe(), 7) == Death(End.OUTSIDE, False, "SIGKILL")
    assert isinstance(sandbox.score(batch(lead(1)), SCHEMAS, recipe(), 7), Scored)


def test_it_ends_with_its_parents_wish(sandbox: Sandbox) -> None:
    sandbox.score(batch(lead(1)), SCHEMAS, recipe(), 7)
    assert sandbox._process is not None
    pid = sandbox._process.pid
    assert pid is not None
    sandbox.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
