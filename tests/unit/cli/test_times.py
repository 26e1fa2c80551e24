"""What people write as times: it means a time, or it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from scorer.cli.main import run
from scorer.cli.times import range_ms, span_ms, time_ms
from scorer.core.errors import ConfigError
from tests.unit.cli.conftest import LEAD

NOW_MS = 1_795_000_000_000
HOUR_MS = 3_600_000


def test_a_time_is_so_long_ago_or_of_the_calendar_in_utc() -> None:
    assert time_ms("--at", "2h", NOW_MS) == NOW_MS - 2 * HOUR_MS
    assert time_ms("--at", "1970-01-01T01:00", NOW_MS) == HOUR_MS
    assert time_ms("--at", "1970-01-01T01:00+01:00", NOW_MS) == 0


@pytest.mark.parametrize("text", ["", "yesterday", "1w", "0001-01-01T00:00", "1969-12-31T23:59", "999999999d"])
def test_what_is_no_time_or_before_all_records_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--since"):
        time_ms("--since", text, NOW_MS)


def test_a_span_is_no_time_of_the_calendar() -> None:
    assert span_ms("--lateness", "90s") == 90_000
    for text in ("", "2030-01-01T00:00", "1"):
        with pytest.raises(ConfigError, match="--lateness"):
            span_ms("--lateness", text)


def test_a_range_may_lack_either_end_and_holds_something() -> None:
    assert range_ms(None, None, NOW_MS) == (None, None)
    assert range_ms("2h", None, NOW_MS) == (NOW_MS - 2 * HOUR_MS, None)
    assert range_ms("2h", "1h", NOW_MS) == (NOW_MS - 2 * HOUR_MS, NOW_MS - HOUR_MS)
    for since, until in (("1h", "2h"), ("1h", "1h"), ("2026-11-02", "2026-11-01")):
        with pytest.raises(ConfigError, match=f"--since {since} is not before --until {until}"):
            range_ms(since, until, NOW_MS)


@pytest.mark.parametrize("command", [["verify", "lead"], ["compare", "lead", "live", "spring"]])
@pytest.mark.parametrize(
    "options",
    [["--since", ""], ["--until", ""], ["--since", "1h", "--until", "2h"], ["--since", "", "--offsets", "0:1-"]],
)
def test_a_command_refuses_a_range_that_means_nothing_before_it_asks_anybody(
    command: list[str],
    options: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "scorer.toml").write_text(LEAD)
    monkeypatch.chdir(tmp_path)
    assert run([*command, *options]) == 3
    assert options[0] in capsys.readouterr().err
