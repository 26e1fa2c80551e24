"""Which offsets may be committed, whatever the order in which deliveries are confirmed."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from scorer.core.offsets import InFlight, Ledger

PARTITIONS = (0, 1, 2)


def owning(**positions: int) -> Ledger:
    """A ledger that owns p0, p1 and so on from these positions."""
    ledger = Ledger()
    ledger.assign({int(name[1:]): offset for name, offset in positions.items()})
    return ledger


def begin(ledger: Ledger, offsets: dict[int, int], deliveries: int) -> InFlight:
    return ledger.begin(offsets, deliveries, dict(ledger.generations))


def test_a_batch_is_committable_once_all_its_deliveries_are_confirmed() -> None:
    ledger = owning(p0=5)
    batch = begin(ledger, {0: 8}, 2)
    assert ledger.committable() == {}
    batch.outstanding -= 1
    assert ledger.committable() == {}
    batch.outstanding -= 1
    assert ledger.committable() == {0: 8}


def test_a_batch_that_is_confirmed_first_waits_for_those_before_it() -> None:
    ledger = owning(p0=0, p1=0)
    first, second = begin(ledger, {0: 3}, 1), begin(ledger, {0: 5, 1: 2}, 1)
    second.outstanding = 0
    assert ledger.committable() == {}
    first.outstanding = 0
    assert ledger.committable() == {0: 5, 1: 2}


def test_a_batch_without_deliveries_is_done_at_once_but_keeps_its_place() -> None:
    ledger = owning(p0=0)
    first, _ = begin(ledger, {0: 3}, 1), begin(ledger, {0: 5}, 0)
    assert ledger.committable() == {}
    first.outstanding = 0
    assert ledger.committable() == {0: 5}


def test_what_is_committed_is_no_longer_committable() -> None:
    ledger = owning(p0=0)
    begin(ledger, {0: 3}, 0)
    ledger.note_committed(ledger.committable())
    assert ledger.committable() == {}
    begin(ledger, {0: 4}, 0)
    assert ledger.committable() == {0: 4}


def test_a_late_answer_about_an_older_commit_takes_nothing_back() -> None:
    ledger = owning(p0=0)
    ledger.note_committed({0: 9})
    ledger.note_committed({0: 4})
    begin(ledger, {0: 9}, 0)
    assert ledger.committable() == {}


def test_a_commit_of_a_partition_that_is_no_longer_ours_is_not_noted() -> None:
    ledger = owning(p0=0)
    ledger.drop([0])
    ledger.note_committed({0: 9})
    assert ledger.committed == {}


def test_a_position_that_reading_starts_at_counts_as_committed() -> None:
    ledger = owning(p0=7)
    begin(ledger, {0: 7}, 0)
    assert ledger.committable() == {}


def test_a_dropped_partition_is_never_committable_though_its_deliveries_come_in() -> None:
    ledger = owning(p0=0, p1=0)
    batch = begin(ledger, {0: 3, 1: 4}, 1)
    ledger.drop([0])
    batch.outstanding = 0
    assert ledger.committable() == {1: 4}


def test_a_batch_read_before_a_partition_was_dropped_does_not_count_for_it() -> None:
    ledger = owning(p0=0, p1=0)
    since = dict(ledger.generations)
    ledger.drop([0])
    ledger.begin({0: 3, 1: 4}, 0, since)
    assert ledger.committable() == {1: 4}


def test_a_batch_read_before_a_partition_came_back_does_not_count_for_it() -> None:
    ledger = owning(p0=0)
    since = dict(ledger.generations)
    ledger.drop([0])
    ledger.assign({0: 0})
    assert not ledger.holds(0, since)
    ledger.begin({0: 3}, 0, since)
    assert ledger.committable() == {}


def test_an_assignment_forgets_unconfirmed_and_confirmed_work_of_an_earlier_one() -> None:
    ledger = owning(p0=0)
    waiting = begin(ledger, {0: 9}, 1)
    ledger.assign({0: 2})
    waiting.outstanding = 0
    assert ledger.committable() == {}
    begin(ledger, {0: 8}, 0)
    ledger.committable()
    ledger.assign({0: 2})
    assert ledger.committable() == {}


def test_a_partition_is_held_only_without_a_break_and_never_if_it_is_not_ours() -> None:
    ledger = owning(p0=0)
    assert ledger.holds(0, dict(ledger.generations))
    assert not ledger.holds(1, {})
    assert not ledger.holds(1, {1: 1})
    assert not ledger.holds(0, {})


def test_after_a_restart_nothing_waits_for_deliveries_of_what_came_to_nothing() -> None:
    ledger = owning(p0=0)
    begin(ledger, {0: 3}, 1)  # of an aborted transaction: nobody ever reports on it
    ledger.restart({0: 0})
    assert not ledger.pending
    begin(ledger, {0: 2}, 0)
    assert ledger.committable() == {0: 2}


def test_a_restart_takes_up_what_is_ours_where_it_is_read_from_and_nothing_else() -> None:
    ledger = owning(p0=0, p1=0)
    since = dict(ledger.generations)
    ledger.restart({0: 7, 2: 5})
    assert (ledger.committed, ledger.generations.keys()) == ({0: 7}, {0})
    assert not ledger.holds(0, since)


class LedgerMachine(RuleBasedStateMachine):
    """A worker with a broker of its own imagination: reads, publishes, is confirmed, commits, and is rebalanced.

    What is held against the ledger is kept here in plain words: per partition the offsets that were read since it
    was assigned, and which of them are confirmed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.next_read: dict[int, int] = {}
        self.batches: list[tuple[InFlight, dict[int, int], dict[int, int]]] = []
        self.read: tuple[dict[int, int], dict[int, int]] | None = None

    @rule(partition=st.sampled_from(PARTITIONS), position=st.integers(0, 9))
    def assign(self, partition: int, position: int) -> None:
        self.ledger.assign({partition: position})
        self.next_read[partition] = position

    @rule(partition=st.sampled_from(PARTITIONS))
    def drop(self, partition: int) -> None:
        self.ledger.drop([partition])
        self.next_read.pop(partition, None)

    @precondition(lambda self: self.read is None and self.next_read)
    @rule(counts=st.lists(st.integers(0, 3), min_size=3, max_size=3))
    def poll(self, counts: list[int]) -> None:
        ahead = {p: self.next_read[p] + n for p, n in zip(PARTITIONS, counts, strict=True) if n and p in self.next_read}
        self.next_read |= ahead
        self.read = (ahead, dict(self.ledger.generations))

    @precondition(lambda self: self.read is not None)
    @rule(deliveries=st.integers(0, 2))
    def publish(self, deliveries: int) -> None:
        assert self.read is not None
        offsets, since = self.read
        self.batches.append((self.ledger.begin(offsets, deliveries, since), offsets, since))
        self.read = None

    @precondition(lambda self: self.batches)
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        waiting = [batch for batch, _, _ in self.batches if batch.outstanding]
        if waiting:
            data.draw(st.sampled_from(waiting)).outstanding -= 1

    @rule(answered=st.booleans())
    def commit(self, answered: bool) -> None:
        offsets = self.ledger.committable()
        for partition, offset in offsets.items():
            assert partition in self.next_read, "a partition that is not ours"
            assert offset <= self.settled(partition), "past an unconfirmed record"
        if answered:
            self.ledger.note_committed(offsets)
            assert self.ledger.committable() == {}

    def settled(self, partition: int) -> int:
        """How far everything read under the present assignment, and every batch before it, is confirmed."""
        reached = -1
        for batch, offsets, since in self.batches:
            if batch.outstanding:
                break
            if since.get(partition) == self.ledger.generations[partition] and partition in offsets:
                reached = offsets[partition]
        return reached

    @invariant()
    def only_owned_partitions_are_known(self) -> None:
        assert self.ledger.generations.keys() == self.next_read.keys()
        assert self.ledger.committed.keys() == self.next_read.keys()
        assert self.ledger.confirmed.keys() <= self.next_read.keys()

    def teardown(self) -> None:
        """Once all is delivered, everything that was read and published is committable."""
        if self.read is not None:
            self.publish(0)
        for batch, _, _ in self.batches:
            batch.outstanding = 0
        self.ledger.note_committed(self.ledger.committable())
        for partition, position in self.next_read.items():
            assert self.ledger.committed[partition] == position


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(settings.get_profile("core"), max_examples=80, stateful_step_count=30)
