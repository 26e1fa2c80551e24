"""Which of the client's own words leave a transaction in doubt, and what each failed call costs: the transaction, the
producer, or the process. Over a client that fails as it is told; librdkafka's own is in the integration tests."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from scorer.core.errors import AbortedError, FencedError, RefusedError, TransientError
from scorer.core.offsets import InFlight
from scorer.core.records import Outbound
from scorer.core.transactions import left_in_doubt
from scorer.edges.kafka import transactions as edge
from scorer.edges.kafka.transactions import KafkaTransactions


@pytest.mark.parametrize(
    "text",
    [
        "REQTMOUT [s#producer-1] [thrd:b]: b:1: Timed out EndTxnRequest in flight (after 9000ms, timeout #0)",
        "FAIL [s#producer-1] [thrd:TxnCoordinator]: b:1: Disconnected (after 4021ms in state UP)",
        "b:9092/1: Disconnected (after 4021ms in state UP, 1 identical error(s) suppressed)",
    ],
)
def test_a_request_without_answer_and_a_connection_that_broke_leave_a_doubt(text: str) -> None:
    assert left_in_doubt(text)


@pytest.mark.parametrize(
    "text",
    [
        "FAIL [s#producer-1] [thrd:b]: b:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused "
        "(after 0ms in state CONNECT)",
        "GETPID [s#producer-1] [thrd:main]: Failed to acquire transactional PID",
        "",
    ],
)
def test_a_broker_that_was_never_reached_leaves_none(text: str) -> None:
    assert not left_in_doubt(text)


def transactions() -> KafkaTransactions:
    return KafkaTransactions({"transaction.timeout.ms": 10_000}, "events", lambda *_: None)


def test_whoever_waits_for_deliveries_after_a_fence_is_told_of_it() -> None:
    fenced = transactions()
    fenced._fenced = True
    with pytest.raises(FencedError):
        fenced.poll(100)


MEMBER: Any = SimpleNamespace(sent=lambda *_: ([], None))
FENCE = KafkaError(KafkaError._FENCED, "fenced", True)
ABORTABLE = KafkaError(KafkaError.NOT_COORDINATOR, "abort", False, False, True)
PASSING = KafkaError(KafkaError.NOT_COORDINATOR, "again", False, True, False)
DOUBT = "REQTMOUT [s#producer-1] [thrd:b]: b:1: Timed out EndTxnRequest in flight (after 9000ms, timeout #0)"


class World:
    """Clients that are made one after another: what was called of them, and which calls are to fail with what."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.fails: dict[str, list[KafkaError]] = defaultdict(list)
        self.meanwhile: dict[str, Callable[[], None]] = defaultdict(lambda: lambda: None)
        self.made = self.forgotten = self.purged = 0
        self.say: Callable[[str], None] = lambda _: None
        self.err: Callable[[KafkaError], None] = lambda _: None
        """Of the latest client: a line of its log, and an error that it tells of."""

    def make(self, *given: Any) -> Any:
        *_, self.err, self.say = given
        self.made += 1
        client = SimpleNamespace(**{name: self._call(name) for name in CALLS})
        return SimpleNamespace(
            producer=client,
            publish=lambda *_: self._call("publish")() or [],
            poll=self._call("served"),
            forget=lambda: setattr(self, "forgotten", self.forgotten + 1),
            let_go=lambda: client,
        )

    def _call(self, name: str) -> Callable[..., None]:
        def call(*_: Any) -> None:
            if name not in ("poll", "purge"):
                self.calls.append(name.removesuffix("_transaction"))
            self.purged += name == "purge"
            self.meanwhile[name]()
            if self.fails[name]:
                raise KafkaException(self.fails[name].pop(0))

        return call


CALLS = (
    "init_transactions",
    "begin_transaction",
    "send_offsets_to_transaction",
    "commit_transaction",
    "abort_transaction",
    "poll",
    "purge",
)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(edge, "KafkaPublisher", made.make)
    return made


@pytest.fixture
def own(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[KafkaTransactions]:
    monkeypatch.setattr(edge, "RETRIED_S", 60.0)  # a machine that is busy elsewhere is no call that was made again
    made = KafkaTransactions({"transactional.id": "s-0", "transaction.timeout.ms": 300}, "events", lambda *_: None)
    yield made
    made.close(0)


def publish(own: KafkaTransactions) -> None:
    own.publish(Outbound("out", np.arange(1), [b"k"], [b"v"], None), (), InFlight({}, 1))


def test_the_fake_has_what_is_used_of_a_producer() -> None:
    assert all(hasattr(Producer, name) for name in CALLS)


def test_a_transaction_is_begun_once_and_the_next_one_is_begun_when_it_is_committed(
    world: World, own: KafkaTransactions
) -> None:
    own.poll(0)
    assert world.made == 0, "with nothing published nothing is waited for"
    for _ in range(2):
        own.begin()
        own.begin()
        publish(own)
        own.commit({0: 1}, MEMBER)
    each = ["begin", "publish", "send_offsets_to", "commit"]
    assert world.calls == ["init_transactions", *each, *each]


@pytest.mark.parametrize("when", ["while it is open", "after it was committed"])
def test_a_doubt_about_a_transaction_costs_its_producer_before_the_next_one(
    world: World, own: KafkaTransactions, when: str
) -> None:
    own.begin()
    if when == "while it is open":
        world.say(DOUBT)
    own.commit({0: 1}, MEMBER)
    world.say(DOUBT)
    own.begin()
    own.commit({0: 2}, MEMBER)
    own.begin()
    assert world.made == 2


def test_a_call_is_made_again_while_the_transaction_may_still_be_open_and_then_its_producer_is_given_up(
    world: World, own: KafkaTransactions
) -> None:
    own.begin()
    world.fails["commit_transaction"] = [PASSING] * 2
    own.commit({0: 1}, MEMBER)
    assert world.calls.count("commit") == 3
    own.begin()
    world.fails["commit_transaction"] = [PASSING] * 1000
    with pytest.raises(AbortedError, match="commit: "):
        own.commit({0: 2}, MEMBER)
    world.fails.clear()
    own.recover()
    assert (world.made, world.purged, world.calls.count("abort")) == (2, 1, 0)


def test_a_stop_waits_for_its_commit_no_longer_than_it_is_told(world: World, own: KafkaTransactions) -> None:
    own.begin()
    world.fails["commit_transaction"] = [PASSING] * 1000
    with pytest.raises(AbortedError):
        own.commit({0: 1}, MEMBER, 0)
    assert world.calls.count("commit") == 1


def test_an_aborted_transaction_costs_no_producer_and_what_came_of_its_messages_is_forgotten(
    world: World, own: KafkaTransactions
) -> None:
    own.begin()
    world.fails["send_offsets_to_transaction"] = [ABORTABLE]
    with pytest.raises(AbortedError, match="offsets: "):
        own.commit({0: 1}, MEMBER)
    own.recover()
    assert (world.made, world.forgotten, world.calls.count("abort")) == (1, 1, 1)
    own.begin()
    assert world.calls.count("begin") == 2


@pytest.mark.parametrize("doubt", [False, True])
def test_an_abort_that_fails_or_leaves_a_doubt_costs_the_producer(
    world: World, own: KafkaTransactions, doubt: bool
) -> None:
    own.begin()
    if doubt:
        world.say(DOUBT)
    else:
        world.fails["abort_transaction"] = [KafkaError(KafkaError._FAIL, "no")]
    own.recover()
    own.begin()
    assert world.made == 2


def test_a_young_fence_is_another_instances_and_its_id_is_never_taken_back(
    world: World, own: KafkaTransactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own, "_timeout_s", 60.0)
    own.begin()
    world.fails["send_offsets_to_transaction"] = [FENCE]
    with pytest.raises(FencedError, match="s-0 is in use elsewhere"):
        own.commit({0: 1}, MEMBER)
    for call in (own.begin, own.recover, lambda: own.poll(0)):
        with pytest.raises(FencedError):
            call()
    assert world.made == 1


TIMED_OUT = KafkaError(KafkaError._TIMED_OUT, "nobody", False, True, False)


@pytest.mark.parametrize("how", ["it failed", "the client asked twice", "long ago"])
def test_a_request_for_an_epoch_that_was_not_answered_may_fence_us_once_for_a_while(
    world: World, own: KafkaTransactions, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(own, "_timeout_s", 60.0)
    if how == "the client asked twice":
        world.meanwhile["init_transactions"] = lambda: world.say(DOUBT) if world.made == 1 else None
    else:
        world.fails["init_transactions"] = [TIMED_OUT]
        with pytest.raises(TransientError, match="coordinator does not answer"):
            own.begin()
    before = world.made
    world.fails["begin_transaction"] = [FENCE] * 2
    if how == "long ago":
        monkeypatch.setattr(edge, "STRAY_S_MAX", 0.0)
    else:
        with pytest.raises(AbortedError):
            own.begin()
        assert world.made == (1 if before == 0 else before + 1), "that doubt is of the epoch and costs no producer"
    with pytest.raises(FencedError):
        own.begin()


@pytest.mark.parametrize(
    ("error", "renewed"),
    [(TIMED_OUT, True), (KafkaError(KafkaError._TRANSPORT, "", False, True), True), (PASSING, False)],
)
def test_a_call_that_was_made_again_without_an_answer_costs_the_producer_once_it_is_committed(
    world: World, own: KafkaTransactions, error: KafkaError, renewed: bool
) -> None:
    own.begin()
    world.fails["commit_transaction"] = [error]
    own.commit({0: 1}, MEMBER)
    own.begin()
    assert world.made == 1 + renewed


@pytest.mark.parametrize("how", ["slow", "told"])
def test_a_call_that_the_client_may_have_sent_twice_costs_the_producer(
    world: World, own: KafkaTransactions, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "slow":
        monkeypatch.setattr(edge, "RETRIED_S", 0.05)
    own.begin()
    world.meanwhile["commit_transaction"] = lambda: time.sleep(0.1) if how == "slow" else world.err(TIMED_OUT)
    own.commit({0: 1}, MEMBER)
    own.begin()
    assert world.made == 2


def test_a_right_that_is_missing_is_said_at_once(world: World, own: KafkaTransactions) -> None:
    world.fails["init_transactions"] = [KafkaError(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)]
    with pytest.raises(RefusedError, match="Write on transactional-id s-0"):
        own.begin()
    world.fails["send_offsets_to_transaction"] = [KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED)] * 2
    own.begin()
    with pytest.raises(RefusedError):
        own.commit({0: 1}, MEMBER)
    assert world.calls.count("send_offsets_to") == 1
