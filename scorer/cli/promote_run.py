"""Runs a promotion: only of a lane that is complete, once."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from scorer.cli.lanes import Lane, begin_group, extents_of, lane_of
from scorer.cli.progress import progress
from scorer.cli.replay_plan import begun_by
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
from scorer.core.replays import PROMOTION, Replay
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
    _promotable(settings, lane, entries, group, report)
    source, target = lane.stream.to_topic, stream.to_topic
    piece = Piece(extents_of(settings, source, report))
    begin_group(settings, group, source, piece.starts, lambda: False, report)
    clock, metrics = SystemClock(), Metrics(stream.name)
    status = told_status(metrics, clock, report)
    # The offsets in its transactions are the lane's.
    copied = lane.stream.model_copy(update={"from_topic": source, "to_topic": target})
    bytes_max = written_bytes_max(settings, copied, report)
    committed = partial(KafkaGroups(settings.kafka_for("admin"), report).committed, group, source)
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
    topic_id = KafkaAdmin(settings.kafka_for("admin"), report).topic_id(source)
    done = Replay(
        PROMOTION, group, stream.name, name, ("", "", ""), "", whoami(), "", clock.now_ms(), source, topic_id, piece
    )
    publish_entry(settings, done, registry, report)
    return {"stream": stream.name, "lane": name, "from": source, "to": target, "offsets": piece.offsets}


def _promotable(settings: Settings, lane: Lane, entries: list[Entry], group: str, report: Report) -> None:
    begun = begun_by(entries, lane.group)
    if begun is None:
        raise ConfigError(f"lane {lane.name} of {lane.live.name} was never begun; see: scorer replay")
    for each in entries:
        if isinstance(each, Replay) and each.kind == PROMOTION and each.group == group:
            raise ConfigError(f"lane {lane.name} was promoted already, at {time_text(each.said_ms)} by {each.who}")
    groups = KafkaGroups(settings.kafka_for("admin"), report)
    left = begun.piece.left(groups.committed(lane.group, begun.source_topic))
    if left:
        raise ConfigError(
            f"lane {lane.name} is unfinished, {left:,} of {begun.piece.offsets:,} offsets are left; go on with: "
            f"scorer replay {lane.live.name} --lane {lane.name}"
        )
