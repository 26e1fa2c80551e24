"""What a lane's topics are made as, and how much of its replay is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from scorer.cli.lanes import lane_of, left_of, topics_of
from scorer.cli.settings import Settings, Stream
from scorer.core.errors import ConfigError
from scorer.core.pieces import Piece
from scorer.edges.kafka.admin import Topic

NAMES = {"from_topic": "events.new-lead", "to_topic": "predictions.lead-score"}
STREAM = Stream.model_validate({"name": "lead", "bundle": Path("models/lead/1"), **NAMES})
LANE = lane_of(Settings(), STREAM, "fix")
DEFAULT = {"cleanup.policy": "delete", "retention.ms": "604800000"}


class Admin:
    """A broker's topics, each with the settings that are its own."""

    def __init__(self, **own: dict[str, str]) -> None:
        self.own: dict[str, dict[str, str]] = {STREAM.from_topic: {}, STREAM.to_topic: {}, STREAM.dead_letters: {}}
        self.own |= {getattr(STREAM, name): settings for name, settings in own.items()}

    def topic(self, name: str) -> tuple[Topic, dict[str, str]]:
        own = self.own[name]
        return Topic(name, 4, 3, own), DEFAULT | own


def made(admin: Admin, *there: str) -> dict[str, Topic]:
    return {topic.name: topic for topic in topics_of(LANE, admin, there)}  # type: ignore[arg-type]


def test_a_lane_has_the_topics_of_its_stream_with_their_settings() -> None:
    own = {"max.message.bytes": "5", "retention.ms": "1000"}
    found = made(Admin(to_topic=own, dead_letters=own, from_topic={"retention.ms": "1000"}))
    assert [found[name] for name in sorted(found)] == [
        Topic("events.new-lead.dead-letter.lane.fix", 4, 3, own),
        Topic("predictions.lead-score.lane.fix", 4, 3, own),
    ]


@pytest.mark.parametrize(
    ("source", "live", "wanted"),
    [
        ({"retention.ms": "31536000000"}, {}, "31536000000"),
        ({"retention.ms": "31536000000"}, {"retention.ms": "604800000"}, "31536000000"),
        ({"cleanup.policy": "compact"}, {"retention.ms": "5"}, "5"),
        ({"retention.ms": "-1"}, {}, None),
    ],
)
def test_a_dead_letter_of_a_replay_is_kept_as_long_as_its_record_whatever_becomes_of_the_live_ones(
    source: dict[str, str], live: dict[str, str], wanted: str | None
) -> None:
    found = made(Admin(from_topic=source, dead_letters=live))[LANE.stream.dead_letters]
    assert found.settings.get("retention.ms") == wanted


def test_topics_of_a_lane_that_are_there_stay_as_they_are() -> None:
    assert made(Admin(), LANE.stream.to_topic, LANE.stream.dead_letters) == {}


PIECE = Piece({0: (0, 10), 1: (5, 10)})


@pytest.mark.parametrize("committed", [{}, {0: 10}, {0: 3, 1: 5}])
@pytest.mark.parametrize("filled", [True, False])
def test_a_replay_that_is_written_down_as_done_has_nothing_left_whatever_kafka_has_kept_of_its_group(
    committed: dict[int, int], filled: bool
) -> None:
    assert left_of("g", PIECE, committed, filled=lambda: filled, done=True) == 0


def test_a_replay_that_has_lost_its_positions_is_not_begun_anew_over_what_it_has_written() -> None:
    assert left_of("g", PIECE, {}, filled=lambda: False) == 15
    assert left_of("g", PIECE, {0: 7, 1: 10}, filled=lambda: True) == 3
    with pytest.raises(ConfigError, match="has lost its positions"):
        left_of("g", PIECE, {}, filled=lambda: True)
    with pytest.raises(ConfigError, match="has lost its positions"):
        left_of("g", PIECE, {0: 7}, filled=lambda: False)
