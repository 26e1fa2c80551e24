"""`python -m bench.letters`: what dead letters cost: writing them, counting them, and scoring their records again.

Events whose schema the registry does not know yet become dead letters of a live worker; then the schema is registered
and `scorer dead-letters redrive` scores them. Counting (`dead-letters list`) is held against a plain loop over the same
topic: consume(512), a dict of each letter's headers, a Counter of the reasons. Commands are timed from start to end,
less what the same command takes where there is next to nothing to do. Medians of the runs.

Exit code 0 if every record was accounted for.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from bench.contenders import running, scorer
from bench.load import Load, fill, make_load
from bench.machine import BROKER, machine, prepare
from bench.plan import PARTITIONS
from bench.readers import Progress
from bench.stage import Stage, new_stage, silent
from scorer.core.wire import prefix
from scorer.edges.kafka.messages import librdkafka_log
from scorer.local.kafka import running_kafka

LATE_ID = 9
"""The id that events are framed with, and that the registry learns after they were rejected."""
EVERY = 24_000
"""Of the long backlog one event in so many is rejected; in a partition they lie about as many offsets apart."""
LOOK_S, WORK_S_MAX = 0.02, 300.0
CONSUME_ROWS = 512
NO_HALT = ("--set", "rejections.ratio_max=1", "--set", "rejections.run_rows_max=10000000")
NO_WAIT = ("--set", "registry.grace_ms_max=0")
"""An unknown id is asked for again for a while before its records are dead letters: that is not what is measured."""


PACED = scorer("paced")
WORKER = replace(PACED, command=lambda stage: [*PACED.command(stage), *NO_HALT, *NO_WAIT])


@dataclass(slots=True)
class Found:
    """The figures, run by run.

    Attributes:
        written: letters a second by the worker, from its release until the last is in the topic.
        listed, plain: letters a second that `dead-letters list` and the plain loop read.
        redriven: records a second that a redrive scores and publishes, neighbours in the input topic.
        apart_ms: milliseconds that a redrive takes for a record far from the next one.
    """

    written: list[float] = field(default_factory=list)
    listed: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)
    redriven: list[float] = field(default_factory=list)
    apart_ms: list[float] = field(default_factory=list)


def main() -> int:
    """Runs the benchmark and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.letters", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="a smoke of a minute")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    args = parser.parse_args()
    count, long, runs = (10_000, 120_000, 1) if args.quick else (200_000, 1_200_000, 3)
    prepare()
    found = Found()
    load = make_load("lead", count)
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as name,
        running_kafka(Path(name) / "kafka", jvm=BROKER, say=_say) as server,
    ):
        for number in range(1, runs + 1):
            with new_stage(server.address, "lead", Path(name)) as stage:
                few_s = _far_apart(found, stage, load.repeated(long))
            with new_stage(server.address, "lead", Path(name)) as stage:
                _close_together(found, stage, load, few_s)
            _say(f"run {number} of {runs}: {asdict(found)}")
    if args.json:
        print(json.dumps({"machine": machine(), "letters": count, **asdict(found)}, indent=2))
    else:
        print("\n".join([f"{count:,} dead letters, medians of {runs}; {machine()}", *_lines(found)]))
    return 0


def _far_apart(found: Found, stage: Stage, load: Load) -> float:
    """A long topic of which few records are rejected, far from one another. How long listing so few takes, s."""
    letters = len(range(0, len(load.messages), EVERY))
    _rejected(stage, load, every=EVERY)
    few_s, document = _command(stage, "list", "lead")
    _same(document["letters"], letters, "letters are listed")
    found.apart_ms.append(_redriven_s(stage, letters) / (letters - 1) * 1000)
    return few_s


def _close_together(found: Found, stage: Stage, load: Load, few_s: float) -> None:
    """A topic of which every record is rejected: letters written, counted, redriven."""
    count = len(load.messages)
    found.written.append(count / _rejected(stage, load, every=1))
    took_s, document = _command(stage, "list", "lead")
    _same(document["letters"], count, "letters are listed")
    found.listed.append(count / (took_s - few_s))
    found.plain.append(count / _plain_s(stage, count))
    found.redriven.append((count - 1) / _redriven_s(stage, count))


def _rejected(stage: Stage, load: Load, *, every: int) -> float:
    """Sends the events, one in `every` framed with the late id, through a worker. Seconds until all came out."""
    known, late = prefix(stage.schema(stage.source)[0]), prefix(LATE_ID)
    messages = [
        (key, late + value[len(known) :] if number % every == 0 else value)
        for number, (key, value) in enumerate(load.messages)
    ]
    letters = len(range(0, len(messages), every))
    rejected, scored = (Progress(stage.bootstrap, "", topic) for topic in (stage.letters, stage.target))
    with running(WORKER, stage) as worker:
        fill(stage.bootstrap, stage.source, load.warm)
        scored.wait(len(load.warm), LOOK_S, WORK_S_MAX)
        worker.send(signal.SIGSTOP)
        try:
            fill(stage.bootstrap, stage.source, messages)
        finally:
            began_s = time.monotonic()
            worker.send(signal.SIGCONT)
        rejected.wait(letters, LOOK_S, WORK_S_MAX)
        scored.wait(len(load.warm) + len(messages) - letters, LOOK_S, WORK_S_MAX)
        took_s = time.monotonic() - began_s
    _same(sum(rejected.ends().values()), letters, "letters are written")
    return took_s


def _redriven_s(stage: Stage, letters: int) -> float:
    """Registers the late schema and redrives one letter, then all. How much longer all took, s."""
    index = stage.schemas / "registry.json"
    known: list[dict[str, Any]] = json.loads(index.read_text(encoding="utf-8"))
    (events,) = (each for each in known if each["subject"] == f"{stage.source}-value")
    late = {**events, "id": LATE_ID, "version": events["version"] + 1}
    index.write_text(json.dumps([*known, late]), encoding="utf-8")
    partition = next(each for each, end in Progress(stage.bootstrap, "", stage.letters).ends().items() if end)
    one_s, document = _command(stage, "redrive", "lead", f"{partition}:0")
    _same(document["passed"], 1, "record is redriven")
    took_s, document = _command(stage, "redrive", "lead")
    _same(document["passed"], letters, "records are redriven")
    return took_s - one_s


def _command(stage: Stage, *words: str) -> tuple[float, dict[str, Any]]:
    """Runs `scorer dead-letters`. How long it took, s, and what it printed."""
    command = [sys.executable, "-m", "scorer", "dead-letters", *words, "--config", str(stage.folder / "scorer.toml")]
    began_s = time.monotonic()
    ended = subprocess.run([*command, "--json"], stdout=subprocess.PIPE, text=True, check=True)
    return time.monotonic() - began_s, json.loads(ended.stdout)


def _plain_s(stage: Stage, count: int) -> float:
    """How long the plain loop takes to count the letters' reasons, connecting included, s."""
    began_s = time.monotonic()
    consumer = Consumer({"bootstrap.servers": stage.bootstrap, "group.id": "unused"}, logger=librdkafka_log(silent))
    consumer.assign([TopicPartition(stage.letters, number, OFFSET_BEGINNING) for number in range(PARTITIONS)])
    reasons: Counter[bytes] = Counter()
    while reasons.total() < count:
        for message in consumer.consume(CONSUME_ROWS, 0.1):
            reasons[dict(message.headers() or [])["__connect.errors.exception.class.name"]] += 1
    took_s = time.monotonic() - began_s
    consumer.close()
    return took_s


def _lines(found: Found) -> list[str]:
    per_s = {
        "letters written by the worker": found.written,
        "letters counted by `dead-letters list`": found.listed,
        "letters counted by a plain loop": found.plain,
        "records redriven, neighbours": found.redriven,
    }
    lines = [f"{what:40} {_spread(figures)} /s" for what, figures in per_s.items()]
    return [*lines, f"{'a record redriven, far from the next':40} {_spread(found.apart_ms)} ms"]


def _spread(figures: Sequence[float]) -> str:
    return f"{median(figures):10,.0f} ({min(figures):,.0f} to {max(figures):,.0f})"


def _same(found: int, wanted: int, what: str) -> None:
    if found != wanted:
        raise RuntimeError(f"{found} {what}, {wanted} were expected")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
