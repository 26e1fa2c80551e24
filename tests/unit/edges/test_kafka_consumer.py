"""Records as micro-batches, from librdkafka's built-in cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError

from scorer.core.errors import HaltError, TransientError
from scorer.core.records import Closed
from scorer.edges.kafka.credentials import LOOK_EVERY_S, reread
from tests.unit.edges.mock_cluster import PARTITIONS, WAIT_S_MAX, Cluster, Member


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    yield made
    made.close()


def test_a_new_group_that_starts_earliest_gets_every_record_once_in_order(cluster: Cluster) -> None:
    member = cluster.member(cluster.topic(records=25))
    batches = member.gather(PARTITIONS * 25, rows_max=7)
    for partition in range(PARTITIONS):
        assert member.offsets(partition) == list(range(25))
    assert {value for _, _, value in member.rows} == {f"{p}:{n}".encode() for p in range(PARTITIONS) for n in range(25)}
    assert member.told == [("assigned", dict.fromkeys(range(PARTITIONS), 0))]
    assert max(map(len, batches)) == 7


def test_a_batch_holds_topic_timestamps_keys_and_headers(cluster: Cluster) -> None:
    topic = cluster.topic(records=1)
    (batch, *_) = cluster.member(topic).gather(1)
    assert batch.topic == topic
    assert abs(batch.timestamps[0] / 1000 - time.time()) < 60
    assert batch.keys[0] == b"k"
    assert batch.headers[0] == [("h", b"\xff"), ("n", None)]
    assert len(batch.keys) == len(batch.headers) == len(batch)
    assert list(batch.keys[0:1]) == [b"k"]


def test_a_new_group_that_starts_latest_gets_only_what_comes_and_keeps_that_start_at_once(cluster: Cluster) -> None:
    topic = cluster.topic(records=3)
    member = cluster.member(topic, start="latest")
    while not member.told:
        member.poll()
    assert member.told == [("assigned", dict.fromkeys(range(PARTITIONS), 3))]
    assert cluster.committed(topic) == dict.fromkeys(range(PARTITIONS), 3)
    cluster.produce(topic, 2)
    member.gather(PARTITIONS * 2)
    assert {offset for _, offset, _ in member.rows} == {3, 4}


def test_a_group_goes_on_from_where_it_has_committed_whatever_start_says(cluster: Cluster) -> None:
    topic = cluster.topic(records=5)
    cluster.commit(topic, {0: 2, 1: 5, 2: 5, 3: 5})
    member = cluster.member(topic, start="latest")
    member.gather(3)
    assert member.told == [("assigned", {0: 2, 1: 5, 2: 5, 3: 5})]
    assert member.rows == [(0, offset, f"0:{offset}".encode()) for offset in (2, 3, 4)]


def test_partitions_that_were_added_since_a_group_began_at_latest_are_read_from_their_first_record(
    cluster: Cluster,
) -> None:
    topic = cluster.topic(records=5)
    cluster.commit(topic, {0: 5, 1: 5})
    member = cluster.member(topic, start="latest")
    member.gather(10)
    assert member.told == [("assigned", {0: 5, 1: 5, 2: 0, 3: 0})]
    assert member.offsets(2) == member.offsets(3) == list(range(5))


def test_a_batch_closes_when_it_is_full(cluster: Cluster) -> None:
    member = cluster.member(cluster.topic(records=50))
    batches = member.gather(PARTITIONS * 50, rows_max=2)
    assert {len(batch) for batch in batches if batch.closed is Closed.FULL} == {2}
    assert all(batch.closed is Closed.FULL for batch in batches if len(batch) == 2)
    one_by_one = cluster.member(cluster.topic(records=5)).gather(7, rows_max=1)
    assert [(batch.closed, len(batch)) for batch in one_by_one] == [(Closed.FULL, 1)] * 7


def test_a_batch_closes_when_nothing_more_is_there(cluster: Cluster) -> None:
    topic = cluster.topic()
    cluster.produce(topic, 3, partitions=[1])
    (*_, last) = cluster.member(topic).gather(3, wait_ms_max=10_000)
    assert last.closed is Closed.IDLE
    assert last.next_offsets == {1: 3}


def test_a_batch_closes_when_its_wait_is_over_though_more_is_there(cluster: Cluster) -> None:
    batches = cluster.member(cluster.topic(records=500)).gather(PARTITIONS * 500, rows_max=100_000, wait_ms_max=0)
    assert Closed.WAIT in {batch.closed for batch in batches}


def test_nothing_within_the_idle_time_is_none(cluster: Cluster) -> None:
    member = cluster.member(cluster.topic())
    began = time.monotonic()
    assert member.poll(idle_ms_max=200) is None
    assert 0.1 < time.monotonic() - began < 5


def test_a_commit_that_is_waited_for_is_on_record_when_it_returns(cluster: Cluster) -> None:
    topic = cluster.topic(records=5)
    member = cluster.member(topic)
    member.gather(PARTITIONS * 5)
    assert member.source.commit({0: 3, 2: 5}, wait=True) == {0: 3, 2: 5}
    assert cluster.committed(topic) == {0: 3, 2: 5}


def test_a_commit_in_the_background_is_told_of_once_it_is_on_record(cluster: Cluster) -> None:
    topic = cluster.topic(records=5)
    member = cluster.member(topic)
    member.gather(PARTITIONS * 5)
    taken = dict(member.source.commit({1: 4}, wait=False))
    until = time.monotonic() + WAIT_S_MAX
    while not taken and time.monotonic() < until:
        member.poll(idle_ms_max=20)
        taken = dict(member.source.commit({}, wait=False))
    assert taken == {1: 4}
    assert member.source.commit({}, wait=False) == {}
    assert cluster.committed(topic) == {1: 4}


def test_nothing_is_committed_but_what_was_asked_for(cluster: Cluster) -> None:
    topic = cluster.topic(records=5)
    member = cluster.member(topic)
    member.gather(PARTITIONS * 5)
    member.source.close()
    assert cluster.committed(topic) == {}
    assert member.told[-1] == ("revoked", list(range(PARTITIONS)))


def test_records_that_come_while_held_are_kept_for_later_and_none_is_skipped_or_repeated(cluster: Cluster) -> None:
    topic = cluster.topic(records=20)
    member = cluster.member(topic)
    for count in (3, 30):
        member.gather(count, rows_max=3)
        for _ in range(5):
            member.source.hold(40)
    cluster.produce(topic, 5)
    member.source.hold(40)
    member.gather(PARTITIONS * 25)
    for partition in range(PARTITIONS):
        assert member.offsets(partition) == list(range(25))


def test_partitions_that_are_assigned_while_held_wait_as_well(cluster: Cluster) -> None:
    member = cluster.member(cluster.topic(records=4))
    until = time.monotonic() + WAIT_S_MAX
    while not member.told and time.monotonic() < until:
        member.source.hold(20)
    for _ in range(10):
        member.source.hold(20)
    assert member.told == [("assigned", dict.fromkeys(range(PARTITIONS), 0))]
    member.gather(PARTITIONS * 4)
    assert [member.offsets(partition) for partition in range(PARTITIONS)] == [[0, 1, 2, 3]] * PARTITIONS


def test_a_partition_at_rest_gives_nothing_until_it_is_read_again(cluster: Cluster) -> None:
    topic = cluster.topic(records=4)
    member = cluster.member(topic)
    member.gather(PARTITIONS * 4)
    member.source.rest([1])
    cluster.produce(topic, 3)
    member.source.hold(20)
    member.gather(PARTITIONS * 4 + (PARTITIONS - 1) * 3)
    for _ in range(10):
        member.poll(idle_ms_max=20)
    assert member.offsets(1) == [0, 1, 2, 3]
    member.source.commit({p: 7 if p != 1 else 2 for p in range(PARTITIONS)}, wait=True)
    assert member.source.rewind()[1] == 2
    member.gather(PARTITIONS * 4 + (PARTITIONS - 1) * 3 + 5)
    assert member.offsets(1) == [0, 1, 2, 3, 2, 3, 4, 5, 6]


def test_an_end_that_was_met_is_not_told_of_a_partition_that_is_read_again(cluster: Cluster) -> None:
    topic = cluster.topic(records=4)
    member = cluster.member(topic, **{"enable.partition.eof": True})
    until = time.monotonic() + WAIT_S_MAX
    while len(member.source.ends()) < PARTITIONS and time.monotonic() < until:
        member.poll()
    assert member.source.ends() == dict.fromkeys(range(PARTITIONS), 4)
    member.source.rewind()
    assert member.source.ends() == {}


def test_a_committed_offset_beyond_the_end_halts_with_the_range_and_what_to_do(cluster: Cluster) -> None:
    topic = cluster.topic(records=2)
    cluster.commit(topic, {1: 7})
    member = cluster.member(topic)
    with pytest.raises(
        HaltError, match=rf"{topic}/1: it ends at 2, before 7; .* kafka-consumer-groups --reset-offsets"
    ):
        member.gather(1)
    assert member.owned == set()
    assert [member.poll() for _ in range(5)] == [None] * 5


def test_a_committed_offset_before_the_beginning_halts_with_the_lost_range(cluster: Cluster) -> None:
    topic = cluster.topic()
    cluster.produce(topic, 8, partitions=[0], size=900_000)  # the cluster keeps about 5 MB
    cluster.commit(topic, {0: 0})
    with pytest.raises(HaltError, match=rf"{topic}/0: offsets 0 to \d+ are gone"):
        cluster.member(topic).gather(1)


def test_a_member_that_leaves_gives_its_partitions_to_the_other_from_where_it_committed(cluster: Cluster) -> None:
    topic = cluster.topic(records=10)
    first, second = cluster.member(topic), cluster.member(topic)
    until = time.monotonic() + WAIT_S_MAX
    while not len(first.owned) == len(second.owned) == PARTITIONS // 2:
        assert time.monotonic() < until
        for member in (first, second):
            member.poll(idle_ms_max=20)
    given, kept = sorted(first.owned), sorted(second.owned)
    assert sorted(given + kept) == list(range(PARTITIONS))
    first.source.commit(dict.fromkeys(given, 7), wait=True)
    first.source.close()
    assert first.told[-1] == ("revoked", given)
    second.rows = [row for row in second.rows if row[0] in kept]
    while sum(len(second.offsets(partition)) for partition in given) < 6 and time.monotonic() < until:
        second.poll()
    assert second.owned == set(range(PARTITIONS))
    assert [second.offsets(partition) for partition in given] == [[7, 8, 9]] * 2
    assert [second.offsets(partition)[-10:] for partition in kept] == [list(range(10))] * 2
    assert ("assigned", dict.fromkeys(given, 7)) in second.told


def test_a_broker_that_is_gone_is_an_outage_and_no_failure() -> None:
    lonely = Cluster()
    member: Member = lonely.member(lonely.topic(records=1))
    member.gather(PARTITIONS)
    assert member.source.outage() is None
    del lonely.broker
    until = time.monotonic() + WAIT_S_MAX
    while member.source.outage() is None and time.monotonic() < until:
        assert member.poll() is None
    assert member.source.outage() == "no broker of Kafka can be reached"
    member.source.close()


def test_a_password_that_one_broker_refuses_is_taken_up_though_the_others_answer(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scorer.edges.kafka.contact.ASK_EVERY_S", 0.0)
    texts = ["old"]
    member = cluster.member(cluster.topic(records=1), **{"sasl.password": reread(lambda: texts[-1])})
    member.gather(PARTITIONS)
    member.source._on_error(KafkaError(KafkaError._AUTHENTICATION, "one of them refuses it"))
    assert member.source.outage() is None, "the others answer"
    assert member.poll() is None
    texts.append("new")
    time.sleep(LOOK_EVERY_S)
    member.poll()
    time.sleep(LOOK_EVERY_S)
    with pytest.raises(TransientError, match="a new process takes them up"):
        member.poll()
