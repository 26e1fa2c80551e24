"""The shipped lead model with more trees or fewer: the same trees again and again, each counting for less."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
from onnx import helper

from scorer.local.places import shipped

EVENTS_SCHEMA = "events.new-lead.avsc"


def bundle_of_trees(count: int, folder: Path) -> Path:
    """Makes a bundle that is proved as any other.

    Raises:
        RuntimeError: it does not prove itself.
    """
    source, made = shipped("models") / "lead" / "1", folder / "lead" / f"{count}"
    shutil.copytree(source, made)
    contract = made / "model.toml"
    text = contract.read_text(encoding="utf-8")
    contract.write_text(text.replace('version = "1"', f'version = "{count}"'), encoding="utf-8")
    model = onnx.load(made / "model.onnx")
    (ensemble,) = (node for node in model.graph.node if node.op_type == "TreeEnsembleClassifier")
    given = {each.name: helper.get_attribute_value(each) for each in ensemble.attribute}
    fresh = _repeated(given, count)
    del ensemble.attribute[:]
    ensemble.attribute.extend(helper.make_attribute(name, value) for name, value in fresh.items())
    onnx.save(model, made / "model.onnx")
    events = folder / f"events-{count}.jsonl"
    rows = (made / "golden.jsonl").read_text(encoding="utf-8").splitlines()
    events.write_text("".join(json.dumps(json.loads(row)["event"]) + "\n" for row in rows), encoding="utf-8")
    flags = ["--events", str(events), "--schema", str(shipped("schemas") / EVENTS_SCHEMA)]
    command = [sys.executable, "-m", "scorer", "model", "golden", str(made), *flags]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"no model of {count} trees: {ended.stderr}")
    return made


def _repeated(given: dict[str, object], count: int) -> dict[str, object]:
    """The attributes of an ensemble with so many trees."""
    trees = sorted(set(given["nodes_treeids"]))  # type: ignore[call-overload]
    lists = {name: value for name, value in given.items() if name.startswith(("nodes_", "class_"))}
    found: dict[str, object] = {name: value for name, value in given.items() if name not in lists}
    for kind in ("nodes", "class"):
        own = {name: list(value) for name, value in lists.items() if name.startswith(f"{kind}_")}  # type: ignore[call-overload]
        ids = own[f"{kind}_treeids"]
        rows: dict[int, list[int]] = {}
        for at, tree in enumerate(ids):
            rows.setdefault(tree, []).append(at)
        for name, values in own.items():
            found[name] = [
                number if name.endswith("treeids") else values[at] * _share(name, len(trees), count)
                for number in range(count)
                for at in rows[trees[number % len(trees)]]
            ]
    return found


def _share(name: str, there: int, count: int) -> float:
    return there / count if name == "class_weights" else 1
