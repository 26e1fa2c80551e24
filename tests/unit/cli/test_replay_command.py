"""What `scorer replay` is told: the same words mean the same replay, and what cannot be meant is refused at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from scorer.cli.lanes import lane_of
from scorer.cli.main import run
from scorer.cli.replay_plan import PLACES_MAX, Wish, understood
from scorer.cli.settings import Settings, Stream
from scorer.core.errors import ConfigError
from scorer.core.letters import OFFSET_MAX

TOPIC = "events.new-lead"
NAMES = {"from_topic": TOPIC, "to_topic": "predictions.lead-score"}
STREAM = Stream.model_validate({"name": "lead", "bundle": Path("models/lead/1"), **NAMES})


def listed(folder: Path, *lines: str) -> str:
    path = folder / "list.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def test_the_same_words_are_the_same_replay_whenever_they_are_said() -> None:
    wish = Wish(since="7d", until="1d", lateness="2h", offsets=("2:5-", "1:3-4"))
    found = understood(wish, TOPIC)
    assert found.words == "--since 7d --until 1d --lateness 2h --offsets 1:3-4 --offsets 2:5-"
    assert found.asked is not None
    assert found.asked.offsets == {1: (3, 4), 2: (5, OFFSET_MAX)}
    assert found.asked.lateness_ms == pytest.approx(2 * 3_600_000, abs=60_000)
    assert (found.asked.until_ms or 0) - (found.asked.since_ms or 0) == 6 * 86_400_000


def test_nothing_said_is_to_go_on_and_lateness_alone_is_nothing() -> None:
    for wish in (Wish(), Wish(lateness="1h")):
        found = understood(wish, TOPIC)
        assert (found.asked, found.words) == (None, "")


def test_lists_are_the_same_whatever_their_order_and_comments(tmp_path: Path) -> None:
    first = understood(Wish(positions=listed(tmp_path, "1:2", "0:3")), TOPIC)
    again = understood(Wish(positions=listed(tmp_path, "# these", "", "0:3 of a note", "1:2", "1:2")), TOPIC)
    ids = understood(Wish(ids=listed(tmp_path, f"lead/1/{TOPIC}/0/3", f"lead/2/{TOPIC}/1/2")), TOPIC)
    assert first.words == again.words == ids.words
    other = understood(Wish(positions=listed(tmp_path, "1:2", "0:4")), TOPIC)
    assert other.words != first.words


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (Wish(since="yesterday"), "is no time"),
        (Wish(since=""), "is no time"),
        (Wish(since="1h", until="2h"), "is not before"),
        (Wish(until="1h", lateness="2030-01-01T00:00"), "is no span"),
        (Wish(since="7d", positions=""), "cannot be read"),
        (Wish(offsets=("2",)), "is no range"),
        (Wish(offsets=("2:1-2", "2:5-6")), "names partition 2 for the second time"),
    ],
)
def test_what_cannot_be_understood_is_said(wish: Wish, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        understood(wish, TOPIC)


def test_lists_that_are_empty_too_long_or_of_another_topic_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="names no record"):
        understood(Wish(ids=listed(tmp_path, "# none")), TOPIC)
    with pytest.raises(ConfigError, match="split the list"):
        understood(Wish(positions=listed(tmp_path, *(f"0:{at}" for at in range(PLACES_MAX + 1)))), TOPIC)
    with pytest.raises(ConfigError, match="is of topic"):
        understood(Wish(ids=listed(tmp_path, "recommend/1/events.login/0/3")), TOPIC)


def test_a_lane_has_topics_and_a_group_of_its_own() -> None:
    settings = Settings(streams=(STREAM,))
    lane = lane_of(settings, STREAM, "v2-test")
    assert lane.stream.to_topic == "predictions.lead-score.lane.v2-test"
    assert lane.stream.dead_letters == "events.new-lead.dead-letter.lane.v2-test"
    assert lane.group == "scorer.lead.replay.v2-test"


@pytest.mark.parametrize("name", ["live", "", "a/b", "a.b", "x" * 61])
def test_a_name_that_is_none_for_a_lane_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="no name for a lane"):
        lane_of(Settings(streams=(STREAM,)), STREAM, name)


@pytest.mark.parametrize("command", ["replay", "promote"])
def test_help_has_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--help"]) == 0
    assert f"scorer {command} lead" in capsys.readouterr().out
