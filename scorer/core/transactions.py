"""What a failed call of a transaction means: one table, decided purely.

librdkafka marks an error as fatal, as demanding an abort, or as worth another try; what it does not mark at all has to
be taken as fatal (rdkafka.h, "transactional producer API"). A fence is told apart by the transaction's age: one older
than its time-out was ended by the broker itself, a younger one by another instance with the same id. Or by our own
request for a new epoch, given up unanswered and carried out all the same when a frozen broker woke.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

OLD_SHARE = 0.9
"""From this share of the time-out on, a fence is put down to the time-out: our clock starts before the broker's."""


class Verdict(StrEnum):
    """What to do after a failed call."""

    RETRY = "call it again with the same arguments"
    ABORT = "abort the transaction and read again from what is committed"
    RECYCLE = "give the producer up, make a new one with the same id, and read again"
    FENCED = "another instance has this id: end, and do not come back"


@dataclass(frozen=True, slots=True)
class Failure:
    """An error of a transactional call, as the client marks it.

    Attributes:
        fatal, abortable, retriable: the client's own marks.
        fence: whether its code says that a newer producer has this id.
        age_ms: how long the transaction had been open; 0 if none was.
        strayed: whether a request of ours for a new epoch was not answered lately, and may be what fences us.
    """

    fatal: bool = False
    abortable: bool = False
    retriable: bool = False
    fence: bool = False
    age_ms: float = 0.0
    strayed: bool = False


def verdict(failure: Failure, timeout_ms: float) -> Verdict:
    """What a failure means for a producer whose transactions time out after `timeout_ms`."""
    if failure.fence:
        ours = failure.strayed or failure.age_ms >= OLD_SHARE * timeout_ms
        return Verdict.RECYCLE if ours else Verdict.FENCED
    if failure.fatal:
        return Verdict.RECYCLE
    if failure.abortable:
        return Verdict.ABORT
    return Verdict.RETRY if failure.retriable else Verdict.RECYCLE


def left_in_doubt(text: str) -> bool:
    """Whether a line of the client's log, or the text of an error, tells of a request that may have been carried out.

    A connection that broke while it was up is no failure to the client: it connects again and sends the request once
    more. One that was never there (a broker that is down) carried nothing; to count it would renew the producer for
    every transaction as long as that broker is away.
    """
    return text.startswith("REQTMOUT") or "in state UP" in text
