"""Bundles made for a test out of the shipped ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.harness.topics import ROOT
from tests.harness.workers import scorer


def lead_bundle(folder: Path, version: str, bounds: str) -> Path:
    """The shipped lead model under another version and with other bounds of its buckets, so another bundle."""
    made = folder / "lead" / version
    shutil.copytree(ROOT / "models/lead/1", made)
    contract = made / "model.toml"
    text = contract.read_text(encoding="utf-8").replace('version = "1"', f'version = "{version}"')
    start = text.index("bins = {")
    contract.write_text(text[:start] + f"bins = {{ {bounds} }}" + text[text.index("}", start) + 1 :], encoding="utf-8")
    rows = (made / "golden.jsonl").read_text(encoding="utf-8").splitlines()
    events = folder / f"events-{version}.jsonl"
    events.write_text("".join(json.dumps(json.loads(row)["event"]) + "\n" for row in rows), encoding="utf-8")
    schema = ROOT / "schemas/events.new-lead.avsc"
    ended = scorer("model", "golden", str(made), "--events", str(events), "--schema", str(schema), cwd=folder)
    assert ended.returncode == 0, ended.stderr
    return made
