"""Log lines: one event a line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import structlog

from scorer.edges import logs
from scorer.edges.logs import configure, reporter


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    out, err = capsys.readouterr()
    assert out == ""
    return [json.loads(line) for line in err.splitlines()]


def test_an_event_is_one_line_of_json_on_standard_error_with_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json")
    reporter(stream="lead")("partitions.assigned", {"positions": {0: 5}})
    (line,) = lines(capsys)
    moment = datetime.fromisoformat(line.pop("timestamp"))
    assert moment.utcoffset() is not None
    assert line == {"event": "partitions.assigned", "level": "info", "stream": "lead", "positions": {"0": 5}}


def test_a_text_of_several_lines_stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json")
    reporter()("process.failed", {"error": "first\nsecond\r\n\u2028third"})
    (line,) = lines(capsys)
    assert line["error"] == "first\nsecond\r\n\u2028third"


def test_what_json_cannot_hold_is_written_as_it_shows(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json")
    reporter()("something", {"path": Path("a"), "raw": b"\xff", "odd": "\ud800"})
    (line,) = lines(capsys)
    assert "a" in line["path"]


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", ["kafka.log", "process.started", "drain.incomplete", "process.failed"]),
        ("info", ["process.started", "drain.incomplete", "process.failed"]),
        ("warning", ["drain.incomplete", "process.failed"]),
        ("error", ["process.failed"]),
    ],
)
def test_each_level_shows_what_is_as_loud_or_louder(
    level: str, shown: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    configure(level, "json")
    report = reporter()
    for event in ("kafka.log", "process.started", "drain.incomplete", "process.failed"):
        report(event, {})
    assert [line["event"] for line in lines(capsys)] == shown


def test_people_get_lines_without_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "console")
    reporter(stream="lead")("stream.running", {"why": "so"})
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert re.search(r"stream\.running", err)
    assert "{" not in err


def test_auto_is_json_where_no_terminal_reads(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "auto")
    reporter()("stream.running", {})
    assert [line["event"] for line in lines(capsys)] == ["stream.running"]


def test_every_loud_event_is_one_that_the_scorer_reports() -> None:
    root = Path(logs.__file__).parents[1]
    text = "".join(path.read_text() for path in root.rglob("*.py") if path != Path(logs.__file__))
    text += "".join(f'"stream.{state}"' for state in ("halted", "waiting")) if 'f"stream.{state}"' in text else ""
    assert [event for event in logs._LOUD if f'"{event}"' not in text] == []
