"""Members of a group to which the group does, on a real broker, what seldom happens at the wrong moment."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from kafka import KafkaAdminClient
from kafka.admin import MemberToRemove

from scorer.core.errors import HaltError
from scorer.edges.kafka import consumer as under_test
from scorer.edges.kafka.consumer import KafkaSource
from scorer.edges.kafka.settings import consumer_properties
from scorer.edges.kafka.starts import Starts
from tests.harness.kafka import Topics
from tests.unit.edges.mock_cluster import Member

PARTITIONS, EACH = 2, 5
WAIT_S_MAX = 30.0
EAGER: Mapping[str, Any] = {"partition.assignment.strategy": "range"}
COOPERATIVE: Mapping[str, Any] = {}
NEWER: Mapping[str, Any] = {"group.protocol": "consumer"}


class Group:
    """A topic with a few records, and the members of its one group."""

    def __init__(self, kafka: str, topic: str) -> None:
        self.kafka, self.topic = kafka, topic
        self.members: list[Member] = []
        producer = Producer({"bootstrap.servers": kafka})
        for number in range(PARTITIONS * EACH):
            producer.produce(topic, b"value", partition=number % PARTITIONS)
        assert producer.flush(WAIT_S_MAX) == 0

    def join(self, own: Mapping[str, Any]) -> Member:
        member = Member()
        member.source = KafkaSource(
            consumer_properties({"bootstrap.servers": self.kafka, **own}, self.topic, "paced"),
            self.topic,
            start="earliest",
            ownership=member,
            report=lambda event, fields: member.reports.append((event, dict(fields))),
            counted=Starts(self.topic),
        )
        self.members.append(member)
        return member

    def give_up(self) -> None:
        """The group gives its members up, as a broker does that has not heard of them for their session's time."""
        admin = KafkaAdminClient(bootstrap_servers=self.kafka)
        try:
            found = admin.describe_groups([self.topic])[self.topic]["members"]
            assert found
            admin.remove_group_members(self.topic, [MemberToRemove(member_id=each["member_id"]) for each in found])
        finally:
            admin.close()


@pytest.fixture
def group(kafka: str, topics: Topics) -> Iterator[Group]:
    made = Group(kafka, topics(PARTITIONS))
    yield made
    for member in made.members:
        member.source.close()


@pytest.mark.parametrize("own", [COOPERATIVE, EAGER], ids=["cooperative", "eager"])
def test_a_member_that_is_given_up_while_it_takes_its_partitions_joins_anew_and_reads_them_all(
    group: Group, own: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    starting, left = under_test.starting, [group.give_up]

    def given_up_meanwhile(*args: Any) -> dict[int, int]:
        found = starting(*args)
        if left:
            left.pop()()
        return found

    monkeypatch.setattr(under_test, "starting", given_up_meanwhile)
    member = group.join(own)
    member.gather(PARTITIONS * EACH)
    assert member.told == [("assigned", {}), ("lost", [0, 1]), ("assigned", {0: 0, 1: 0})]
    assert [member.offsets(partition) for partition in range(PARTITIONS)] == [list(range(EACH))] * PARTITIONS


@pytest.mark.parametrize("own", [COOPERATIVE, EAGER, NEWER], ids=["cooperative", "eager", "newer protocol"])
def test_what_a_halted_member_could_not_begin_can_be_given_to_another(group: Group, own: Mapping[str, Any]) -> None:
    settings = {"bootstrap.servers": group.kafka, "group.id": group.topic}
    outside = Consumer(settings)
    outside.commit(offsets=[TopicPartition(group.topic, 0, 99)], asynchronous=False)  # behind its end
    outside.close()
    first = group.join(own)
    with pytest.raises(HaltError, match=f"{group.topic}/0: it ends at {EACH}, before 99"):
        first.gather(1)
    second = group.join(own)
    until_s = time.monotonic() + WAIT_S_MAX
    while not any(what == "revoked" and of for what, of in first.told):
        assert time.monotonic() < until_s, "nothing was taken away from the first"
        with suppress(HaltError):  # whoever is given that partition says so once more
            first.source.hold(100)
        with suppress(HaltError):
            second.poll(idle_ms_max=100)
    with suppress(HaltError):
        first.source.hold(100)
