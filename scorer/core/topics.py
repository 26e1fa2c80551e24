"""What a stream's topics must hold for its guarantee to be true: found weak points, for people. Decided purely."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

REPLICAS_MIN = 3
IN_SYNC_MIN = 2
HOUR_MS = 3_600_000
LETTER_HEADERS_BYTES = 4096
"""What a dead letter's own headers take beside the record's, at most."""


@dataclass(frozen=True, slots=True)
class Held:
    """A topic as the broker has it.

    Attributes:
        name: the topic.
        replicas: copies of the partition that has the fewest.
        settings: Kafka's own names and values.
    """

    name: str
    replicas: int
    settings: Mapping[str, str]

    def number(self, name: str) -> int:
        """A setting as a number; -1, as Kafka has it, for none or no limit."""
        return int(self.settings.get(name, "-1"))


def kept_ms(settings: Mapping[str, str]) -> int:
    """For how long a topic with these settings keeps a record, by the record's timestamp; -1 is for ever."""
    return int(settings.get("retention.ms", "-1")) if "delete" in settings.get("cleanup.policy", "delete") else -1


def letters_kept(source: Mapping[str, str]) -> dict[str, str]:
    """What keeps dead letters as long as the records of an input topic with these settings, whose timestamps they have.

    Nothing, so the broker's default, where records are kept for ever: letters hold personal data, and nobody compacts
    them.
    """
    kept = kept_ms(source)
    return {"retention.ms": str(kept)} if kept >= 0 else {}


def weak_points(
    source: Held,
    predictions: Held,
    letters: Held,
    deployments: Held,
    internal: list[Held],
    *,
    recovery_h: int,
    exactly_once: bool,
) -> list[str]:
    """What in the topics of one stream is weaker than its guarantee needs, each with what to do.

    Args:
        source, predictions, letters: its topics.
        deployments: the topic of all streams' deployments.
        internal: Kafka's own, for offsets and transactions, where they are there already.
        recovery_h: hours for which an outage of the scorer must lose nothing.
        exactly_once: whether the stream is delivered exactly once.
    """
    found = []
    for held in (source, predictions, letters, deployments, *(internal if exactly_once else [])):
        if held.replicas < REPLICAS_MIN:
            found.append(
                f"{held.name} has {held.replicas} copy of each partition, {REPLICAS_MIN} are needed to survive a broker"
            )
        elif held.number("min.insync.replicas") < IN_SYNC_MIN:
            found.append(f"{held.name} has min.insync.replicas below {IN_SYNC_MIN}: an acknowledged record may be lost")
    source_ms, letters_ms = kept_ms(source.settings), kept_ms(letters.settings)
    if 0 <= source_ms < recovery_h * HOUR_MS:
        found.append(
            f"{source.name} keeps records for {source_ms / HOUR_MS:.1f} h, less than checks.recovery_h = {recovery_h}: "
            "a longer outage loses events; raise its retention.ms"
        )
    if 0 <= letters_ms < source_ms:
        found.append(
            f"{letters.name} keeps records for {letters_ms / HOUR_MS:.1f} h, {source.name} for "
            f"{source_ms / HOUR_MS:.1f} h: a dead letter has its record's timestamp, so that of an old record is "
            "deleted before anybody has looked; "
            f"run: kafka-configs --alter --topic {letters.name} --add-config retention.ms={source_ms}"
        )
    if "compact" in letters.settings.get("cleanup.policy", "delete"):
        found.append(f"{letters.name} is compacted: later dead letters of a key would drop earlier ones; use delete")
    limits = [name for name in ("retention.ms", "retention.bytes") if deployments.number(name) >= 0]
    if "compact" in deployments.settings.get("cleanup.policy", "delete") or limits:
        found.append(
            f"{deployments.name} forgets: nobody will know what scored an old record. Set cleanup.policy=delete, "
            "retention.ms=-1, retention.bytes=-1"
        )
    needed = source.number("max.message.bytes") + LETTER_HEADERS_BYTES
    if letters.number("max.message.bytes") < needed:
        found.append(
            f"{letters.name} takes {letters.number('max.message.bytes')} bytes, the largest record of {source.name} "
            f"needs {needed} with its headers: its bytes would be left out; raise max.message.bytes"
        )
    return found


def time_outs_in_order(timeout_ms: int, broker_max_ms: int) -> list[str]:
    """What is wrong with a transaction's time-out against the broker's `transaction.max.timeout.ms`."""
    if timeout_ms > broker_max_ms:
        return [
            f"transaction.timeout_ms = {timeout_ms} is above the broker's transaction.max.timeout.ms = {broker_max_ms}"
        ]
    return []
