"""A tiny model and its events in a folder, as somebody has them who starts with an ONNX file and a schema."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Visit",
    "fields": [
        {"name": "event_id", "type": "string"},
        {"name": "customer_id", "type": "string"},
        {"name": "occurred_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "age", "type": "int"},
        {"name": "spent", "type": ["null", "double"], "default": None},
        {"name": "country", "type": "string"},
    ],
}


def onnx_bytes() -> bytes:
    """probabilities = [1 - p, p] with p = sigmoid(age / 100 + spent / 1000 + 0.25 for NL - 1)."""
    known = {"keys_strings": ["NL"], "values_floats": [0.25], "default_float": 0.0}
    nodes = [
        helper.make_node("Mul", ["age", "per_year"], ["by_age"]),
        helper.make_node("Mul", ["spent", "per_pound"], ["by_spent"]),
        helper.make_node("LabelEncoder", ["country"], ["by_country"], domain="ai.onnx.ml", **known),
        helper.make_node("Sum", ["by_age", "by_spent", "by_country", "bias"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["p"]),
        helper.make_node("Sub", ["one", "p"], ["q"]),
        helper.make_node("Concat", ["q", "p"], ["probabilities"], axis=1),
    ]
    inputs = {"age": TensorProto.FLOAT, "spent": TensorProto.FLOAT, "country": TensorProto.STRING}
    constants = {"per_year": 0.01, "per_pound": 0.001, "bias": -1.0, "one": 1.0}
    made = helper.make_graph(
        nodes,
        "churn",
        [helper.make_tensor_value_info(name, kind, [None, 1]) for name, kind in inputs.items()],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2])],
        [numpy_helper.from_array(np.array([value], np.float32), name) for name, value in constants.items()],
    )
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return bytes(helper.make_model(made, opset_imports=versions, ir_version=9).SerializeToString())


def visit(number: int, **fields: Any) -> dict[str, Any]:
    usual = {"age": 20 + 7 * number, "spent": 10.5 * number, "country": ("NL", "UK", "")[number % 3]}
    return {"event_id": f"e{number}", "customer_id": f"c{number}", "occurred_at": 1_700_000_000_000, **usual, **fields}


def lines(events: Sequence[Any]) -> str:
    return "".join(f"{json.dumps(event)}\n" for event in events)


def write_files(folder: Path) -> None:
    """churn.onnx, events.visit.avsc and visits.jsonl."""
    (folder / "churn.onnx").write_bytes(onnx_bytes())
    (folder / "events.visit.avsc").write_text(json.dumps(SCHEMA))
    (folder / "visits.jsonl").write_text(lines([visit(number) for number in range(6)]))
