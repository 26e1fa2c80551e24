"""A bundle whose model does nothing, for what the worker itself costs around a model.

Taking the model's time in a quiet loop off the worker's CPU in a drain would count as the worker's what the machine's
other work makes the model dearer by. So the drain is made again with a graph that gives the same rows for every event.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bench.stage import BUNDLES
from scorer.local.places import shipped


def bare_recommender(folder: Path) -> Path:
    """Makes the recommender's bundle with a bare graph: same inputs and outputs, ten constant items. Returns it."""
    bundle = folder / BUNDLES["login"]
    shutil.copytree(shipped("models") / BUNDLES["login"], bundle)
    path = bundle / "model.onnx"
    model = onnx.load(path)
    width = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    codes = [f"{10_000 + number}" for number in range(width)]
    scores = np.linspace(0.9, 0.1, width, dtype=np.float32)
    items, chances = (each.name for each in model.graph.output)
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.initializer.extend(
        [
            helper.make_tensor("codes_row", TensorProto.STRING, [1, width], [each.encode() for each in codes]),
            numpy_helper.from_array(scores[None], "scores_row"),
            numpy_helper.from_array(np.array([width]), "width"),
        ]
    )
    model.graph.node.extend(
        [
            helper.make_node("Shape", [model.graph.input[0].name], ["rows"], start=0, end=1),
            helper.make_node("Concat", ["rows", "width"], ["shape"], axis=0),
            helper.make_node("Expand", ["codes_row", "shape"], [items]),
            helper.make_node("Expand", ["scores_row", "shape"], [chances]),
        ]
    )
    onnx.save(model, path)
    _expect(bundle / "golden.jsonl", codes, [float(each) for each in scores])
    return bundle


def _expect(golden: Path, codes: list[str], scores: list[float]) -> None:
    rows = [json.loads(line) for line in golden.read_text("utf-8").splitlines()]
    expected = [{"product_code": code, "score": score} for code, score in zip(codes, scores, strict=True)]
    lines = [json.dumps({**row, "expect": {"items": expected}}) for row in rows if "expect" in row]
    golden.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
