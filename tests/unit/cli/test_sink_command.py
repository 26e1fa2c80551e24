from __future__ import annotations

import sys
from pathlib import Path

import pytest

from scorer.cli.main import run
from scorer.cli.sink_wiring import Plan
from scorer.core.errors import ConfigError
from scorer.edges.sql.database import Access, open_engine
from tests.unit.cli.conftest import LEAD, Load

CANARY = "canary-9Zk"


@pytest.fixture(autouse=True)
def settings(load: Load) -> None:
    load(LEAD)


def test_a_url_with_a_password_is_refused_and_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sink", "sql", "lead", "--url", f"postgresql://u:{CANARY}@127.0.0.1/d"]) == 3
    said = capsys.readouterr().err
    assert "set sink.sql.username and sink.sql.password instead" in said
    assert CANARY not in said


def test_a_url_of_another_database_is_refused_with_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sink", "sql", "lead", "--url", "mysql://127.0.0.1/d"]) == 3
    assert "sqlite:///PATH or postgresql://HOST:PORT/DATABASE" in capsys.readouterr().err


def test_a_missing_driver_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"pip install '\.\[postgres\]'"):
        open_engine(Access("postgresql://127.0.0.1/d"))


def test_an_unknown_stream_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sink", "sql", "leed"]) == 3
    assert "did you mean lead" in capsys.readouterr().err


def test_the_password_is_read_from_where_secrets_are_and_is_not_shown(load: Load, tmp_path: Path) -> None:
    (tmp_path / "pw").write_text(CANARY)
    loaded = load(LEAD, {"SCORER_SINK__SQL__PASSWORD_FILE": str(tmp_path / "pw")})
    password = loaded.settings.sink.sql.password
    assert password is not None
    assert password.reveal() == CANARY
    assert CANARY not in repr(loaded)
    engine = open_engine(Access("postgresql://127.0.0.1/d", "u", CANARY))
    assert CANARY not in repr(engine)


def test_a_lane_has_a_topic_and_a_group_of_its_own(load: Load) -> None:
    stream = load(LEAD).settings.stream("lead")
    live, lane = Plan(stream, "", once=False), Plan(stream, "march", once=False)
    assert (live.topic, live.group_suffix) == ("predictions.lead-score", "sink-sql.lead")
    assert (lane.topic, lane.group_suffix) == ("predictions.lead-score.lane.march", "sink-sql.lead.lane.march")
