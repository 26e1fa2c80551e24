"""Bundles are swapped under load, on two workers: at record boundaries, without a gap, and the log says what was."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.harness.bundles import lead_bundle
from tests.harness.claims import in_order, place, scored_once, scored_right
from tests.harness.events import messages, sampled
from tests.harness.lead_stream import lead_stream
from tests.harness.plain_scorer import PlainScorer
from tests.harness.topics import ROOT, Raw, sending
from tests.harness.workers import Worker, scorer, worker
from tests.oracle.record import Record

pytestmark = pytest.mark.timeout(300)

RATE = 400.0
SWAPS = int(os.environ.get("SWAPS", "6"))
GAP_S_MAX = 1.0
FIRST_BOUNDS, SECOND_BOUNDS = "A = 0.5, B = 0.25, C = 0.0625, D = 0.0", "A = 0.4, B = 0.2, C = 0.05, D = 0.0"

Spans = dict[int, list[tuple[int, str]]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it: `spans` are partition to (first offset, version), as `scorer deployments` tells them."""

    sources: list[Raw]
    predictions: list[Record]
    entries: list[dict[str, Any]]
    spans: Spans
    codes: tuple[int, int]


def command(config: Path, *arguments: str) -> Any:
    """What a command of ours prints as JSON."""
    ended = scorer(*arguments, "--config", str(config), "--json", cwd=config.parent)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.fixture(scope="module", params=["at_least_once", "exactly_once"])
def outcome(
    kafka: str, registry: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Outcome]:
    folder = tmp_path_factory.mktemp("swaps")
    second = lead_bundle(folder, "2", SECOND_BOUNDS)
    with lead_stream(kafka, registry, folder) as it:
        first_config = it.settings({"delivery": request.param}, transaction={"slot": "a"})
        second_config = it.settings({"delivery": request.param}, transaction={"slot": "b"}, name="b.toml")
        events = messages(sampled("lead", 80_000), "lead_id", it.encode)
        with worker(first_config, name="a") as a, worker(second_config, name="b") as b:
            for each in (a, b):
                each.until(lambda each=each: len(each.owned()) == 2, "sharing the partitions")  # type: ignore[misc]
            with sending(kafka, it.topics.events, events, RATE) as stop:
                a.until(lambda: a.metric("scorer_records_scored_total") > 100, "under load")
                _swap(first_config, second, (a, b))
                count = stop()
            predictions = it.predictions(count)
            codes = tuple(_ended(each) for each in (a, b))
        entries = command(first_config, "deployments", "lead")
        yield Outcome(it.sources(count), predictions, entries, _spans(entries), (codes[0], codes[1]))


def _swap(config: Path, second: Path, workers: tuple[Worker, Worker]) -> None:
    """Deploys the second bundle and rolls back, in turns; each is live on both workers before the next."""
    for number in range(SWAPS):
        if number % 2 == 0:
            command(config, "deploy", "lead", str(second), "--why", f"swap {number}")
        else:
            command(config, "rollback", "lead")
        for each in workers:
            each.until(lambda each=each: len(each.events("stream.serving")) > number + 1, f"serving {number}")  # type: ignore[misc]  # noqa: B023


def _ended(one: Worker) -> int:
    one.signal(signal.SIGTERM)
    return one.wait()


def _spans(entries: list[dict[str, Any]]) -> Spans:
    found: dict[int, dict[int, str]] = defaultdict(dict)
    for each in entries:
        if each["kind"] == "activated":
            found[each["partition"]][each["first_offset"]] = each["model"].partition("/")[2]
    return {partition: sorted(own.items()) for partition, own in found.items()}


def _version_at(spans: Spans, at: tuple[int, int]) -> str:
    return [version for first, version in spans[at[0]] if first <= at[1]][-1]


def test_every_event_is_scored_once_and_in_order_through_all_swaps(outcome: Outcome) -> None:
    scored_once(outcome.predictions, outcome.sources)
    in_order(outcome.predictions)
    assert outcome.codes == (0, 0)


def test_each_prediction_was_made_by_the_bundle_that_the_activations_name(outcome: Outcome) -> None:
    versions = set()
    for record in outcome.predictions:
        value = record["value"] or {}
        assert value["model_version"] == _version_at(outcome.spans, place(record))
        assert value["prediction_id"].startswith(f"lead/{value['model_version']}/")
        versions.add(value["model_version"])
    assert versions == {"1", "2"}


def test_scores_and_buckets_are_those_of_a_plain_scorer_with_that_bundle(
    outcome: Outcome, registry: str, tmp_path: Path
) -> None:
    for version, bundle in (("1", ROOT / "models/lead/1"), ("2", lead_bundle(tmp_path, "2", SECOND_BOUNDS))):
        own = [each for each in outcome.predictions if (each["value"] or {})["model_version"] == version]
        of = {place(each) for each in own}
        scored_right(
            own,
            [each for each in outcome.sources if (each.partition, each.offset) in of],
            PlainScorer(bundle),
            registry,
        )


def test_every_swap_became_live_on_every_partition(outcome: Outcome) -> None:
    assert len(outcome.spans) == 4
    for own in outcome.spans.values():
        assert [version for _, version in own] == ["1", *["2", "1"] * (SWAPS // 2)]
    intents = [each for each in outcome.entries if each["kind"] == "intent"]
    assert len(intents) >= SWAPS + 1
    assert all(each["who"] and each["sha256"] for each in intents)
    assert any(each["why"] == "swap 0" for each in intents)


def test_no_swap_makes_a_gap(outcome: Outcome) -> None:
    times = sorted((each["value"] or {})["scored_at"] for each in outcome.predictions)
    gaps = [after - before for before, after in pairwise(times)]
    assert max(gaps) < GAP_S_MAX * 1000, f"{max(gaps)} ms"


def test_deploying_refuses_what_is_past_or_no_bundle(kafka: str, registry: str, tmp_path: Path) -> None:
    with lead_stream(kafka, registry, tmp_path) as it:
        config = it.settings()
        bundle = str(ROOT / "models/lead/1")
        past = scorer("deploy", "lead", bundle, "--at", "2020-01-01", "--config", str(config), cwd=tmp_path)
        assert (past.returncode, "is past" in past.stderr) == (3, True)
        none = scorer("deploy", "lead", str(tmp_path), "--config", str(config), cwd=tmp_path)
        assert (none.returncode, "no bundle" in none.stderr) == (3, True)
        nothing = scorer("rollback", "lead", "--config", str(config), cwd=tmp_path)
        assert (nothing.returncode, "no other bundle" in nothing.stderr) == (3, True)


def test_a_bundle_that_is_gone_when_the_workers_look_leaves_the_old_one_live(
    kafka: str, registry: str, tmp_path: Path
) -> None:
    second = lead_bundle(tmp_path, "2", SECOND_BOUNDS)
    with lead_stream(kafka, registry, tmp_path) as it:
        config = it.settings()
        command(config, "deploy", "lead", str(ROOT / "models/lead/1"))
        with worker(config) as started:
            started.wait_ready()
            it.send(40)
            it.predictions(40)
            (second / "model.toml").write_text((second / "model.toml").read_text() + "\n# another\n")
            sha256 = command(config, "deploy", "lead", str(second))["sha256"]
            (second / "model.toml").write_text((second / "model.toml").read_text() + "\n# tampered with\n")
            time.sleep(0)
            started.until(lambda: started.events("deployment.refused") or started.events("deployment.ready"), "told")
            told = started.events("deployment.refused")
            it.send(40, seed=2)
            found = it.predictions(80)
        if told:  # else it was faster than we
            assert "another bundle" in told[0]["why"]
            assert {(each["value"] or {})["model_version"] for each in found} == {"1"}
            assert all(
                each["sha256"] != sha256
                for each in command(config, "deployments", "lead")
                if each["kind"] == "activated"
            )
