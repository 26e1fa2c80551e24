"""The benchmark measures what it says: its quick run accounts for every event, and what does not add up ends it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.account import MiscountError, agree, count_copies, count_predictions, decoder
from bench.contenders import CAREFUL, RAW_COPY, scorer
from bench.plan import QUICK
from bench.report import BACKLOG, DELAYS
from tests.harness.events import encoder
from tests.harness.topics import ROOT, shipped_schema
from tests.harness.workers import environment

QUICK_S_MAX = 300

PREDICTION: dict[str, Any] = {
    "event_id": "e",
    "lead_id": "l",
    "score": 0.5,
    "bucket": "A",
    "model_name": "lead",
    "model_version": "1",
    "model_sha256": "0" * 64,
    "source_topic": "events.new-lead",
    "source_timestamp": 1,
    "source_schema_id": 1,
    "event_digest": "0" * 16,
    "lane": "live",
    "scorer_version": "0",
    "runtime": "r",
    "cpu_class": "c",
    "occurred_at": 1,
    "scored_at": 1,
}


def predictions(*places: tuple[int, int], score: float = 0.5) -> list[bytes]:
    """Predictions of records at these partitions and offsets, in the wire format."""
    encode = encoder(3, shipped_schema("predictions.lead-score"))
    return [
        encode(
            {
                **PREDICTION,
                "prediction_id": f"lead/1/events.new-lead/{partition}/{offset}",
                "source_partition": partition,
                "source_offset": offset,
                "score": score,
            }
        )
        for partition, offset in places
    ]


def count(values: list[bytes], expected: int) -> Any:
    return count_predictions(values, expected, decoder(json.dumps(shipped_schema("predictions.lead-score"))))


@pytest.mark.timeout(QUICK_S_MAX + 60)
def test_the_quick_run_accounts_for_every_event_and_writes_no_report(kafka: str, tmp_path: Path) -> None:
    assert kafka, "a real Kafka can be had here"
    report = ROOT / "docs" / "performance.md"
    before = report.stat().st_mtime_ns if report.exists() else None
    ended = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--json", "--report", str(tmp_path / "report.md")],
        cwd=ROOT,
        env={**os.environ, "SCORER_BATCH__ROWS_MAX": "1"},  # nobody's own settings get into the figures
        capture_output=True,
        text=True,
        timeout=QUICK_S_MAX,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    paced, eager, once = scorer("paced").name, scorer("eager").name, scorer("paced", "exactly_once").name
    assert [run["contender"] for run in found["drains"]] == [paced, once, CAREFUL.name, RAW_COPY.name]
    assert all(run["events"] == QUICK.drain_events and run["cpu_s"] > 0 for run in found["drains"])
    assert found["drains"][0]["rows_mean"] > 100
    measured_s = QUICK.paced_s - QUICK.dropped_s
    assert [run["contender"] for run in found["leads"]] == [eager, CAREFUL.name]
    assert all(run["events"] == QUICK.leads_per_s[0][0] * measured_s for run in found["leads"] + found["floors"])
    assert [run["events"] for run in found["logins"]] == [QUICK.logins_per_s * measured_s]
    assert all(0 < run["p50_ms"] <= run["p99_ms"] <= run["max_ms"] for run in found["leads"] + found["logins"])
    assert [(step["kind"], step["rows"]) for step in found["steps"]] == [
        (kind, rows) for kind in ("lead", "login") for rows in (1, 32, 1000)
    ]
    assert len(found["verdicts"]) == 6
    assert "## What is demanded" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in (BACKLOG, DELAYS))
    assert (report.stat().st_mtime_ns if report.exists() else None) == before


@pytest.mark.timeout(180)
def test_the_quick_run_of_dead_letters_has_a_figure_for_each_way(kafka: str) -> None:
    assert kafka, "a real Kafka can be had here"
    ended = subprocess.run(
        [sys.executable, "-m", "bench.letters", "--quick", "--json"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    found = json.loads(ended.stdout)
    assert found["letters"] == 10_000
    for way in ("written", "listed", "plain", "redriven", "apart_ms"):
        (figure,) = found[way]
        assert figure > 0, way


def test_one_prediction_for_each_offset_is_a_full_account() -> None:
    sample = count(predictions((0, 0), (0, 1), (1, 0)), 3)
    assert sorted(sample) == [(0, 0), (1, 0)]
    assert sample[0, 0]["score"] == 0.5


@pytest.mark.parametrize(
    "places",
    [
        pytest.param([(0, 0), (0, 1)], id="the last one is missing"),
        pytest.param([(0, 0), (0, 2), (1, 0)], id="one in the middle is missing"),
        pytest.param([(0, 0), (0, 1), (0, 1)], id="one came twice in place of another"),
        pytest.param([(0, 0), (0, 1), (1, 0), (1, 0)], id="one came twice"),
    ],
)
def test_a_missing_or_repeated_prediction_ends_the_benchmark(places: list[tuple[int, int]]) -> None:
    with pytest.raises(MiscountError):
        count(predictions(*places), 3)


@pytest.mark.parametrize("values", [[b"a"], [b"a", b"a"], [b"a", b"b", b"c"]])
def test_a_missing_or_repeated_copy_ends_the_benchmark(values: list[bytes]) -> None:
    with pytest.raises(MiscountError):
        count_copies(values, 2)


def test_contenders_that_predict_differently_end_the_benchmark() -> None:
    one = count(predictions((0, 0)), 1)
    agree(one, count(predictions((0, 0)), 1))
    with pytest.raises(MiscountError):
        agree(one, count(predictions((0, 0), score=0.25), 1))
    with pytest.raises(MiscountError):
        agree(one, count(predictions((0, 0), (1, 0)), 2))
