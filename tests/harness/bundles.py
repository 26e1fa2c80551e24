"""Bundles made for a test out of the shipped ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.harness.topics import ROOT
from tests.harness.workers import scorer


def lead_bundle(folder: Path, version: str, bounds: str) -> Path:
    """The shipped lead model under another version and with other bounds of its buckets, so another bundle."""

    def change(text: str) -> str:
        start = text.index("bins = {")
        return text[:start] + f"bins = {{ {bounds} }}" + text[text.index("}", start) + 1 :]

    return _changed(folder, "lead", version, change, "events.new-lead")


def recommend_bundle(folder: Path, version: str) -> Path:
    """The shipped recommender under another version, with other padding, so another bundle."""
    return _changed(folder, "recommend", version, lambda text: text.replace('pad = ""', 'pad = "-"'), "events.login")


def _changed(folder: Path, name: str, version: str, change: Callable[[str], str], events_schema: str) -> Path:
    made = folder / name / version
    shutil.copytree(ROOT / "models" / name / "1", made)
    contract = made / "model.toml"
    text = contract.read_text(encoding="utf-8").replace('version = "1"', f'version = "{version}"')
    contract.write_text(change(text), encoding="utf-8")
    rows = (made / "golden.jsonl").read_text(encoding="utf-8").splitlines()
    events = folder / f"events-{name}-{version}.jsonl"
    events.write_text("".join(json.dumps(json.loads(row)["event"]) + "\n" for row in rows), encoding="utf-8")
    schema = ROOT / "schemas" / f"{events_schema}.avsc"
    ended = scorer("model", "golden", str(made), "--events", str(events), "--schema", str(schema), cwd=folder)
    assert ended.returncode == 0, ended.stderr
    return made
