"""Records of one topic as micro-batches, as a member of a consumer group.

Guarantees: a record that is returned belongs to a partition that is ours at that moment, offsets ascend within each
partition, and none is skipped. Starting positions are chosen here: the committed one, else what `start` says; or where
the reader keeps them itself, the one that it has stored.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from scorer.core.errors import HaltError, ScorerError, TransientError
from scorer.core.ports import BatchLimits, Ownership, Report
from scorer.core.records import Closed, RecordBatch
from scorer.edges.kafka.contact import Contact
from scorer.edges.kafka.credentials import CHANGED, Rotation
from scorer.edges.kafka.failures import GivenUpError, failure_of, refused, unanswered
from scorer.edges.kafka.lag import Lag
from scorer.edges.kafka.messages import as_batch, made, partition_of, sparingly
from scorer.edges.kafka.positions import Stored, committed, lost_range, starting
from scorer.edges.kafka.starts import Member, Starts

ASK_S_MAX = 0.5


class KafkaSource:
    """Implements ports.Source. Driven by one thread; rebalance callbacks run inside poll and hold.

    Args:
        properties: librdkafka's.
        topic: what is read.
        start: see positions.starting.
        ownership: told of partitions that come and go.
        report: for log lines.
        stored: see positions.starting.
        counted: counts starts that came to no good end; see starts.py.
    """

    def __init__(
        self,
        properties: Mapping[str, Any],
        topic: str,
        *,
        start: str,
        ownership: Ownership,
        report: Report,
        stored: Stored | None = None,
        counted: Starts | None = None,
    ) -> None:
        self._topic, self._start, self._ownership, self._report = topic, start, ownership, report
        self._group, self._rotation = str(properties.get("group.id", "")), Rotation(properties)
        self._stored, self._counted = stored, counted
        strategy = str(properties.get("partition.assignment.strategy", ""))
        self._incremental = "cooperative" in strategy or properties.get("group.protocol") == "consumer"
        self._floors: dict[int, int] = {}  # owned partition -> the next offset to hand out
        self._starts: dict[int, int] = {}  # owned partition -> where reading began
        self._ends: dict[int, int] = {}  # partition -> where its end was met last, if the client is asked to tell
        self._gathered: list[Message] = []
        self._disowned: set[int] = set()  # revoked or lost since the last look
        self._resting: set[int] = set()  # owned, and wanted no more
        self._failure: ScorerError | None = None
        self._taken: dict[int, int] = {}  # committed in the background since the last look
        self._held = self._closing = False
        self._contact = Contact(lambda: self._consumer.list_topics(topic, timeout=ASK_S_MAX))
        self._say_error = sparingly(report, "kafka.consumer_error")
        self._say_not_committed = sparingly(report, "kafka.commit_failed")
        callbacks = {"error_cb": self._on_error, "on_commit": self._on_commit}
        self._consumer = made(Consumer, {**properties, **callbacks}, report)
        self._lag = Lag(self._consumer, topic)
        self._consumer.subscribe([topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)

    def poll(self, limits: BatchLimits, idle_ms_max: int) -> RecordBatch | None:
        """See ports.Source. Polls for the first record, then takes what is already there."""
        self._take_up()
        self._resume()
        self._gathered = []
        first = self._consumer.poll(idle_ms_max / 1000)
        self._keep([] if first is None else [first])
        deadline = time.monotonic() + limits.wait_ms_max / 1000
        closed = Closed.FULL
        while self._gathered and len(self._gathered) < limits.rows_max:
            more = self._consumer.consume(limits.rows_max - len(self._gathered), 0)
            if self._disowned:
                closed = Closed.REVOKE
            self._keep(more)
            if closed is Closed.REVOKE:
                break
            if not more:
                closed = Closed.IDLE
                break
            if time.monotonic() >= deadline and len(self._gathered) < limits.rows_max:
                closed = Closed.WAIT
                break
        if not self._gathered:
            return None
        self._contact.heard()
        messages, self._gathered = self._gathered, []
        batch = as_batch(self._topic, messages, closed)
        self._floors.update(batch.next_offsets)
        return batch

    def hold(self, wait_ms: int) -> None:
        """See ports.Source. Pausing drops what was fetched ahead, so this is for long waits alone."""
        self._take_up()
        if not self._held:
            self._held = True
            self._consumer.pause(self._partitions(self._floors))
        unexpected = self._consumer.poll(wait_ms / 1000)
        self._keep([] if unexpected is None else [unexpected])
        for message in self._gathered:  # fetched before the pause took hold
            self._ends.pop(partition_of(message), None)
            self._consumer.seek(TopicPartition(self._topic, partition_of(message), message.offset() or 0))
        self._gathered = []

    def rest(self, partitions: Iterable[int]) -> None:
        """Takes no more records of these until they are assigned anew, or read again."""
        self._resting.update(partitions)
        self._consumer.pause(self._partitions(partitions))

    def commit(self, offsets: Mapping[int, int], wait: bool) -> Mapping[int, int]:
        """See ports.Source.

        Raises:
            TransientError: the broker did not take a commit that was waited for.
        """
        if offsets:
            wanted = [TopicPartition(self._topic, partition, offset) for partition, offset in offsets.items()]
            try:
                if wait:
                    self._on_commit(None, self._consumer.commit(offsets=wanted, asynchronous=False))
                else:
                    self._consumer.commit(offsets=wanted, asynchronous=True)
            except KafkaException as error:
                if wait:
                    raise TransientError(f"commit on {self._topic} failed: {error.args[0]}") from error
                self._say_not_committed(error.args[0])
        taken_meanwhile, self._taken = self._taken, {}
        return taken_meanwhile

    def membership(self) -> Member:
        """See ports.Source. It is new after each rebalance, so it is never kept."""
        return Member(self._consumer.consumer_group_metadata(), self._counted)

    def unfinished(self) -> Mapping[int, int]:
        """See ports.Lagging."""
        return {} if self._counted is None else self._counted.unfinished

    def rewind(self) -> dict[int, int]:
        """Reads on from what is committed, or from where reading began. Returns partition to the next offset.

        Raises:
            TransientError: the broker does not say what is committed.
        """
        self._gathered, self._ends = [], {}
        known = committed(self._consumer, self._topic, list(self._floors))
        positions = {partition: known.get(partition, self._starts[partition]) for partition in self._floors}
        for partition, offset in positions.items():
            self._consumer.seek(TopicPartition(self._topic, partition, offset))
        self._floors.update(positions)
        woken, self._resting = self._resting, set()
        self._consumer.resume(self._partitions(woken & self._floors.keys()))
        return positions

    def lag(self) -> dict[int, int]:
        """See ports.Lagging."""
        return self._lag.behind(self._floors, self._held)

    def ends(self) -> Mapping[int, int]:
        """Owned partition to the offset behind which nothing came; known with `enable.partition.eof` alone."""
        return {partition: end for partition, end in self._ends.items() if partition in self._floors}

    def outage(self) -> str | None:
        """See ports.Source."""
        return self._contact.outage()

    def close(self, orderly: bool = True) -> None:
        """Leaves the group at once; `orderly` is not the end of a process by a bug."""
        if orderly and self._counted is not None:  # a client that is closing is not answered any more
            self._counted.end_well(self._consumer, list(self._floors), self._report)
        self._closing = True
        self._consumer.close()

    def _keep(self, messages: list[Message]) -> None:
        """Adds messages to the batch, without those of partitions that are no longer ours."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        disowned, self._disowned = self._disowned, set()
        if disowned:
            stale = {partition_of(message) for message in messages} & disowned & self._floors.keys()
            self._gathered = [message for message in self._gathered if partition_of(message) not in disowned]
            messages = [message for message in messages if partition_of(message) not in disowned]
            for partition in stale:  # taken away and given back within one call: read on from the new position
                self._consumer.seek(TopicPartition(self._topic, partition, self._floors[partition]))
        if not any(map(Message.error, messages)) and self._floors.keys() >= set(map(Message.partition, messages)):
            self._gathered += messages
            return
        for message in messages:
            error = message.error()
            if error is not None:
                self._judge(error, message)
            elif partition_of(message) in self._floors:
                self._gathered.append(message)

    def _judge(self, error: KafkaError, message: Message) -> None:
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            partition = partition_of(message)
            if partition not in self._floors:
                return  # of one that is no longer ours
            raise HaltError(lost_range(self._consumer, self._topic, partition, self._floors[partition]) or str(error))
        if error.code() == KafkaError._PARTITION_EOF:
            self._ends[partition_of(message)] = message.offset() or 0
            return
        failure = failure_of(error, self._topic, self._group)
        if failure is not None:
            raise failure
        self._report("kafka.consumer_waits", {"error": str(error)})

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # A client that is closing is given nothing, and asked nothing: it would sit out its time for each question.
        starts, taken = [] if self._closing else partitions, False
        if not self._closing:
            try:
                starts, taken = self._begin(consumer, [each.partition for each in partitions]), True
            except GivenUpError as error:  # they are lost next
                self._report("kafka.consumer_waits", {"error": str(error)})
            except ScorerError as error:
                self._failure = error
        # Also what is not taken: the client would read it all the same, or fail when it takes away what it never had.
        (consumer.incremental_assign if self._incremental else consumer.assign)(starts)
        # A pause outlives the assignment: a partition that was lost while it was paused would come back paused.
        (consumer.pause if self._held or not taken else consumer.resume)(starts)
        positions = {each.partition: each.offset for each in starts} if taken else {}
        self._floors.update(positions)
        self._starts.update(positions)
        self._ownership.assigned(positions)

    def _begin(self, consumer: Consumer, partitions: list[int]) -> list[TopicPartition]:
        """Where partitions that were just assigned are begun, once that is counted.

        Raises:
            HaltError, RefusedError, TransientError: they cannot be begun; GivenUpError: they are not ours any more.
        """
        try:
            positions = starting(consumer, self._topic, partitions, self._start, self._stored)
            if positions and self._counted is not None:
                self._counted.begin(consumer, positions)
        except KafkaException as error:
            what = f"starts on {self._topic} cannot be counted"
            raise refused(error.args[0], group=self._group) or unanswered(error.args[0], what) from error
        return [TopicPartition(self._topic, partition, offset) for partition, offset in positions.items()]

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        gone = [partition.partition for partition in partitions]
        self._ownership.revoked(gone)
        if not self._closing and self._counted is not None:
            self._counted.end_well(consumer, gone, self._report)
        self._disown(gone)

    def _on_lost(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        gone = [partition.partition for partition in partitions]
        self._ownership.lost(gone)
        self._disown(gone)

    def _disown(self, partitions: list[int]) -> None:
        self._disowned.update(partitions)
        self._resting.difference_update(partitions)
        for partition in partitions:
            for kept in (self._floors, self._starts, self._ends):
                kept.pop(partition, None)
        if self._counted is not None:
            self._counted.forget(partitions)

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        if error is not None:
            self._say_not_committed(error)
        for each in partitions:
            if each.error is None and each.offset >= 0:
                self._taken[each.partition] = each.offset

    def _on_error(self, error: KafkaError) -> None:
        self._say_error(error)
        self._contact.failed(error)
        self._rotation.heard(error)

    def _take_up(self) -> None:
        if self._rotation.due():
            raise TransientError(CHANGED)

    def _resume(self) -> None:
        if self._held:
            self._held = False
            self._consumer.resume(self._partitions(self._floors.keys() - self._resting))

    def _partitions(self, numbers: Iterable[int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, number) for number in numbers]
