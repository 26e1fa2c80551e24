"""What a source hands out, commits and seeks while partitions come and go within its calls, over a client by hand."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from scorer.core.errors import TransientError
from scorer.core.ports import BatchLimits
from scorer.core.records import Closed
from scorer.edges.kafka import consumer
from scorer.edges.kafka.consumer import KafkaSource

TOPIC, HIGH, NOTHING = "events", 1_000, -1001
LIMITS = BatchLimits(10, 1_000)
Step = Callable[[], list[Message]]


def record(partition: int, offset: int) -> Message:
    return Message(topic=TOPIC, partition=partition, offset=offset, value=b"v", timestamp=(1, 5))


def told(code: int, partition: int, offset: int = 0) -> Message:
    return Message(topic=TOPIC, partition=partition, offset=offset, error=KafkaError(code))


class Client:
    """What is used of a Consumer: each poll and consume takes a step. `calls` notes what was asked of it, in order."""

    def __init__(self) -> None:
        self.steps: deque[Step] = deque()
        self.calls: list[tuple[Any, ...]] = []
        self.known: dict[int, int] = {}
        self.refuses = False

    def subscribe(self, _: list[str], **callbacks: Callable[..., None]) -> None:
        self.callbacks = callbacks

    def poll(self, _: float) -> Message | None:
        found = self.consume(1, 0)
        return found[0] if found else None

    def consume(self, _: int, __: float) -> list[Message]:
        return self.steps.popleft()() if self.steps else []

    def committed(self, partitions: list[TopicPartition], _: float) -> list[TopicPartition]:
        return [TopicPartition(TOPIC, each.partition, self.known.get(each.partition, NOTHING)) for each in partitions]

    def get_watermark_offsets(self, *_: Any, **__: Any) -> tuple[int, int]:
        return 2, HIGH

    def commit(self, **_: Any) -> list[TopicPartition]:
        if self.refuses:
            raise KafkaException(KafkaError(KafkaError.REQUEST_TIMED_OUT))
        return []

    def seek(self, place: TopicPartition) -> None:
        self.calls.append(("seek", place.partition, place.offset))

    def __getattr__(self, name: str) -> Callable[[Iterable[TopicPartition]], None]:
        assert name in ("assign", "incremental_assign", "pause", "resume")
        return lambda places: self.calls.append((name, *sorted(each.partition for each in places)))


class Owner:
    """Implements ports.Ownership: notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def assigned(self, positions: Mapping[int, int]) -> None:
        self.told.append(("assigned", dict(positions)))

    def revoked(self, partitions: Sequence[int]) -> None:
        self.told.append(("revoked", list(partitions)))

    def lost(self, partitions: Sequence[int]) -> None:
        self.told.append(("lost", list(partitions)))


class Made:
    """A source over a client by hand, which owns partitions 0 and 1."""

    def __init__(self, client: Client) -> None:
        self.client, self.owner = client, Owner()
        self.source = KafkaSource({}, TOPIC, start="earliest", ownership=self.owner, report=lambda *_: None)
        client.known = {0: 5, 1: 3}
        client.steps.append(self.rebalanced("assign", 0, 1))
        assert self.source.poll(LIMITS, 0) is None
        client.calls.clear()

    def rebalanced(self, event: str, *partitions: int, then: Sequence[Message] = ()) -> Step:
        """A step in which partitions come or go, and messages that were on their way by then."""

        def step() -> list[Message]:
            self.client.callbacks[f"on_{event}"](self.client, [TopicPartition(TOPIC, each) for each in partitions])
            return list(then)

        return step

    def polled(self, *steps: Step | list[Message]) -> tuple[list[tuple[int, int]], Closed | None]:
        """Places of the batch that a poll gives, whose calls take these steps, and why it closed."""
        self.client.steps.extend(step if callable(step) else (lambda step=step: step) for step in steps)
        batch = self.source.poll(LIMITS, 0)
        if batch is None:
            return [], None
        return list(zip(batch.partitions.tolist(), batch.offsets.tolist(), strict=True)), batch.closed


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    client = Client()
    monkeypatch.setattr(consumer, "made", lambda *_: client)
    return Made(client)


def test_a_batch_closes_at_once_without_records_of_a_partition_that_goes_while_it_is_gathered(made: Made) -> None:
    gone = made.rebalanced("revoke", 0, then=[record(0, 6), record(1, 3)])
    assert made.polled([record(0, 5)], gone, [record(1, 4)]) == ([(1, 3)], Closed.REVOKE)
    assert made.owner.told[-1] == ("revoked", [0])


def test_of_a_partition_that_goes_and_comes_back_within_a_call_it_is_read_on_from_its_new_position(made: Made) -> None:
    def away_and_back() -> list[Message]:
        made.rebalanced("lost", 0)()
        made.client.known[0] = 4
        return made.rebalanced("assign", 0, then=[record(0, 6), record(1, 3)])()

    assert made.polled([record(0, 5)], away_and_back) == ([(1, 3)], Closed.REVOKE)
    assert made.client.calls[-1] == ("seek", 0, 4)
    assert made.owner.told[-2:] == [("lost", [0]), ("assigned", {0: 4})]


def test_a_record_of_a_partition_that_is_not_ours_is_never_handed_out(made: Made) -> None:
    assert made.polled([record(7, 1)])[0] == []
    assert made.polled([record(0, 5)], [record(7, 1), record(1, 3)], [])[0] == [(0, 5), (1, 3)]


def test_what_was_fetched_before_a_hold_took_hold_is_read_again(made: Made) -> None:
    made.polled([told(KafkaError._PARTITION_EOF, 0, 5)])
    assert made.source.ends() == {0: 5}
    made.client.steps.append(lambda: [record(0, 5)])
    made.source.hold(0)
    made.source.hold(0)
    assert made.client.calls == [("pause", 0, 1), ("seek", 0, 5)]
    assert made.source.ends() == {}


def test_a_partition_that_comes_is_paused_only_while_all_are(made: Made) -> None:
    made.client.steps.append(made.rebalanced("assign", 2))
    made.source.hold(0)
    assert made.client.calls == [("pause", 0, 1), ("assign", 2), ("pause", 2)]
    made.client.calls.clear()
    assert made.polled(made.rebalanced("assign", 3)) == ([], None)
    assert made.client.calls == [("resume", 0, 1, 2), ("assign", 3), ("resume", 3)]


def test_a_partition_that_was_at_rest_when_it_went_is_read_once_it_is_back(made: Made) -> None:
    made.source.rest([0])
    made.polled(made.rebalanced("lost", 0))
    made.polled(made.rebalanced("assign", 0))
    made.source.hold(0)
    made.client.calls.clear()
    made.polled([])
    assert made.client.calls == [("resume", 0, 1)]


def test_it_begins_again_from_what_is_committed_or_else_from_where_reading_began(made: Made) -> None:
    made.polled([record(0, 5)], [record(1, 3), record(1, 4)], [])
    made.client.known = {0: 6}
    assert made.source.rewind() == {0: 6, 1: 3}
    assert [call for call in made.client.calls if call[0] == "seek"] == [("seek", 0, 6), ("seek", 1, 3)]
    assert made.source.lag() == {0: HIGH - 6, 1: HIGH - 3}


def test_an_end_or_a_lost_range_of_a_partition_that_is_not_ours_is_no_matter(made: Made) -> None:
    assert made.polled([told(KafkaError._PARTITION_EOF, 7, 9)]) == ([], None)
    assert made.source.ends() == {}
    assert made.polled([told(KafkaError._AUTO_OFFSET_RESET, 7)]) == ([], None)


def test_a_commit_that_is_waited_for_and_fails_is_an_outage_and_one_in_the_background_is_not(made: Made) -> None:
    made.client.refuses = True
    assert made.source.commit({0: 6}, wait=False) == {}
    with pytest.raises(TransientError, match="commit on events failed"):
        made.source.commit({0: 6}, wait=True)


def test_of_a_commit_that_was_taken_in_part_only_that_part_counts(made: Made) -> None:
    taken = SimpleNamespace(partition=0, offset=6, error=None)
    refused = SimpleNamespace(partition=1, offset=4, error=KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
    made.source._on_commit(None, [taken, refused])  # type: ignore[list-item]
    assert made.source.commit({}, wait=False) == {0: 6}
    assert made.source.commit({}, wait=False) == {}, "it is told once"
