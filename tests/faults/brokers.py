"""What brokers and the way to them do: restarts, a frozen or slow way, too few copies, a late end of a transaction."""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from pathlib import Path

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from scorer.local.process import send
from scorer.local.server import Server
from tests.faults.plugin import Plan
from tests.faults.results import Row
from tests.faults.scenarios import Variables
from tests.faults.scene import Scene, Vacuous, scene
from tests.harness.fault_kafka import FaultKafka
from tests.harness.kafka_proxy import END_TXN
from tests.oracle.judge import Broken, Figures

RECOVER_S_MAX = 30.0
BYTES_PER_S = 64_000
RSS_MB_MAX = 600.0
LATE_S = (1.0, 8.0)
UNGUARDED_MIN = 5


def pressed(plan: Plan, kafka: FaultKafka, folder: Path, delivery: str) -> Figures:
    """T9: a client queue of 100 messages and a way of 64 kB/s."""
    queue = {"queue.buffering.max.messages": 100}
    with scene(plan, "T9", delivery, kafka, folder, kafka_producer=queue) as here:
        kafka.way.bytes_per_s = BYTES_PER_S
        time.sleep(plan.counts.abort_s)
        most_mb = max(rss_mb(worker.pid) for worker in here.fleet.workers.values())
        hits = kafka.way.counts["throttled bytes"]
        kafka.way.heal()
        recovered = here.moves(60)
        if most_mb > RSS_MB_MAX:
            raise Broken([f"O8: {most_mb:.0f} MB are held"], Figures())
        return here.finish(
            "a queue of 100 messages, 64 kB/s", hits, 100_000, unit="bytes throttled", recovery_s=recovered,
            note=f"{most_mb:.0f} MB at most",
        )  # fmt: skip


def restarted(plan: Plan, kafka: FaultKafka, folder: Path, delivery: str) -> Figures:
    """T10: brokers are stopped and killed, one after the other, those first that lead or coordinate."""
    test = f"T10, {len(kafka.nodes)} node{'s' if len(kafka.nodes) > 1 else ''}"
    with scene(plan, test, delivery, kafka, folder) as here:
        recovered = []
        for turn in range(plan.counts.broker_kills):
            node = _coordinator(here) if len(kafka.nodes) > 1 else kafka.nodes[0]
            (node.stop if turn % 3 == 1 else node.kill)()
            time.sleep(5.0)
            if len(kafka.nodes) > 1:
                recovered.append(5.0 + here.moves(60))
                node.start()
                time.sleep(8.0)
            else:
                node.start()
                recovered.append(here.moves(60))
        if max(recovered) > RECOVER_S_MAX:
            raise Broken([f"O8: {max(recovered):.1f} s until it moved again"], Figures())
        return here.finish(
            "brokers killed, one of three stopped", len(recovered), plan.counts.broker_kills, unit="brokers",
            recovery_s=max(recovered),
        )  # fmt: skip


def too_late(plan: Plan, kafka: FaultKafka, folder: Path, delivery: str) -> Figures:
    """T11: the way freezes for longer than a transaction may last; then nothing comes for longer than that."""
    with scene(plan, "T11", delivery, kafka, folder) as here:
        recovered, outlived = [], 0
        for _ in range(plan.counts.zombies):
            before = len(here.events("transaction.aborted"))
            kafka.way.freeze()
            time.sleep(15.0)
            kafka.way.heal()
            recovered.append(here.moves(60))
            outlived += len(here.events("transaction.aborted")) > before
        here.load.rate = 0
        time.sleep(3.0)
        before = len(here.events("transaction.aborted"))
        time.sleep(min(30.0, 3 * plan.counts.zombies * 10.0))
        here.load.rate = plan.counts.rate
        here.moves()
        if len(here.events("transaction.aborted")) > before:
            raise Broken(["O8: an idle worker had a transaction aborted"], Figures())
        return here.finish(
            "the way frozen for 15 s, transactions of 10 s; idle for 30 s", outlived, plan.counts.zombies,
            unit="freezes, a transaction lost in each", recovery_s=max(recovered), note="no worker started again",
        )  # fmt: skip


def cut_off(plan: Plan, kafka: FaultKafka, folder: Path, delivery: str) -> Figures:
    """T28: the way is cut again and again, for 0.5 to 4 s."""
    chance = plan.chance("T28", delivery)
    with scene(plan, "T28", delivery, kafka, folder) as here:
        recovered = []
        for _ in range(2 * plan.counts.broker_kills):
            kafka.way.cut()
            time.sleep(chance.uniform(0.5, 4.0))
            kafka.way.heal()
            recovered.append(here.moves(60))
        if max(recovered) > RECOVER_S_MAX:
            raise Broken([f"O8: {max(recovered):.1f} s until it moved again"], Figures())
        return here.finish(
            "every connection cut, 0.5 to 4 s", len(recovered), 2 * plan.counts.broker_kills, unit="cuts",
            recovery_s=max(recovered),
        )  # fmt: skip


def too_few_copies(plan: Plan, kafka: FaultKafka, folder: Path, delivery: str) -> Figures:
    """T12: two of three brokers stand still, so nothing can be written."""
    with scene(plan, "T12", delivery, kafka, folder) as here:
        for node in kafka.nodes[1:]:
            assert node.mark is not None
            send(node.mark, signal.SIGSTOP)
        time.sleep(5.0)
        standing = len(here.watcher.records)
        time.sleep(25.0)
        stood = len(here.watcher.records) == standing
        for node in kafka.nodes[1:]:
            assert node.mark is not None
            send(node.mark, signal.SIGCONT)
        recovered = here.moves(90)
        return here.finish(
            "two of three brokers frozen for 30 s", 2 * stood, 2, unit="brokers, and nothing was published meanwhile",
            recovery_s=recovered,
        )  # fmt: skip


def ended_late(
    plan: Plan, kafka: FaultKafka, folder: Path, delivery: str, variables: Variables | None = None
) -> Figures:
    """T13: the end of a transaction is held back, its connection closed, and it arrives seconds later."""
    chance = plan.chance("T13")
    test, rounds = "T13", plan.counts.held
    if variables:  # how often it goes wrong without the guard shows soon
        test, rounds = "T13, no guard", max(plan.counts.held // 3, UNGUARDED_MIN)
    with scene(plan, test, delivery, kafka, folder, variables=variables) as here:
        released = 0
        for _ in range(rounds):
            held = kafka.way.hold(END_TXN)
            if not held.taken.wait(20):
                kafka.way.let_go()
                break
            time.sleep(chance.uniform(*LATE_S))
            kafka.way.release(held)
            released += 1
            time.sleep(chance.uniform(0.2, 1.0))
        recovered = here.moves(60)
        renewed = len(here.events("transaction.producer_renewed"))
        return here.finish(
            "EndTxn held back and delivered 1 to 8 s late", released, rounds, unit="released",
            recovery_s=recovered, note=f"producer renewed {renewed} times",
        )  # fmt: skip


def truncated(plan: Plan, kafka: FaultKafka, folder: Path, delivery: str) -> None:
    """T14: what was not read yet is deleted under a stopped stream; it halts, names the range, and commits nothing."""
    with scene(plan, "T14", delivery, kafka, folder) as here:
        here.fleet.dismiss("b")
        here.fleet.dismiss("a")
        here.fleet.dismissed()
        time.sleep(3.0)
        here.finish_load()
        committed, ends = here.committed(), here.ends()
        partition = max(ends, key=lambda each: ends[each] - committed[each])
        cut = committed[partition] + 50
        if cut > ends[partition]:
            raise Vacuous("O7: nothing was left unread")
        admin = AdminClient({"bootstrap.servers": kafka.direct, "log_level": 0})
        where = TopicPartition(here.topics.events, partition, cut)
        admin.delete_records([where], request_timeout=30)[where].result(30)
        worker = here.fleet.start("a")
        here.until(lambda: worker.health("ready")[1].get("state") == "halted", "halted")
        said = worker.health("ready")[1]["detail"]
        wanted = f"{here.topics.events}/{partition}: offsets {committed[partition]} to {cut - 1} are gone"
        if wanted not in said:
            raise Broken([f"O8: halted, but says {said!r} and not {wanted!r}"], Figures())
        time.sleep(2.0)
        if here.committed()[partition] != committed[partition]:
            raise Broken(["O4: an offset was committed beyond a lost range"], Figures())
        row = Row(
            "T14", "unread records deleted", delivery, f"{cut - committed[partition]} records", len(here.load.sent)
        )
        plan.rows.append(replace(row, note="halted, named the range, committed nothing"))


def forgotten(plan: Plan, kafka: FaultKafka, folder: Path, delivery: str) -> Figures:
    """T14: the group's offsets are deleted; with start = earliest everything is scored again under the same ids."""
    with scene(plan, "T14", delivery, kafka, folder) as here:
        here.fleet.dismiss("b")
        here.fleet.dismiss("a")
        here.fleet.dismissed()
        admin = AdminClient({"bootstrap.servers": kafka.direct, "log_level": 0})
        here.until(lambda: _deleted(admin, here.stream_group), "without offsets", 30)
        here.delivery = "at_least_once"  # what the group has forgotten comes again
        for name in "ab":
            here.fleet.start(name)
        here.moves()
        figures = here.finish("the group's offsets deleted, start = earliest", 1, 1, unit="group")
        if not figures.repeats:
            raise Broken(["O1: the stream went on from the end, without what it could not know to be read"], figures)
        return figures


def _deleted(admin: AdminClient, group: str) -> bool:
    try:
        admin.delete_consumer_groups([group], request_timeout=10)[group].result(10)
    except Exception:  # its members are still leaving
        return False
    return True


def _coordinator(here: Scene) -> Server:
    """The broker that coordinates the stream's group: it leads partitions as well."""
    admin = AdminClient({"bootstrap.servers": here.kafka.direct, "log_level": 0})
    group = admin.describe_consumer_groups([here.stream_group], request_timeout=30)[here.stream_group].result(30)
    return here.kafka.nodes[group.coordinator.id - 1]


def rss_mb(pid: int) -> float:
    """The memory that a process holds, in megabytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * 4096 / 1e6
