"""Which offsets may be committed: our own bookkeeping, never the client's position.

`position()` is ahead of the work as soon as records are read in batches, so a crash would lose them. Here an offset
becomes committable only when every prediction and dead letter of its batch, and of all batches before it, is confirmed.
Offsets are always the next one to read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class InFlight:
    """One published batch.

    Attributes:
        next_offsets: partition to the next offset that it stands for.
        outstanding: deliveries that are not confirmed yet; the publisher counts it down.
    """

    next_offsets: dict[int, int]
    outstanding: int


@dataclass(slots=True)
class Ledger:
    """The offsets of one consumer's partitions.

    Attributes:
        pending: published batches in the order in which they were read.
        confirmed: partition to the next offset that may be committed.
        committed: partition to the next offset that the broker has on record, as far as this process knows.
        generations: owned partition to a number that is new at each assignment, so that work begun under an earlier
            one is recognised.
    """

    pending: deque[InFlight] = field(default_factory=deque)
    confirmed: dict[int, int] = field(default_factory=dict)
    committed: dict[int, int] = field(default_factory=dict)
    generations: dict[int, int] = field(default_factory=dict)
    _generation: int = 0

    def begin(self, next_offsets: Mapping[int, int], deliveries: int, since: Mapping[int, int]) -> InFlight:
        """Enters a batch that is about to be published.

        Args:
            next_offsets: partition to the next offset after the batch.
            deliveries: how many confirmations to wait for; none makes it done at once.
            since: `generations` as they were when the batch was read; partitions that changed hands are left out.
        """
        kept = {p: o for p, o in next_offsets.items() if self.holds(p, since)}
        batch = InFlight(kept, deliveries)
        self.pending.append(batch)
        return batch

    def holds(self, partition: int, since: Mapping[int, int]) -> bool:
        """Whether a partition has been ours without a break since then."""
        return partition in self.generations and self.generations[partition] == since.get(partition)

    def committable(self) -> dict[int, int]:
        """Partition to next offset, where the confirmed work is ahead of what is committed."""
        while self.pending and self.pending[0].outstanding == 0:
            self.confirmed.update(self.pending.popleft().next_offsets)
        return {p: offset for p, offset in self.confirmed.items() if offset > self.committed.get(p, -1)}

    def note_committed(self, offsets: Mapping[int, int]) -> None:
        """Records what the broker has taken of the partitions that are still ours."""
        for partition, offset in offsets.items():
            if partition in self.generations:
                self.committed[partition] = max(offset, self.committed.get(partition, -1))

    def assign(self, positions: Mapping[int, int]) -> None:
        """Starts to keep partitions, from the positions where reading starts; work from before counts no more."""
        self.drop(positions)
        self._generation += 1
        for partition, offset in positions.items():
            self.generations[partition] = self._generation
            self.committed[partition] = offset

    def restart(self, positions: Mapping[int, int]) -> None:
        """Everything since the last commit counts no more, and reading goes on from these positions."""
        self.pending.clear()
        owned = set(self.generations)
        self.drop(owned)
        self.assign({partition: offset for partition, offset in positions.items() if partition in owned})

    def drop(self, partitions: Iterable[int]) -> None:
        """Forgets partitions that now belong to somebody else; their batches still wait for deliveries."""
        gone = set(partitions)
        for partition in gone:
            for kept in (self.confirmed, self.committed, self.generations):
                kept.pop(partition, None)
        for batch in self.pending:
            batch.next_offsets = {p: o for p, o in batch.next_offsets.items() if p not in gone}
