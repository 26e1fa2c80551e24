"""Whether the brokers let us in, and let us do what we are about to do: asked at the start, so that it fails there.

Guarantee: every right that is missing is named at once, with what grants it. Brokers that cannot say (before Kafka 2.3,
and some that only speak its protocol) are believed to allow it; the first refused request then says so.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection

from scorer.core.errors import RefusedError, ShutOutError, TransientError
from scorer.core.ports import Report
from scorer.edges.kafka.admin import admin_client
from scorer.edges.kafka.failures import REQUEST_S_MAX, SHUT_S_MAX, Doors, missing

POLL_S = 0.05
_DENIALS = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED})


@dataclass(frozen=True, slots=True)
class Need:
    """Operations on one resource, all by Kafka's names; `kind` is "topic" or "group"."""

    kind: str
    name: str
    operations: tuple[str, ...]


def check_rights(properties: Mapping[str, Any], needs: Sequence[Need], report: Report) -> None:
    """Asks for all of them; of a topic that is not there nothing is said. Without needs: only whether we are let in.

    Raises:
        RefusedError: no broker lets us in, or rights are missing; the message names them.
        TransientError: no broker answers.
    """
    doors = Doors()
    admin = admin_client(properties, doors, report)
    by_kind = {kind: [each for each in needs if each.kind == kind] for kind in ("topic", "group")}
    asked: list[tuple[Need, Future[Any]]] = []
    cluster = admin.describe_cluster(request_timeout=REQUEST_S_MAX)
    if topics := by_kind["topic"]:
        names = TopicCollection([each.name for each in topics])
        found = admin.describe_topics(names, include_authorized_operations=True, request_timeout=REQUEST_S_MAX)
        asked += [(each, found[each.name]) for each in topics]
    for each in by_kind["group"]:
        answer = admin.describe_consumer_groups(
            [each.name], include_authorized_operations=True, request_timeout=REQUEST_S_MAX
        )
        asked.append((each, answer[each.name]))
    _await(admin, doors, [cluster, *(answer for _, answer in asked)])
    try:
        cluster.result()
        lacking = [right for need, answer in asked for right in _lacking(need, answer)]
    except KafkaException as error:
        raise doors.failure(admin, "Kafka does not answer", error) from error
    if lacking:
        raise RefusedError(missing(lacking))


def _await(admin: Any, doors: Doors, answers: Iterable[Future[Any]]) -> None:
    """Returns when all are there, or nobody lets us in."""
    began_s = time.monotonic()
    while not all(answer.done() for answer in answers):
        admin.poll(POLL_S)  # the client tells there alone that it is refused
        waited_s = time.monotonic() - began_s
        if doors.why and waited_s > SHUT_S_MAX:
            raise ShutOutError(doors.why)
        if waited_s > 2 * REQUEST_S_MAX:
            raise TransientError("Kafka does not answer")


def _lacking(need: Need, answer: Future[Any]) -> list[tuple[str, str, str]]:
    """The rights that a broker's answer shows to be missing."""
    try:
        allowed = answer.result().authorized_operations
    except KafkaException as error:
        if error.args[0].code() in _DENIALS:  # it may not even be looked at
            return [(need.kind, need.name, operation) for operation in need.operations]
        if error.args[0].retriable() or error.args[0].code() in (KafkaError._TIMED_OUT, KafkaError._TRANSPORT):
            raise
        return []
    if not allowed:
        return []
    names = {operation.name.replace("_", "").lower() for operation in allowed}
    return [(need.kind, need.name, each) for each in need.operations if each.lower() not in names]
