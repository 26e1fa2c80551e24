"""What a lane's topics are made as."""

from __future__ import annotations

from pathlib import Path

import pytest

from scorer.cli.lanes import lane_of, topics_of
from scorer.cli.settings import Settings, Stream
from scorer.edges.kafka.admin import Topic

NAMES = {"from_topic": "events.new-lead", "to_topic": "predictions.lead-score"}
STREAM = Stream.model_validate({"name": "lead", "bundle": Path("models/lead/1"), **NAMES})
LANE = lane_of(Settings(), STREAM, "fix")
DEFAULT = {"cleanup.policy": "delete", "retention.ms": "604800000"}


class Admin:
    """A broker's topics, each with the settings that are its own."""

    def __init__(self, **own: dict[str, str]) -> None:
        self.own = {STREAM.from_topic: {}, STREAM.to_topic: {}, STREAM.dead_letters: {}}
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
