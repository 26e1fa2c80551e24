"""What a broker answers while it goes away is no answer: where to start is asked again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from scorer.core.errors import HaltError, RefusedError, TransientError
from scorer.edges.kafka import positions
from scorer.edges.kafka.positions import committed, starting

GOING_AWAY = [
    KafkaError._DESTROY_BROKER,
    KafkaError._TRANSPORT,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.NETWORK_EXCEPTION,
]


class Wavering:
    """A consumer whose brokers give these errors first, one a question."""

    def __init__(self, *errors: int) -> None:
        self.errors = list(errors)

    def committed(self, partitions: list[TopicPartition], _: float) -> list[TopicPartition]:
        self._fails()
        return [TopicPartition(each.topic, each.partition, 7) for each in partitions]

    def get_watermark_offsets(self, _: TopicPartition, __: float) -> tuple[int, int]:
        self._fails()
        return 5, 9

    def _fails(self) -> None:
        if self.errors:
            raise KafkaException(KafkaError(self.errors.pop(0)))


class Fresh:
    """A consumer of three partitions, 5 to 9 each, whose group has committed nothing; but for what is committed
    `meanwhile`, after the first question."""

    def __init__(self) -> None:
        self.offsets: dict[int, int] = {}
        self.meanwhile: dict[int, int] = {}

    def committed(self, partitions: list[TopicPartition], _: float) -> list[TopicPartition]:
        found = [
            TopicPartition(each.topic, each.partition, self.offsets.get(each.partition, -1001)) for each in partitions
        ]
        self.offsets.update(self.meanwhile)
        return found

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> None:
        assert not asynchronous
        self.offsets.update({each.partition: each.offset for each in offsets})

    def get_watermark_offsets(self, _: TopicPartition, __: float) -> tuple[int, int]:
        return 5, 9

    def list_topics(self, topic: str, timeout: float) -> Any:
        assert timeout > 0
        return SimpleNamespace(topics={topic: SimpleNamespace(partitions=dict.fromkeys(range(3)), error=None)})


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(positions, "PAUSE_S", 0.0)


def asked(*errors: int) -> dict[int, int]:
    return starting(cast(Any, Wavering(*errors)), "events", [0], "earliest")


@pytest.mark.parametrize("code", GOING_AWAY, ids=lambda code: KafkaError(code).name())
def test_a_broker_that_goes_away_is_asked_again(code: int) -> None:
    assert asked(code, code) == {0: 7}


def test_nobody_is_asked_for_ever() -> None:
    with pytest.raises(TransientError, match="no committed offsets of events"):
        committed(cast(Any, Wavering(*[KafkaError._TRANSPORT] * 3)), "events", [0], answer_s_max=0.0)


@pytest.mark.parametrize("code", [KafkaError.UNKNOWN_MEMBER_ID, KafkaError._STATE])
def test_what_asking_again_does_not_change_is_said_at_once(code: int) -> None:
    with pytest.raises(TransientError):
        asked(code)


def test_a_missing_right_is_named_at_once() -> None:
    with pytest.raises(RefusedError, match="topic events"):
        asked(KafkaError.TOPIC_AUTHORIZATION_FAILED)


def test_the_first_member_of_a_group_that_begins_at_latest_fixes_the_start_of_all_partitions() -> None:
    fresh = Fresh()
    assert starting(cast(Any, fresh), "events", [1], "latest") == {1: 9}
    assert fresh.offsets == {0: 9, 1: 9, 2: 9}


def test_a_member_whose_group_began_at_latest_while_it_asked_goes_on_from_that_start() -> None:
    fresh = Fresh()
    fresh.meanwhile = {0: 8, 1: 8, 2: 8}
    assert starting(cast(Any, fresh), "events", [1], "latest") == {1: 8}
    assert fresh.offsets == {0: 8, 1: 8, 2: 8}


@pytest.mark.parametrize(
    ("position", "lost"),
    [
        (3, r"events/0: offsets 3 to 4 are gone; .* again"),
        (5, None),
        (9, None),
        (11, "events/0: it ends at 9, before 11; .* again"),
    ],
)
@pytest.mark.parametrize("own", [False, True])
def test_reading_goes_on_wherever_the_topic_still_is_and_a_range_that_is_lost_halts(
    position: int, lost: str | None, own: bool
) -> None:
    fresh = Fresh()
    fresh.offsets = {0: 7 if own else position}
    stored = (lambda _: {0: position}) if own else None
    if lost is None:
        assert starting(cast(Any, fresh), "events", [0], "earliest", stored) == {0: position}
        return
    with pytest.raises(HaltError, match=lost) as halted:
        starting(cast(Any, fresh), "events", [0], "earliest", stored)
    assert ("Delete the stored position" in str(halted.value)) is own
    assert ("kafka-consumer-groups" in str(halted.value)) is not own


@pytest.mark.parametrize("start", ["earliest", "latest"])
def test_a_partition_that_was_added_since_is_read_from_its_first_record(start: str) -> None:
    fresh = Fresh()
    fresh.offsets = {0: 7}
    assert starting(cast(Any, fresh), "events", [0, 1], start) == {0: 7, 1: 5}
    assert fresh.offsets == {0: 7}


def test_an_error_of_one_partition_is_no_answer() -> None:
    class Partly(Fresh):
        def committed(self, partitions: list[TopicPartition], _: float) -> list[Any]:
            gone = KafkaError(KafkaError.UNKNOWN_MEMBER_ID)
            return [SimpleNamespace(partition=each.partition, offset=-1001, error=gone) for each in partitions]

    with pytest.raises(TransientError, match="no committed offsets of events"):
        committed(cast(Any, Partly()), "events", [0], answer_s_max=0.0)


def test_the_fake_has_what_is_used_of_a_consumer() -> None:
    assert all(hasattr(Consumer, name) for name in ("commit", "committed", "get_watermark_offsets", "list_topics"))
