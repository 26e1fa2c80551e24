"""librdkafka properties: what every client of ours sets, and the latency profiles.

The operator's own properties come last and win, but for those that the guarantees rest on; the settings refuse them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LINGER_MS = 1
"""How long a producer gathers messages: enough for one request a batch and partition. Small batches do not wait for it
(producer.py)."""

PROFILES: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "eager": ({"fetch.min.bytes": 1, "fetch.wait.max.ms": 100}, {"linger.ms": LINGER_MS, "compression.type": "none"}),
    "paced": ({"fetch.min.bytes": 1_000_000, "fetch.wait.max.ms": 2}, {"linger.ms": LINGER_MS}),
}
"""Consumer and producer properties by name. Paced lets the broker gather records: batches of one at middle load
choke it. Eager has the shorter delays up to 3,000 leads/s, takes up to twice the CPU, and is the worse one from
10,000/s on; its small batches are not worth compressing. Figures: docs/why.md."""

CLASSIC: Mapping[str, Any] = {
    "partition.assignment.strategy": "cooperative-sticky",
    "session.timeout.ms": 10_000,
    "heartbeat.interval.ms": 3_000,
}
"""Only for the classic group protocol; in the newer one the broker has its own. A member that was killed keeps its
partitions for the session's time-out: with librdkafka's 45 s a restarted worker waited 45 s for its own."""

BATCH_BYTES_MAX = 1_000_000
"""librdkafka's own default."""


def consumer_properties(user: Mapping[str, Any], group: str, profile: str) -> dict[str, Any]:
    """Properties of a stream's consumer. Offsets are ours alone to commit; nothing is ever skipped silently.

    What is fetched ahead is bounded by bytes for large records, by number for small ones: librdkafka's share of each
    is some 300 bytes, and its 100,000 a partition took 37 MB more at full load than 20,000, for nothing.
    """
    classic = user.get("group.protocol", "classic") == "classic"  # in the newer one the broker assigns
    return {
        **(CLASSIC if classic else {}),
        "queued.max.messages.kbytes": 16_384,
        "queued.min.messages": 20_000,
        "fetch.queue.backoff.ms": 50,
        "check.crcs": True,
        "isolation.level": "read_committed",
        **PROFILES[profile][0],
        **user,
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
    }


def producer_properties(
    user: Mapping[str, Any], profile: str, message_bytes_max: int, batch_bytes_max: int = BATCH_BYTES_MAX
) -> dict[str, Any]:
    """Properties of a stream's producer. An outage is waited out, so messages never time out.

    Args:
        user: the operator's own.
        profile: of PROFILES.
        message_bytes_max: what one of its topics takes at most.
        batch_bytes_max: what each of its topics takes; a broker's limit is for a batch of messages as for a single one.
    """
    return {
        "partitioner": "murmur2_random",
        "compression.type": "lz4",
        "message.max.bytes": message_bytes_max,
        "batch.size": min(BATCH_BYTES_MAX, batch_bytes_max),
        **PROFILES[profile][1],
        **user,
        "enable.idempotence": True,
        "message.timeout.ms": 0,
    }


IDLE_MS = 30_000
"""After so long without a request a transactional producer closes a connection, and makes it again. A call that hangs
in librdkafka is looked at then, and returns; nothing else wakes it."""
SOCKET_MS_MAX = 300_000
"""The most that librdkafka takes."""
RETRY_BACKOFF_MS = 300
"""A call of a transaction that took as long as librdkafka's own pause before a retry may have been sent twice. With its
default of 100 ms a slow machine would give too many false alarms."""


def transactional(properties: Mapping[str, Any], transactional_id: str, timeout_ms: int) -> dict[str, Any]:
    """A producer's properties for transactions; every time-out is derived from theirs.

    A message must be given up before its transaction is, and a request before its message (librdkafka demands it).
    Without sparse connections a connection that was cut is made again at once: librdkafka looks at a call that waits
    for its coordinator when a connection comes or goes, and otherwise never, so the call would not return.
    """
    return {
        "connections.max.idle.ms": IDLE_MS,
        **properties,
        "transactional.id": transactional_id,
        "transaction.timeout.ms": timeout_ms,
        "message.timeout.ms": timeout_ms,
        "socket.timeout.ms": min(SOCKET_MS_MAX, max(900, timeout_ms - 200)),
        "retry.backoff.ms": RETRY_BACKOFF_MS,
        "retry.backoff.max.ms": max(1000, RETRY_BACKOFF_MS),
        "enable.sparse.connections": False,
    }
