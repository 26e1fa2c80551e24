"""Small ONNX graphs and bundles, made in the test that needs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from scorer.core.bundle import Bundle
from scorer.core.contract import parse_contract
from scorer.core.model import Model, load_model
from scorer.core.signature import Interface, Tensor

TYPES = {
    "float": TensorProto.FLOAT,
    "double": TensorProto.DOUBLE,
    "int64": TensorProto.INT64,
    "int32": TensorProto.INT32,
    "bool": TensorProto.BOOL,
    "string": TensorProto.STRING,
    "uint8": TensorProto.UINT8,
}
DTYPES: dict[str, Any] = {
    "float": np.float32,
    "double": np.float64,
    "int64": np.int64,
    "int32": np.int32,
    "bool": np.bool_,
    "string": object,
}

Ends = Mapping[str, tuple[str, Sequence[int | None]]]
"""Name to element type and shape."""

HEAD = 'name = "lead"\nversion = "1"\nentity = "lead_id"\nprediction = "predictions.lead-score"\n'


def graph(
    nodes: Sequence[tuple[str, Sequence[str], Sequence[str], dict[str, Any]]],
    inputs: Ends,
    outputs: Ends,
    constants: Mapping[str, Any] | None = None,
) -> bytes:
    """A serialised ONNX model; nodes are (operator, inputs, outputs, attributes), ml.NAME of the domain ai.onnx.ml."""
    made = helper.make_graph(
        [_node(*node) for node in nodes],
        "graph",
        [helper.make_tensor_value_info(name, TYPES[kind], list(shape)) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, TYPES[kind], list(shape)) for name, (kind, shape) in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    model = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)], ir_version=9
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def seen(tensor: Any) -> Any:
    """A tensor as a model sees it. Texts come in two ways (packed.py); the runtime itself says what they are."""
    if tensor.dtype.kind not in "OS":
        return tensor
    texts = tensor.reshape(-1)
    return _echo().run(None, {"x": texts})[0].reshape(tensor.shape)


@cache
def _echo() -> Any:
    ends: Ends = {"x": ("string", (None,))}
    return ort.InferenceSession(graph([("Identity", ["x"], ["y"], {})], ends, {"y": ends["x"]}))


def _node(kind: str, taken: Sequence[str], given: Sequence[str], attributes: dict[str, Any]) -> onnx.NodeProto:
    domain = "ai.onnx.ml" if kind.startswith("ml.") else ""
    return helper.make_node(kind.removeprefix("ml."), list(taken), list(given), domain=domain, **attributes)


def bundle_of(onnx_bytes: bytes, toml: str) -> Bundle:
    """A bundle with the usual first lines of a contract."""
    return Bundle("bundle", {"model.onnx": onnx_bytes, "model.toml": (HEAD + toml).encode(), "golden.jsonl": b""})


def model_of(onnx_bytes: bytes, toml: str) -> Model:
    """A loaded bundle."""
    return load_model(bundle_of(onnx_bytes, toml))


def interface_of(toml: str, inputs: Ends) -> Interface:
    """A contract and the signature of a graph that is not there; only for what does not run the model."""
    contract = parse_contract(HEAD + toml + '\n[outputs.score]\nfrom = "y"\n')
    ends = {name: Tensor(np.dtype(DTYPES[kind]), tuple(shape)) for name, (kind, shape) in inputs.items()}
    return Interface(contract, ends, {"y": Tensor(np.dtype(np.float32), (None, 1))})


def lookup(prices: Sequence[float], toml: str = "") -> Model:
    """A model that fails on an `item` outside -n to n-1: score = prices[item]."""
    onnx_bytes = graph(
        [("Gather", ("prices", "item"), ("price",), {"axis": 0})],
        {"item": ("int64", (None,))},
        {"price": ("float", (None,))},
        {"prices": np.array(prices, dtype=np.float32)},
    )
    return model_of(onnx_bytes, toml + '[inputs.item]\nfield = "item"\n[outputs.score]\nfrom = "price"\n')
