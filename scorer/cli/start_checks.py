"""What a stream looks at before it starts: whether its topics hold what its guarantee needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scorer.cli.settings import Settings, Stream
from scorer.core.errors import ConfigError
from scorer.core.ports import Report
from scorer.core.topics import Held, time_outs_in_order, weak_points
from scorer.edges.kafka.held import INTERNAL, held_topics, transaction_ms_max
from scorer.edges.kafka.rights import Need, check_rights


def check_topics(settings: Settings, stream: Stream, report: Report) -> dict[str, int]:
    """Says what is weaker than the guarantee needs; `checks.weak` says whether that stops the start.

    Returns:
        how many bytes a message may have, by topic that is written to.

    Raises:
        RefusedError: no broker lets us in, or rights are missing.
        ConfigError: a topic is missing, a time-out cannot be had, or something is weak and `checks.weak` refuses it.
        TransientError: no broker answers.
    """
    if settings.checks.weak == "off":
        return _chosen_bytes_max(settings, stream)
    admin, once = settings.kafka_for("admin"), stream.delivery == "exactly_once"
    check_rights(admin, _needs(settings, stream), report)
    wanted = [stream.from_topic, stream.to_topic, stream.dead_letters, settings.deployments.topic]
    (source, predictions, letters, deployments), internal = _present(admin, wanted, list(INTERNAL), report)
    if once:
        broker_ms_max = transaction_ms_max(admin, report)
        wrong = [] if broker_ms_max is None else time_outs_in_order(settings.transaction.timeout_ms, broker_ms_max)
        if wrong:
            raise ConfigError(wrong[0])
    recovery_h = settings.checks.recovery_h
    weak = weak_points(source, predictions, letters, deployments, internal, recovery_h=recovery_h, exactly_once=once)
    if weak and settings.checks.weak == "refuse":
        raise ConfigError('checks.weak = "refuse", and\n' + "\n".join(f"- {each}" for each in weak))
    if weak:
        report("topics.weak", {"why": weak})
    return _bytes_max(settings, predictions, letters)


def _chosen_bytes_max(settings: Settings, stream: Stream) -> dict[str, int]:
    chosen = settings.kafka_for("producer").get("message.max.bytes")
    if chosen is None:
        raise ConfigError('checks.weak = "off" asks the brokers nothing; so set kafka.producer "message.max.bytes"')
    return dict.fromkeys((stream.to_topic, stream.dead_letters), int(chosen))


def _needs(settings: Settings, stream: Stream) -> list[Need]:
    """What a worker does with Kafka. docs/security.md lists the same; a transactional id can only be tried."""
    written = ("Write", "DescribeConfigs")
    return [
        Need("topic", stream.from_topic, ("Read", "DescribeConfigs")),
        Need("topic", stream.to_topic, written),
        Need("topic", stream.dead_letters, written),
        Need("topic", settings.deployments.topic, ("Read", "Write", "DescribeConfigs")),
        Need("group", f"{settings.group}.{stream.name}", ("Read",)),
    ]


def written_bytes_max(settings: Settings, stream: Stream, report: Report) -> dict[str, int]:
    """How many bytes a message may have, by topic that a stream writes to.

    Raises:
        ConfigError: a topic is missing.
        TransientError: no broker answers.
    """
    written, _ = _present(settings.kafka_for("admin"), [stream.to_topic, stream.dead_letters], [], report)
    return _bytes_max(settings, *written)


def _bytes_max(settings: Settings, *written: Held) -> dict[str, int]:
    chosen = settings.kafka_for("producer").get("message.max.bytes")
    return {each.name: each.number("max.message.bytes") if chosen is None else int(chosen) for each in written}


def _present(
    admin: Mapping[str, Any], wanted: list[str], besides: list[str], report: Report
) -> tuple[list[Held], list[Held]]:
    """The topics that must be there, and those of the others that are."""
    held = held_topics(admin, [*wanted, *besides], report)
    lacking = [name for name in wanted if name not in held]
    if lacking:
        raise ConfigError(f"Kafka has no topic {', '.join(lacking)}; run: scorer setup")
    return [held[name] for name in wanted], [held[name] for name in besides if name in held]
