"""What a source makes of an assignment that it cannot begin."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError, TopicPartition

from scorer.core.errors import TransientError
from tests.unit.edges.mock_cluster import Cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    yield made
    made.close()


class Unanswering:
    """A client whose broker cannot say what is committed; it must not be taken for a new group's.

    Args:
        code: of the error that it answers with.
    """

    def __init__(self, code: int = KafkaError.NOT_COORDINATOR) -> None:
        self._code = code
        self.paused: list[TopicPartition] = []

    def committed(self, partitions: list[TopicPartition], _: float) -> list[TopicPartition]:
        for each in partitions:
            each.offset = -1001
        return [Answer(each, KafkaError(self._code)) for each in partitions]  # type: ignore[misc]

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        self.given = partitions

    def pause(self, partitions: list[TopicPartition]) -> None:
        self.paused = partitions


class Answer:
    """A TopicPartition with an error, which its own constructor does not take."""

    def __init__(self, place: TopicPartition, error: KafkaError) -> None:
        self.topic, self.partition, self.offset, self.error = place.topic, place.partition, place.offset, error


@pytest.mark.parametrize("start", ["earliest", "latest"])
def test_no_answer_about_what_is_committed_is_an_outage_and_never_a_new_start(
    cluster: Cluster, start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scorer.edges.kafka.positions.ANSWER_S_MAX", 0.3)
    member = cluster.member(cluster.topic(), start=start)
    member.source._on_assign(Unanswering(), [TopicPartition("t", 0)])  # type: ignore[arg-type]
    with pytest.raises(TransientError, match="no committed offsets"):
        member.poll()
    assert ("assigned", {0: 0}) not in member.told


@pytest.mark.parametrize("code", [KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION])
def test_a_group_that_has_given_a_member_up_meanwhile_is_no_failure_and_nothing_is_read_until_it_is_back(
    cluster: Cluster, code: int
) -> None:
    member, client = cluster.member(cluster.topic()), Unanswering(code)
    member.source._on_assign(client, [TopicPartition("t", 0)])  # type: ignore[arg-type]
    assert client.paused == client.given == [TopicPartition("t", 0)], "or it fails when it takes them away"
    assert member.told == [("assigned", {})]
    assert member.poll() is None
    (waits,) = [fields for event, fields in member.reports if event == "kafka.consumer_waits"]
    assert "no committed offsets" in waits["error"]


def test_a_client_that_is_closing_is_given_nothing_and_asked_nothing(cluster: Cluster) -> None:
    member, client = cluster.member(cluster.topic()), Unanswering()
    member.source.close()
    client.committed = None  # type: ignore[assignment]
    member.source._on_assign(client, [TopicPartition("t", 0)])  # type: ignore[arg-type]
    assert client.given == []
    assert member.told[-1] == ("assigned", {})
