"""Offsets without an event: looked up once each, told why, and never for longer than was allowed."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from scorer.core.errors import TransientError
from scorer.edges.kafka import extents
from scorer.edges.kafka.extents import EXPIRED, NEAR_MAX, NOT_REPLAYED, TOMBSTONE, TopicExtents, _together
from tests.unit.edges.mock_cluster import Cluster

GAPS = 600


def everything(*_: int) -> bool:
    return True


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def topics(cluster: Cluster) -> Iterator[TopicExtents]:
    with TopicExtents(cluster.own, cluster.own, lambda *_: None) as topics:
        yield topics


def test_hundreds_of_gaps_of_one_offset_take_no_time_for_each(cluster: Cluster, topics: TopicExtents) -> None:
    topic = cluster.topic()
    cluster.send(topic, *[b"event", None] * GAPS)
    asked = [(0, at, at + 1) for at in range(1, 2 * GAPS, 2)]
    began_s = time.monotonic()
    found = topics.without_event(topic, asked, {0: (0, 2 * GAPS)}, everything)
    assert time.monotonic() - began_s < 10
    assert found == [(span, TOMBSTONE) for span in asked]


def test_gaps_of_one_partition_are_read_in_one_pass_unless_they_are_far_apart() -> None:
    near, far = (0, 3, 4), (0, 4 + NEAR_MAX + 1, 9_999)
    assert list(_together([(0, 1, 2), near, far, (1, 0, 1)])) == [[(0, 1, 2), near], [far], [(1, 0, 1)]]
    assert list(_together([near, (0, 4 + NEAR_MAX, 9_999)])) == [[near, (0, 4 + NEAR_MAX, 9_999)]]


def test_offsets_that_were_not_asked_for_are_not_told_of(cluster: Cluster, topics: TopicExtents) -> None:
    topic = cluster.topic()
    cluster.send(topic, b"0", None, None, b"3", None, b"5", None)
    found = topics.without_event(topic, [(0, 0, 2), (0, 4, 6), (1, 0, 3)], {0: (0, 7), 1: (0, 0)}, everything)
    assert found == [((0, 1, 2), TOMBSTONE), ((0, 4, 5), TOMBSTONE)]


def test_what_has_expired_is_told_from_what_is_there(cluster: Cluster, topics: TopicExtents) -> None:
    topic = cluster.topic()
    cluster.send(topic, b"0", b"1", b"2", None)
    found = topics.without_event(topic, [(0, 0, 4)], {0: (2, 4)}, everything)
    assert found == [((0, 0, 2), EXPIRED), ((0, 3, 4), TOMBSTONE)]
    assert topics.without_event(topic, [(0, 0, 1)], {0: (2, 4)}, everything) == [((0, 0, 1), EXPIRED)]


def test_no_more_offsets_are_looked_up_than_was_allowed(
    cluster: Cluster, topics: TopicExtents, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = cluster.topic()
    cluster.send(topic, None, b"1", None, None, None)
    monkeypatch.setattr(extents, "OFFSETS_MAX", 2)
    found = topics.without_event(topic, [(0, 0, 1), (0, 2, 5)], {0: (0, 5)}, everything)
    assert found == [((0, 0, 1), TOMBSTONE), ((0, 2, 3), TOMBSTONE)]


def test_a_time_stands_for_the_first_record_that_is_not_older_else_for_the_end(
    topics: TopicExtents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topics, "extents", lambda _: {0: (0, 5), 1: (2, 7)}, raising=False)
    monkeypatch.setattr(topics, "at_time", lambda *_: {0: 0, 1: -1}, raising=False)
    assert topics.since("events", 1) == {0: 0, 1: 7}


def test_what_a_replay_left_out_is_told_of_as_runs(cluster: Cluster, topics: TopicExtents) -> None:
    topic = cluster.topic()
    cluster.send(topic, b"0", b"1", None, b"3", b"4", b"5")
    found = topics.without_event(topic, [(0, 0, 6)], {0: (0, 6)}, lambda _, offset, __: offset == 4)
    assert found == [
        ((0, 0, 2), NOT_REPLAYED),
        ((0, 2, 3), TOMBSTONE),
        ((0, 3, 4), NOT_REPLAYED),
        ((0, 5, 6), NOT_REPLAYED),
    ]


def test_what_was_found_within_the_time_is_told_and_the_rest_is_left_for_the_next(
    cluster: Cluster, topics: TopicExtents, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = cluster.topic()
    cluster.send(topic, None, b"1", None)
    monkeypatch.setattr(extents, "READ_S_MAX", 2.0)
    # Of a partition that is not there nothing comes.
    found = topics.without_event(topic, [(0, 0, 3), (9, 0, 3)], {0: (0, 3), 9: (0, 3)}, everything)
    assert found == [((0, 0, 1), TOMBSTONE), ((0, 2, 3), TOMBSTONE)]


def test_no_answer_at_all_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extents, "READ_S_MAX", 1.0)
    nobody = {"bootstrap.servers": "127.0.0.1:1"}
    with TopicExtents(nobody, nobody, lambda *_: None) as away, pytest.raises(TransientError, match="within 1 s"):
        away.without_event("events", [(0, 0, 3)], {0: (0, 3)}, everything)
