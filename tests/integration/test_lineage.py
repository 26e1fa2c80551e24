"""Live history with a deployment in mid-stream comes out again, in whatever batches it is replayed.

By default with some thousand events; LINEAGE=full takes 100,000 leads and every login there is, as they are published.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scorer.local.ports import free_ports
from tests.harness.bundles import lead_bundle, recommend_bundle
from tests.harness.claims import bits
from tests.harness.events import all_events, announce, messages, sampled
from tests.harness.gateways import KINDS, Site, gateway_site
from tests.harness.topics import sending
from tests.harness.verified import told
from tests.harness.workers import Worker, scorer, worker
from tests.oracle import python_reader
from tests.oracle.record import Record

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(1_800)]

FULL = os.environ.get("LINEAGE") == "full"
COUNTS = {"lead-scores": 100_000 if FULL else 3_000, "recommendations": 18_402 if FULL else 900}
SENDING_S = 30.0 if FULL else 12.0
"""Long enough for a deployment in mid-stream."""
BATCHES = (1, 7, 64, 1_000)
READ_S_MAX = 600.0


@dataclass(frozen=True, slots=True)
class Past:
    """One stream with two bundles in its history, and what live made of it."""

    site: Site
    kind: str
    stream: str
    live: dict[tuple[int, int], dict[str, Any]]

    def read(self, topic: str) -> list[Record]:
        """The predictions of a topic."""
        count = COUNTS[self.kind]
        return python_reader.read_all(self.site.kafka, topic, self.site.registry, at_least=count, wait_s_max=READ_S_MAX)


@pytest.fixture(scope="module", params=["lead-scores", "recommendations"])
def past(
    kafka: str, registry: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Past]:
    kind: str = request.param
    folder, (stream, _, _, _, key) = tmp_path_factory.mktemp("lineage"), KINDS[kind]
    if stream == "lead":
        events, second = sampled("lead", COUNTS[kind]), lead_bundle(folder, "2", "A = 0.4, B = 0.2, C = 0.05, D = 0.0")
    else:
        found, second = all_events("login"), recommend_bundle(folder, "2")
        announce(request, f"{COUNTS[kind]} of {found.origin}")
        events = found.events[: COUNTS[kind]]
    with gateway_site(kafka, registry, folder) as site:
        once = ("--set", f"streams.{stream}.delivery=exactly_once", "--set", "batch.rows_max=100")
        load = messages(events, key, site.encode_event[kind])
        with worker(site.config, stream, *once, "--set", "transaction.slot=a", name="a") as a:
            a.wait_ready()
            with sending(kafka, site.topics[kind].events, load, COUNTS[kind] / SENDING_S):
                _third(a, COUNTS[kind] // 3)
                (port,) = free_ports(1)
                more = ("--set", "transaction.slot=b", "--set", f"metrics.port={port - _at(site, stream)}")
                with worker(site.config, stream, *once, *more, name="b", ports=[port]) as b:
                    ended = scorer("deploy", stream, str(second), "--config", str(site.config), cwd=folder)
                    assert ended.returncode == 0, ended.stderr
                    b.until(lambda: len(b.owned()) == 2, "sharing the partitions")
                    made = Past(site, kind, stream, {})
                    for record in made.read(site.topics[kind].predictions):
                        value = record["value"] or {}
                        made.live[value["source_partition"], value["source_offset"]] = value
                    for each in (b, a):
                        each.signal(signal.SIGTERM)
                        assert each.wait() == 0
        yield made


def _third(one: Worker, count: int) -> None:
    one.until(lambda: one.metric("scorer_records_scored_total") >= count, "a third of the way", 300)


def _at(site: Site, stream: str) -> int:
    """A stream's port is the first one and its place among the streams."""
    return [name for name, *_ in KINDS.values()].index(stream)


def test_live_verifies_as_bit_equal_with_each_bundle_on_its_side(past: Past) -> None:
    count = COUNTS[past.kind]
    code, document = told(past.site.config, "verify", past.stream)
    assert (code, document["levels"]["bit_equal"], document["predictions"]) == (0, count, count)
    assert len(document["models"]) == 2
    spans = _spans(past)
    assert {len(own) for own in spans.values()} == {2}
    for (partition, offset), value in past.live.items():
        (_, first), (boundary, second) = spans[partition]
        assert value["model_version"] == (second if offset >= boundary else first)


@pytest.mark.parametrize("rows", BATCHES)
def test_a_replay_in_batches_of_any_size_is_what_live_made(past: Past, rows: int) -> None:
    lane, count = f"of-{rows}", COUNTS[past.kind]
    ended = scorer(
        "replay", past.stream, "--lane", lane, "--since", "2000-01-01", "--set", f"batch.rows_max={rows}",
        "--set", "metrics.port=-1", "--config", str(past.site.config), cwd=past.site.config.parent, wait_s_max=900.0,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    code, document = told(past.site.config, "verify", past.stream, "--lane", lane)
    assert (code, document["levels"]["bit_equal"], document["predictions"]) == (0, count, count)
    again = past.read(f"{past.site.topics[past.kind].predictions}.lane.{lane}")
    assert len(again) == count
    for record in again:
        value = record["value"] or {}
        true = past.live[value["source_partition"], value["source_offset"]]
        assert bits(_lasting(value)) == bits(_lasting(true))


def _lasting(value: dict[str, Any]) -> dict[str, Any]:
    return {name: each for name, each in value.items() if name not in ("scored_at", "lane")}


def _spans(past: Past) -> dict[int, list[tuple[int, str]]]:
    found: dict[int, dict[int, str]] = {}
    ended = scorer("deployments", past.stream, "--json", "--config", str(past.site.config), cwd=Path.cwd())
    for each in json.loads(ended.stdout):
        if each["kind"] == "activated":
            found.setdefault(each["partition"], {})[each["first_offset"]] = each["model"].partition("/")[2]
    return {partition: sorted(own.items()) for partition, own in found.items()}
