"""Runs a promotion: only of a lane that is complete, once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from scorer.cli.lanes import Lane, begin_group, extents_of, has_records, lane_of, left_of
from scorer.cli.progress import progress
from scorer.cli.replay_wiring import open_source
from scorer.cli.rollout_wiring import group_of, publish_entry, read_entries, whoami
from scorer.cli.settings import Settings, Stream
from scorer.cli.start_checks import written_bytes_max
from scorer.cli.status import told_status
from scorer.cli.stopping import stopped_by_signals
from scorer.cli.times import time_text
from scorer.cli.wiring import CLOSE_MS_MAX, open_registry
from scorer.cli.worker_wiring import limits_of, open_delivery
from scorer.core.deployments import Entry
from scorer.core.errors import ConfigError
from scorer.core.pieces import Piece
from scorer.core.ports import Report
from scorer.core.replays import PROMOTION, PROMOTION_BEGUN, REPLAY, REPLAY_DONE, Replay, noted
from scorer.edges.clock import SystemClock
from scorer.edges.failpoints import VARIABLE as FAILPOINT
from scorer.edges.failpoints import failpoint
from scorer.edges.kafka.admin import KafkaAdmin
from scorer.edges.kafka.groups import KafkaGroups
from scorer.edges.metrics import Metrics
from scorer.services.promotion import Promotion
from scorer.services.replay import Bounded, Pace


def run_promotion(settings: Settings, stream: Stream, name: str, report: Report) -> dict[str, Any]:
    """Copies a lane to the live topic. Returns what was copied.

    Raises:
        ConfigError: the lane is unfinished, or was promoted already.
        HaltError, FencedError, TransientError: it cannot go on; what is committed stays.
        KeyboardInterrupt: told to stop.
    """
    stop, lane = stopped_by_signals(), lane_of(settings, stream, name)
    registry = open_registry(settings, report)
    entries = read_entries(settings, registry, stop, report)
    if stop.is_set():
        raise KeyboardInterrupt
    group = f"{group_of(settings, stream)}.promote.{name}"
    source, target = lane.stream.to_topic, stream.to_topic
    admin = KafkaAdmin(settings.kafka_for("admin"), report)
    groups = KafkaGroups(settings.kafka_for("admin"), report)

    def filled() -> bool:
        return source in admin.topics() and has_records(settings, source, report)

    check_promotable(lane, entries, group, partial(groups.committed, lane.group), filled)
    piece, topic_id = Piece(extents_of(settings, source, report)), admin.topic_id(source)
    clock, metrics = SystemClock(), Metrics(stream.name)

    def note(kind: str) -> None:
        model, now_ms = ("", "", ""), clock.now_ms()
        entry = Replay(kind, group, stream.name, name, model, "", whoami(), "", now_ms, source, topic_id, piece)
        publish_entry(settings, entry, registry, report)

    # In this order: who finds it begun knows that the group had positions, and who does not that nothing is copied.
    begun = noted(entries, PROMOTION_BEGUN, group) is not None
    begin_group(settings, group, source, piece, report, filled=lambda: begun)
    if not begun:
        note(PROMOTION_BEGUN)
    status = told_status(metrics, clock, report)
    # The offsets in its transactions are the lane's.
    copied = lane.stream.model_copy(update={"from_topic": source, "to_topic": target})
    bytes_max = written_bytes_max(settings, copied, report)
    committed = partial(groups.committed, group, source)
    bounded = Bounded(piece, committed, Pace(), progress(clock, "offsets"), clock, report, status, stop)
    reached = failpoint(os.environ.get(FAILPOINT))
    delivery = open_delivery(settings, copied, bytes_max, report, clock, reached, group)
    delivery.recover()
    promotion = Promotion(target, bounded, delivery, clock, report, status, stop, limits_of(settings))
    bounded.owner = promotion
    bounded.inner = opened = open_source(settings, group, source, bounded, report)
    try:
        promotion.run()
    finally:
        opened.close()
        delivery.publisher.close(CLOSE_MS_MAX)
    if not bounded.complete:
        raise KeyboardInterrupt
    note(PROMOTION)
    return {"stream": stream.name, "lane": name, "from": source, "to": target, "offsets": piece.offsets}


def check_promotable(
    lane: Lane,
    entries: Sequence[Entry],
    group: str,
    committed: Callable[[str], Mapping[int, int]],
    filled: Callable[[], bool],
) -> None:
    """Whether a lane is complete, and not promoted yet.

    Args:
        lane, entries: of what, and what was written down.
        group: the promotion's.
        committed: the positions of the replay's group in a topic.
        filled: whether the lane holds anything.

    Raises:
        ConfigError: it may not be promoted; what to do.
        TransientError: Kafka does not answer.
    """
    begun, promoted = noted(entries, REPLAY, lane.group), noted(entries, PROMOTION, group)
    if begun is None:
        raise ConfigError(f"lane {lane.name} of {lane.live.name} was never begun; see: scorer replay")
    if promoted is not None:
        raise ConfigError(f"lane {lane.name} was promoted already, at {time_text(promoted.said_ms)} by {promoted.who}")
    done = noted(entries, REPLAY_DONE, lane.group) is not None
    if left := left_of(lane.group, begun.piece, committed(begun.source_topic), filled=filled, done=done):
        raise ConfigError(
            f"lane {lane.name} is unfinished, {left:,} of {begun.piece.offsets:,} offsets are left; go on with: "
            f"scorer replay {lane.live.name} --lane {lane.name}"
        )
