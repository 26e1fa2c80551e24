"""docs/qualification.md, written by the run that it reports."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import confluent_kafka

from scorer.local.kafka import VERSION

HEAD = """\
# What the fault rig found

Written by `make {target}` (`tests/faults`, `--level {level} --seed {seed}`) on {date}.
Real Kafka, real processes, one machine, loopback: {cores} cores, {machine}, Python {python}, Kafka {kafka},
librdkafka {librdkafka}, onnxruntime {onnxruntime}, scorer {scorer}.

Every run is judged by an oracle that shares no code with the scorer: a kafka-python reader that watched all along and
one that reads at the end, both read_committed, and one read_uncommitted; each prediction is computed again. "Hits" are
faults that were proved to have hit. "Repeats" are records that a read_committed reader got more than once; none is
allowed for exactly_once, and for at_least_once each has to have the same id and score. "Longest gap" is the longest
time for which some partition gave a reader nothing while load was on, all waiting for time-outs included.

| test | what | delivery | hits | records | missing | repeats | aborted, unseen | longest gap, s | note |
|---|---|---|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One run of one test."""

    test: str
    what: str
    delivery: str = ""
    hits: str = ""
    records: int = 0
    missing: int = 0
    repeats: int = 0
    aborted: int = 0
    gap_s: float = 0.0
    note: str = ""


def write_table(path: Path, rows: Sequence[Row], level: str, seed: int, failed: Sequence[str]) -> None:
    """Writes the page."""
    text = HEAD.format(
        target="qualify" if level == "qualify" else "faults",
        level=level,
        seed=seed,
        date=datetime.now(UTC).date().isoformat(),
        cores=os.cpu_count(),
        machine=platform.machine(),
        python=platform.python_version(),
        kafka=VERSION,
        librdkafka=confluent_kafka.libversion()[0],
        onnxruntime=version("onnxruntime"),
        scorer=version("streaming-scorer"),
    )
    for row in sorted(rows, key=lambda row: (row.test[0], _number(row.test), row.delivery)):
        text += (
            f"| {row.test} | {row.what} | {row.delivery} | {row.hits} | {row.records:,} | {row.missing} | "
            f"{row.repeats} | {row.aborted:,} | {row.gap_s:.1f} | {row.note} |\n"
        )
    text += "\n" + ("**Failed:** " + ", ".join(failed) if failed else "No test failed.") + "\n"
    path.write_text(text, encoding="utf-8")


def _number(test: str) -> int:
    return int("".join(letter for letter in test[1:] if letter.isdigit()) or 0)
