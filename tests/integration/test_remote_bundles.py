"""Bundles that are kept in S3: deployed by URL, fetched by the workers, and served only if their bytes are the ones."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.bundles import lead_bundle
from tests.harness.claims import scored_once
from tests.harness.lead_stream import LeadStream, lead_stream
from tests.harness.proxy import proxy
from tests.harness.s3 import Storage, point_to, storage
from tests.harness.workers import Worker, scorer, worker

pytestmark = pytest.mark.timeout(180)

BOUNDS = "A = 0.4, B = 0.2, C = 0.05, D = 0.0"


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    with storage(tmp_path / "s3.log", monkeypatch) as found:
        yield found


def _deploy(leads: LeadStream, config: Path, url: str) -> None:
    ended = scorer("deploy", "lead", url, "--why", "better", "--config", str(config), cwd=leads.folder)
    assert ended.returncode == 0, ended.stderr


def _versions(leads: LeadStream, count: int) -> list[str]:
    return [str((each["value"] or {})["model_version"]) for each in leads.predictions(count)]


def _serving(running: Worker, version: str) -> bool:
    return any(each["model"] == f"lead/{version}" for each in running.events("stream.serving"))


def test_a_bundle_at_a_url_is_deployed_served_found_again_and_verified(
    kafka: str, registry: str, tmp_path: Path, stored: Storage
) -> None:
    url = stored.upload(lead_bundle(tmp_path, "2", BOUNDS), "models/lead/2")
    with lead_stream(kafka, registry, tmp_path) as leads:
        config = leads.settings()
        with worker(config) as running:
            running.wait_ready()
            first = leads.send(200, seed=1)
            leads.predictions(first)
            _deploy(leads, config, url)
            running.until(lambda: running.events("deployment.ready"), "having fetched it")
            count = first + leads.send(200, seed=2)
            running.until(lambda: _serving(running, "2"), "serving it")
            assert _versions(leads, count).count("2") == 200
            running.signal(signal.SIGTERM)
            assert running.wait() == 0
        with worker(config, name="next") as following:
            following.wait_ready()
            count += leads.send(200, seed=3)
            predictions = leads.predictions(count)
        scored_once(predictions, leads.sources(count))
        assert [(each["value"] or {})["model_version"] for each in predictions].count("2") == 400
        ended = scorer("verify", "lead", "--config", str(config), cwd=tmp_path)
        assert (ended.returncode, f"{count}  bit equal (100 %)" in ended.stdout) == (0, True), ended.stdout


def test_a_storage_that_is_away_is_waited_for_while_the_old_bundle_serves(
    kafka: str, registry: str, tmp_path: Path, stored: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = stored.upload(lead_bundle(tmp_path, "2", BOUNDS), "models/lead/2")
    with lead_stream(kafka, registry, tmp_path) as leads, proxy(stored.port) as way:
        config = leads.settings()
        point_to(way.port, monkeypatch)
        with worker(config) as running:
            running.wait_ready()
            first = leads.send(20, seed=3)
            leads.predictions(first)
            way.cut()
            point_to(stored.port, monkeypatch)
            _deploy(leads, config, url)
            running.until(lambda: running.events("neighbour.waiting"), "waiting for it")
            assert f"{url} cannot be read now" in running.events("neighbour.waiting")[0]["why"]
            count = first + leads.send(200, seed=1)
            assert set(_versions(leads, count)) == {"1"}
            assert running.ready()
            way.open()
            running.until(lambda: running.events("deployment.ready"), "having fetched it", 60)
            count += leads.send(200, seed=2)
            assert _versions(leads, count).count("2") == 200


def test_bytes_that_are_not_those_that_were_deployed_are_never_served(
    kafka: str, registry: str, tmp_path: Path, stored: Storage
) -> None:
    second = lead_bundle(tmp_path, "2", BOUNDS)
    url = stored.upload(second, "models/lead/2")
    with lead_stream(kafka, registry, tmp_path) as leads:
        config = leads.settings()
        _deploy(leads, config, url)
        contract = (second / "model.toml").read_text(encoding="utf-8")
        stored.put("models/lead/2/model.toml", contract.replace("A = 0.4", "A = 0.3").encode())
        with worker(config) as running:
            running.until(lambda: running.events("deployment.refused") or not running.running, "refusing it")
            assert f"{url} holds another bundle" in running.text()
            assert not _serving(running, "2")
