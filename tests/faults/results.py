"""What the rig has found so far: a line of JSON for each test, kept from run to run.

So a run of hours can be done in pieces, and a run that was broken off loses only the test that it was in. The latest
result of a test at a level counts; it says of which sources it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import confluent_kafka

from scorer.local.kafka import VERSION
from tests.harness.imports import reached
from tests.harness.topics import ROOT


@dataclass(frozen=True, slots=True)
class Row:
    """One run of one scenario."""

    test: str
    what: str
    delivery: str = ""
    hits: str = ""
    records: int = 0
    missing: int = 0
    repeats: int = 0
    aborted: int = 0
    gap_s: float = 0.0
    recovery_s: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """How one test ended, and what it found. `searched` says how much was searched for canaries."""

    test: str
    level: str
    seed: int
    passed: bool
    took_s: float
    ended: str
    versions: str
    source: str
    rows: Sequence[Row] = ()
    why: str = ""
    searched: dict[str, int] = field(default_factory=dict)


def load_results(path: Path) -> list[Result]:
    """The latest result of each test at each level."""
    if not path.exists():
        return []
    found: dict[tuple[str, str], Result] = {}
    for line in path.read_text("utf-8").splitlines():
        fields: dict[str, Any] = json.loads(line)
        result = Result(**{**fields, "rows": tuple(Row(**row) for row in fields["rows"])})
        found[result.test, result.level] = result
    return list(found.values())


def keep_result(path: Path, result: Result) -> None:
    """Puts a result in the place of the earlier one of the same test and level."""
    kept = [each for each in load_results(path) if (each.test, each.level) != (result.test, result.level)]
    lines = [json.dumps(asdict(each)) for each in sorted([*kept, result], key=lambda each: (each.level, each.test))]
    fresh = path.with_suffix(".new")
    fresh.write_text("\n".join(lines) + "\n", "utf-8")
    fresh.replace(path)


def versions() -> str:
    """What a run is made of, for people."""
    return (
        f"scorer {version('streaming-scorer')}, Kafka {VERSION}, librdkafka {confluent_kafka.libversion()[0]}, "
        f"onnxruntime {version('onnxruntime')}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores, {platform.machine()}"
    )


def source(root: Path = ROOT) -> str:
    """Twelve digits that stand for the sources of what was tested: all that `scorer worker` and `replay` may import."""
    digest = hashlib.sha256()
    for path in reached(root, "scorer", ("scorer.cli.worker", "scorer.cli.replay")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]
