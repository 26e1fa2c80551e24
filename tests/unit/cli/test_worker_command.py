"""Which streams `scorer worker` runs in its own process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import typer

from scorer.cli.worker import worker
from scorer.core.errors import ConfigError
from tests.unit.cli.conftest import LEAD, Load


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ConfigError("topic t is not there"), "topic t is not there"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (ValueError("could not convert string to float: 'alice@example.org'"), "ValueError"),
    ],
)
def test_the_log_says_what_ended_a_process_but_no_text_of_a_bug_which_may_quote_data(
    load: Load, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    load(LEAD)
    lines: list[tuple[str, Mapping[str, Any]]] = []

    def run_stream(*_: Any) -> int:
        raise error

    monkeypatch.setattr("scorer.cli.worker_wiring.run_stream", run_stream)
    monkeypatch.setattr("scorer.edges.machine.keep_memory_low", lambda: None)
    monkeypatch.setattr("scorer.edges.logs.configure", lambda *_: None)
    monkeypatch.setattr("scorer.edges.logs.reporter", lambda **_: lambda *line: lines.append(line))
    with pytest.raises(type(error)):
        worker(["lead"])
    ((event, fields),) = lines
    assert (event, fields["error"], fields["kind"]) == ("process.failed", told, type(error).__name__)
    assert fields["at"][-1].endswith(" run_stream")


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
