"""What a stream looks at before it starts: whether its topics hold what its guarantee needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from scorer.cli.settings import Settings, Stream
from scorer.core.errors import ConfigError
from scorer.core.topics import time_outs_in_order, weak_points
from scorer.edges.kafka.held import INTERNAL, held_topics, transaction_ms_max

Report = Callable[[str, Mapping[str, Any]], None]


def check_topics(settings: Settings, stream: Stream, report: Report) -> None:
    """Says what is weaker than the guarantee needs; `checks.weak` says whether that stops the start.

    Raises:
        ConfigError: a topic is missing, a time-out cannot be had, or something is weak and `checks.weak` refuses it.
        TransientError: no broker answers.
    """
    admin, once = settings.kafka_for("admin"), stream.delivery == "exactly_once"
    wanted = [stream.from_topic, stream.to_topic, stream.dead_letters]
    held = held_topics(admin, [*wanted, *INTERNAL], report)
    lacking = [name for name in wanted if name not in held]
    if lacking:
        raise ConfigError(f"Kafka has no topic {', '.join(lacking)}; run: scorer setup")
    if once:
        broker_ms_max = transaction_ms_max(admin, report)
        wrong = [] if broker_ms_max is None else time_outs_in_order(settings.transaction.timeout_ms, broker_ms_max)
        if wrong:
            raise ConfigError(wrong[0])
    internal = [held[name] for name in INTERNAL if name in held]
    source, predictions, letters = (held[name] for name in wanted)
    recovery_h = settings.checks.recovery_h
    weak = weak_points(source, predictions, letters, internal, recovery_h=recovery_h, exactly_once=once)
    if weak and settings.checks.weak == "refuse":
        raise ConfigError('checks.weak = "refuse", and\n' + "\n".join(f"- {each}" for each in weak))
    if weak:
        report("topics.weak", {"why": weak})
