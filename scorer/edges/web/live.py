"""What the gateway holds in memory of one kind: the tail of its topic, a cache of answers, and who waits for what.

Everything here runs on the event loop, so nothing needs a lock. The tail holds every answer that is not on disk yet,
and some more; whoever looks further back asks the store. Guarantee: `latest` never goes back, whatever is being read
from disk or written meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from scorer.core.answers import Answer, Kind, Mark, Positions, Reading, newest
from scorer.edges.latest_reader import StoreReader
from scorer.edges.web.cache import Cache
from scorer.edges.web.events import answer_event
from scorer.edges.web.expected import Expected
from scorer.edges.web.subscriber import Subscriber, Subscribers

T = TypeVar("T")


class OnDisk(Protocol):
    """Asks the store without holding up the loop."""

    def __call__(self, question: Callable[[StoreReader], T]) -> Awaitable[T]:
        """The answer to a question to the store; raises TransientError if it does not answer."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is held of each kind."""

    tail_rows_max: int = 2_000
    tail_bytes_max: int = 8 << 20
    cache_rows_max: int = 10_000
    cache_bytes_max: int = 32 << 20
    waiters_max: int = 10_000


@dataclass(slots=True)
class _Loading:
    """An answer that is being read from disk, and what has come over Kafka since."""

    done: asyncio.Future[Answer | None]
    came: Answer | None
    erased: bool


@dataclass(slots=True)
class _Place:
    """One record of the tail; the answer is None once its entity is erased."""

    partition: int
    offset: int
    number: int
    answer: Answer | None


@dataclass(slots=True)
class LiveKind:
    """One kind of prediction. `epoch` and `next` say how far its topic is read; no epoch: that is not known yet."""

    kind: Kind
    on_disk: OnDisk
    bounds: Bounds = field(default_factory=Bounds)
    epoch: str = ""
    next: dict[int, int] = field(default_factory=dict)
    hits: int = 0
    misses: int = 0
    _tail: deque[_Place] = field(default_factory=deque)
    _tail_bytes: int = 0
    _floors: dict[int, int] = field(default_factory=dict)
    _by_event: dict[str, Answer] = field(default_factory=dict)
    _newest: dict[str, Answer] = field(default_factory=dict)
    _erased: dict[str, _Place] = field(default_factory=dict)
    expected: Expected = field(init=False)
    _cache: Cache = field(init=False)
    _loading: dict[str, _Loading] = field(default_factory=dict)
    _subscribers: Subscribers = field(default_factory=Subscribers)

    def __post_init__(self) -> None:
        self.expected = Expected(self.bounds.waiters_max)
        self._cache = Cache(self.bounds.cache_rows_max, self.bounds.cache_bytes_max)

    @property
    def mark(self) -> Mark:
        """How far the topic is read."""
        return Mark(self.epoch, dict(self.next))

    def begin(self, epoch: str, positions: Positions, anew: bool) -> None:
        """Reading starts at these positions. `anew`: what was held is of no topic that there is."""
        if anew or epoch != self.epoch:
            for subscriber in self._subscribers.everyone():
                subscriber.end()  # they come back with their position and are told of the gap
            for loading in self._loading.values():
                loading.came, loading.erased = None, True
            for held in (self._tail, self._by_event, self._newest, self._erased, self._cache, self.next, self._floors):
                held.clear()
            self._tail_bytes = 0
        self.epoch = epoch
        for partition, offset in positions.items():
            self.next.setdefault(partition, offset)
            self._floors.setdefault(partition, offset)

    def arrived(self, reading: Reading, number: int) -> None:
        """Answers have been read, and will be written with this number: wakes who waits for them."""
        for partition in reading.next_offsets:
            self.next.setdefault(partition, 0)
            self._floors.setdefault(partition, 0)
        for answer in reading.answers:
            if answer.offset < self.next[answer.partition]:
                continue  # read again after a failed reader
            self.next[answer.partition] = answer.offset + 1
            place = _Place(answer.partition, answer.offset, number, answer)
            self._tail.append(place)
            if answer.body is None:
                self._erase(answer, place)
            else:
                self._add(answer, answer.body)
            self._tell(answer)
        for partition, offset in reading.next_offsets.items():
            self.next[partition] = max(self.next[partition], offset)

    def written(self, number: int) -> None:
        """All up to this number is on disk: the tail may be cut."""
        bounds = self.bounds
        while self._tail and self._tail[0].number <= number:
            if len(self._tail) <= bounds.tail_rows_max and self._tail_bytes <= bounds.tail_bytes_max:
                break
            self._forget(self._tail.popleft())

    async def latest(self, entity: str) -> Answer | None:
        """The entity's newest prediction."""
        cached = self._cache.get(entity)
        if cached is not None:
            self.hits += 1
            return cached
        self.misses += 1
        loading = self._loading.get(entity)
        if loading is None:
            done: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
            loading = self._loading[entity] = _Loading(done, self._newest.get(entity), entity in self._erased)
            task = asyncio.ensure_future(self._load(entity, loading))
            task.add_done_callback(_heeded)
        return await asyncio.shield(loading.done)

    async def of_event(self, entity: str, event_id: str, wait_s: float) -> Answer | None:
        """The prediction for one event, as soon as it is there, or None when the time is over.

        Raises:
            CrowdedError: too many wait already.
        """
        there = self._by_event.get(event_id)
        if there is not None and there.entity == entity:
            return there
        loop = asyncio.get_running_loop()
        until_s = loop.time() + wait_s
        with self.expected.waiter(entity, event_id) as waiter:
            logged = asyncio.ensure_future(self.on_disk(lambda store: store.of_event(self.kind.name, entity, event_id)))
            try:
                # It may come while a slow disk is asked whether it is there.
                await asyncio.wait((logged, waiter), return_when=asyncio.FIRST_COMPLETED)
                if not waiter.done() and (found := logged.result()) is not None and not self.voids(found):
                    return found
                return await asyncio.wait_for(waiter, max(0.0, until_s - loop.time()))
            except TimeoutError:
                return None
            finally:
                if not logged.cancel():
                    _heeded(logged)

    def voids(self, logged: Answer) -> bool:
        """Whether an answer from disk came before an erasure of its entity, which may not be written yet."""
        place = self._erased.get(logged.entity)
        if place is None:
            return False
        # Its key goes to another partition once some are added; what was read before the tail began came before.
        floor = place.offset if logged.partition == place.partition else self._floors.get(logged.partition, 0)
        return logged.offset < floor

    def join(self, subscriber: Subscriber, since: Positions) -> list[bytes] | None:
        """Subscribes from these positions on. Returns what has come since, or None if the tail begins later."""
        if any(since.get(partition, 0) < floor for partition, floor in self._floors.items()):
            return None
        chunks: list[bytes] = []
        seen = dict(since)
        for place in self._tail:
            answer = place.answer
            if place.offset < seen.get(place.partition, 0):
                continue
            seen[place.partition] = place.offset + 1
            if answer is not None and subscriber.entity in (None, answer.entity):
                chunks.append(answer_event(self.kind, answer, Mark(self.epoch, seen)))
        ahead = {p: offset for p, offset in since.items() if offset > self.next.get(p, 0)}
        subscriber.ahead = ahead or None
        self._subscribers.add(subscriber)
        return chunks

    def leave(self, subscriber: Subscriber) -> None:
        """Ends a subscription; one that never began as well."""
        self._subscribers.drop(subscriber)

    async def _load(self, entity: str, loading: _Loading) -> None:
        try:
            stored = await self.on_disk(lambda store: store.latest(self.kind.name, entity))
        except BaseException as error:
            self._loading.pop(entity, None)
            if not loading.done.done():
                loading.done.set_exception(error)
                loading.done.exception()  # seen, even if nobody waits any more
            raise
        self._loading.pop(entity, None)
        found = newest(None if loading.erased else stored, loading.came)
        if found is not None:
            self._cache.put(found)
        if not loading.done.done():
            loading.done.set_result(found)

    def _add(self, answer: Answer, body: bytes) -> None:
        entity = answer.entity
        self._tail_bytes += len(body)
        self._by_event[answer.event_id] = answer
        newer = newest(self._newest.get(entity), answer)
        if newer is not None:
            self._newest[entity] = newer
        self._cache.renew(answer)
        loading = self._loading.get(entity)
        if loading is not None:
            loading.came = newest(loading.came, answer)
        self.expected.came(answer)

    def _erase(self, answer: Answer, place: _Place) -> None:
        entity = answer.entity
        if entity in self._newest:
            for each in self._tail:
                if each is not place and each.answer is not None and each.answer.entity == entity:
                    self._drop_body(each)
        self._erased[entity] = place
        self._newest.pop(entity, None)
        self._cache.drop(entity)
        loading = self._loading.get(entity)
        if loading is not None:
            loading.came, loading.erased = None, True

    def _tell(self, answer: Answer) -> None:
        told = self._subscribers.of(answer.entity)
        chunk = answer_event(self.kind, answer, self.mark) if told else b""
        for subscriber in told:
            if subscriber.ahead is None:
                subscriber.offer(chunk)
            else:
                self._offer_ahead(subscriber, subscriber.ahead, answer)

    def _offer_ahead(self, subscriber: Subscriber, ahead: dict[int, int], answer: Answer) -> None:
        """To one that has seen more of some partitions than we have read again by now."""
        if answer.offset >= ahead.get(answer.partition, 0):
            subscriber.offer(answer_event(self.kind, answer, self.mark_of(subscriber)))
        if all(self.next.get(partition, 0) >= offset for partition, offset in ahead.items()):
            subscriber.ahead = None

    def mark_of(self, subscriber: Subscriber) -> Mark:
        """What a subscriber has seen once all that was offered to it is sent."""
        ahead = subscriber.ahead or {}
        return Mark(self.epoch, {p: max(self.next.get(p, 0), ahead.get(p, 0)) for p in self.next | ahead})

    def _forget(self, place: _Place) -> None:
        self._floors[place.partition] = place.offset + 1
        answer = place.answer
        if answer is None:
            return
        self._drop_body(place)
        if self._newest.get(answer.entity) is answer:
            del self._newest[answer.entity]
        if self._erased.get(answer.entity) is place:
            del self._erased[answer.entity]

    def _drop_body(self, place: _Place) -> None:
        answer, place.answer = place.answer, None
        assert answer is not None
        self._tail_bytes -= len(answer.body or b"")
        if self._by_event.get(answer.event_id) is answer:
            del self._by_event[answer.event_id]


def _heeded(over: asyncio.Future[Any]) -> None:
    """Takes note of how something ended that nobody may wait for any more; asyncio complains of failures else."""
    if not over.cancelled():
        over.exception()
