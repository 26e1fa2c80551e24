from __future__ import annotations

import sys
from pathlib import Path

import pytest

from scorer.cli.main import run
from scorer.cli.sink_wiring import Plan, _feeds
from scorer.core.errors import ConfigError
from scorer.core.letters import Author
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


def test_a_database_url_that_is_wrong_is_refused_with_what_to_write() -> None:
    for url in ("", "scores.db", "mysql://h/d", "sqlite://", "postgresql://h/d?password=p"):
        with pytest.raises(ConfigError, match=r"sink\.sql\.url"):
            open_engine(Access(url))


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


def test_a_lane_has_topics_and_a_group_of_its_own(load: Load) -> None:
    stream = load(LEAD).settings.stream("lead")
    live, lane = Plan(stream, "", once=False), Plan(stream, "march", once=False)
    assert (live.where, live.group_suffix) == (stream, "sink-sql.lead")
    assert (lane.where.to_topic, lane.group_suffix) == ("predictions.lead-score.lane.march", "sink-sql.lead.lane.march")


def test_a_lane_is_filled_with_the_dead_letters_of_its_replay_which_signs_as_the_stream(load: Load) -> None:
    settings = load(LEAD).settings
    (stream,) = settings.streams
    feeds = _feeds(settings, Plan(stream, "march", once=True))
    assert [feed.topic for feed in feeds] == [
        "predictions.lead-score.lane.march",
        "events.new-lead.dead-letter.lane.march",
    ]
    assert feeds[1].letters_of == Author("events.new-lead", "scorer.lead")
