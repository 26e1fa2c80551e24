"""Which streams `scorer worker` runs in its own process."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from scorer.cli.worker import worker
from tests.unit.cli.conftest import LEAD, Load


def test_a_stream_that_is_named_twice_has_one_process(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    load(LEAD)
    ran: list[str] = []

    def run_stream(_: Any, stream: Any, __: Any) -> int:
        ran.append(stream.name)
        return 0

    monkeypatch.setattr("scorer.cli.worker_wiring.run_stream", run_stream)
    monkeypatch.setattr("scorer.edges.machine.keep_memory_low", lambda: None)
    monkeypatch.setattr("scorer.edges.logs.configure", lambda *_: None)
    with pytest.raises(typer.Exit) as ended:
        worker(["lead", "lead"])
    assert (ran, ended.value.exit_code) == (["lead"], 0)
