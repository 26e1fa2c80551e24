"""Predictions, dead letters and input offsets in one Kafka transaction.

Guarantees: what `commit` returned from is committed, whole; what raised AbortedError is either not there or committed
whole, and the group's committed offsets tell which. librdkafka 2.16 lacks KIP-890, so a request that was answered late
may end a later transaction of the same producer. Therefore every call of which nobody can say what came of it, and
every time-out or broken connection while a transaction was open, is followed by a new producer: its new epoch makes
the broker refuse whatever the old one still had on its way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from scorer.core.errors import AbortedError, FencedError, RefusedError, TransientError
from scorer.core.offsets import InFlight
from scorer.core.ports import Report
from scorer.core.records import DeadLetter, Outbound
from scorer.core.transactions import Failure, Verdict, left_in_doubt, verdict
from scorer.edges.clock import Stopwatch
from scorer.edges.kafka.calls import Calls
from scorer.edges.kafka.failures import refused
from scorer.edges.kafka.producer import KafkaPublisher
from scorer.edges.kafka.settings import RETRY_BACKOFF_MS

INIT_S_MAX = 5.0
SLICE_S = 1.0
"""How long one call may take before it is made again. librdkafka advises -1, which waits for ever where a connection
was cut in the middle: measured, more than 60 s on a transaction that times out after 10."""
LATE_S_MAX = 1.0
"""How much longer it is waited for: it does not always keep to the time that it was given, see calls.py."""
ABORT_S_MAX = 3.0
RETRY_PAUSE_S = 0.05
RETRIED_S = 0.8 * RETRY_BACKOFF_MS / 1000
"""A call that took so long may have been sent twice by the client itself, which says nothing of it: its pauses are 80
to 120 % of RETRY_BACKOFF_MS. A call takes 1 to 5 ms otherwise."""
STRAY_S_MAX = 60.0
"""How long a request for a new epoch that was not answered may still be on its way."""
_FENCES = frozenset({KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED})
_INDEFINITE = frozenset({KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError.REQUEST_TIMED_OUT})


class KafkaTransactions:
    """Implements ports.Transactions. Driven by one thread.

    Args:
        properties: of the producer, `transactional.id` and `transaction.timeout.ms` among them.
        topic: the input topic, whose offsets are committed.
        report: for log lines.
        bytes_max: see KafkaPublisher.
        reached: told by name of the places where the fault tests end the process.
        group: the consumer group, for messages.
    """

    def __init__(
        self,
        properties: Mapping[str, Any],
        topic: str,
        report: Report,
        bytes_max: Mapping[str, int] | None = None,
        reached: Callable[[str], None] = lambda _: None,
        *,
        group: str = "",
    ) -> None:
        self._properties, self._topic, self._report, self._bytes_max = properties, topic, report, bytes_max
        self._reached, self._group = reached, group
        self._timeout_s = int(properties["transaction.timeout.ms"]) / 1000
        self._calls = Calls()
        self._publisher: KafkaPublisher | None = None
        self._opened: Stopwatch | None = None
        self._indefinite = self._fenced = False
        self._strays_s: list[float] = []  # when requests for a new epoch were given up unanswered

    def begin(self) -> None:
        """See ports.Transactions."""
        if self._opened is None:
            publisher = self._ready()
            with suppress(KafkaException):
                publisher.producer.poll(0)  # what the log says of the last transaction, if it came late
            if self._indefinite:
                self._renew()
                publisher = self._ready()
            self._indefinite = False
            self._opened = Stopwatch()
            self._call("begin", publisher.producer.begin_transaction, self._overdue_s())

    def publish(self, outbound: Outbound, letters: Sequence[DeadLetter], batch: InFlight) -> list[int]:
        """See ports.Publisher; in the open transaction.

        Raises:
            AbortedError: the client takes no more; the transaction has failed.
        """
        publisher = self._ready()
        try:
            return publisher.publish(outbound, letters, batch)
        except TransientError as error:
            raise self._ended("produce", error) from error

    def poll(self, wait_ms: int) -> None:
        """See ports.Publisher.

        Raises:
            AbortedError: a delivery has failed, so the transaction has.
            FencedError: see core.transactions.
        """
        if self._publisher is None and not self._fenced:
            return
        try:
            self._ready().poll(wait_ms)
        except TransientError as error:
            raise self._ended("poll", error) from error

    def commit(self, offsets: Mapping[int, int], membership: Any, wait_ms_max: float | None = None) -> None:
        """See ports.Transactions."""
        assert offsets, "the client would take no offsets at all for nothing to do, and commit the rest"
        self._ready()
        until_s = self._overdue_s() if wait_ms_max is None else time.monotonic() + wait_ms_max / 1000
        wanted, member = membership.sent(self._topic, offsets)
        self._call("offsets", lambda: self._client.send_offsets_to_transaction(wanted, member, SLICE_S), until_s)
        self._reached("offsets_sent")
        self._reached("before_commit")
        self._call("commit", lambda: self._client.commit_transaction(SLICE_S), until_s)
        self._reached("after_commit")
        self._opened = None
        with suppress(KafkaException):
            self._client.poll(0)
        if self._indefinite:
            self._renew()

    def recover(self) -> None:
        """See ports.Transactions."""
        if self._publisher is not None and self._opened is not None:
            try:
                self._call("abort", lambda: self._client.abort_transaction(SLICE_S), time.monotonic() + ABORT_S_MAX)
                self._publisher.forget()
            except AbortedError as error:
                self._report("transaction.producer_renewed", {"why": str(error)})
                self._give_up()
            if self._indefinite:
                self._give_up()
        self._opened = None
        self._ready()

    def close(self, wait_ms_max: int) -> int:
        """Aborts what is open, so that no reader waits for it. Returns 0: nothing else can be under way."""
        if self._publisher is not None and self._opened is not None:
            wait_s_max = wait_ms_max / 1000
            try:
                self._calls.make(lambda: self._client.abort_transaction(wait_s_max), wait_s_max + LATE_S_MAX)
            except (KafkaException, TimeoutError) as error:
                self._report("transaction.left_open", {"why": f"the broker aborts it in time: {error.args[0]}"})
        self._give_up()
        self._calls.close()
        return 0

    def _ready(self) -> KafkaPublisher:
        """The producer, made and made known to the coordinator if there is none.

        Raises:
            TransientError: the coordinator does not answer.
            RefusedError: we have no right to the id.
            FencedError: see core.transactions.
        """
        if self._fenced:
            raise FencedError("fenced before: a new producer would take the id back")
        if self._publisher is None:
            made = KafkaPublisher(self._properties, self._report, self._bytes_max, self._on_error, self._on_log)
            self._indefinite = False
            try:
                self._calls.make(lambda: made.producer.init_transactions(INIT_S_MAX), INIT_S_MAX + LATE_S_MAX)
            except (KafkaException, TimeoutError) as error:
                self._calls.let_go(made.let_go())
                self._strays_s.append(time.monotonic())
                denied = self._denied(error.args[0]) if isinstance(error, KafkaException) else None
                what = f"the transaction coordinator does not answer: {error.args[0]}"
                raise denied or TransientError(what) from error
            with suppress(KafkaException):
                made.producer.poll(0)
            if self._indefinite:  # the client has asked twice
                self._strays_s.append(time.monotonic())
            self._publisher, self._indefinite = made, False
        return self._publisher

    @property
    def _client(self) -> Producer:
        """Never kept in a variable: an exception's frames would keep it after it was let go."""
        assert self._publisher is not None
        return self._publisher.producer

    def _renew(self) -> None:
        self._report("transaction.producer_renewed", {"why": "a request of the last transaction was not answered"})
        self._give_up()

    def _give_up(self) -> None:
        if self._publisher is not None:
            self._client.purge()
            self._calls.let_go(self._publisher.let_go())
            self._publisher = None
        self._opened = None

    def _overdue_s(self) -> float:
        """When the broker aborts the open transaction, at the latest; time.monotonic()."""
        assert self._opened is not None
        return self._opened.began_s + self._timeout_s

    def _call(self, name: str, call: Callable[[], object], until_s: float) -> None:
        """Makes one transactional call until it succeeds, with the same arguments each time, at most until then.

        Raises:
            AbortedError: the transaction is over, or has to be.
            RefusedError: we have no right to it.
            FencedError: another instance has our id.
        """
        began_s = time.monotonic()
        while (error := self._error_of(name, call)) is not None:
            if (denied := self._denied(error)) is not None:
                raise denied
            meant, ended = self._judged(name, error)
            if meant is Verdict.RETRY and time.monotonic() > until_s:
                self._give_up()
            elif meant is Verdict.RETRY:
                time.sleep(RETRY_PAUSE_S)
                continue
            raise ended
        self._indefinite |= time.monotonic() - began_s > RETRIED_S

    def _error_of(self, name: str, call: Callable[[], object]) -> KafkaError | None:
        """What a call fails with, if it does.

        Raises:
            AbortedError: it does not return.
        """
        try:
            self._calls.make(call, SLICE_S + LATE_S_MAX)
        except KafkaException as exception:
            error: KafkaError = exception.args[0]
            return error
        except TimeoutError as hung:
            self._report("transaction.call_failed", {"call": name, "error": str(hung), "verdict": Verdict.RECYCLE.name})
            self._give_up()
            raise AbortedError(f"{name}: {hung}") from hung
        return None

    def _judged(self, name: str, error: KafkaError) -> tuple[Verdict, AbortedError | FencedError]:
        """What an error means, and what to raise if it ends the transaction; gives the producer up where due."""
        self._indefinite |= error.code() in _INDEFINITE
        meant = verdict(self._failure(error), self._timeout_s * 1000)
        self._report("transaction.call_failed", {"call": name, "error": str(error), "verdict": meant.name})
        if error.code() in _FENCES and self._strays_s:
            self._strays_s.pop()  # each can fence us once
        if meant is Verdict.FENCED:
            self._fenced = True
        if meant in (Verdict.FENCED, Verdict.RECYCLE):
            self._give_up()
        if meant is Verdict.FENCED:
            return meant, FencedError(
                f"transactional.id {self._properties['transactional.id']} is in use elsewhere: give each instance of a "
                "stream its own transaction.slot"
            )
        return meant, AbortedError(f"{name}: {error}")

    def _ended(self, name: str, error: TransientError) -> AbortedError | FencedError:
        """What the failure of a message, or of the client, makes of the open transaction."""
        cause = error.__cause__
        return self._judged(name, cause.args[0])[1] if isinstance(cause, KafkaException) else AbortedError(str(error))

    def _denied(self, error: KafkaError) -> RefusedError | None:
        name = str(self._properties["transactional.id"])
        return refused(error, operation="Write", transactional_id=name, group=self._group)

    def _failure(self, error: KafkaError) -> Failure:
        now_s = time.monotonic()
        age_s = 0.0 if self._opened is None else self._opened.passed_s()
        self._strays_s = [at_s for at_s in self._strays_s if now_s - at_s < STRAY_S_MAX]
        return Failure(
            fatal=error.fatal(),
            abortable=error.txn_requires_abort(),
            retriable=error.retriable(),
            fence=error.code() in _FENCES,
            age_ms=age_s * 1000,
            strayed=bool(self._strays_s),
        )

    def _on_error(self, error: KafkaError) -> None:
        self._indefinite |= error.code() == KafkaError._TIMED_OUT or left_in_doubt(error.str())

    def _on_log(self, text: str) -> None:
        self._indefinite |= left_in_doubt(text)
