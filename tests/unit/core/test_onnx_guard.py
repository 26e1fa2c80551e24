"""What core/onnx_guard.py refuses, against files that the onnx package and ONNX Runtime made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from scorer.core import onnx_guard
from scorer.core.errors import ContractError
from scorer.core.onnx_guard import refuse_outside_data

FLOAT = TensorProto.FLOAT


def tensor(name: str = "W", outside: bool = False) -> TensorProto:
    made = numpy_helper.from_array(np.ones((4, 4), np.float32), name)
    if outside:
        made.ClearField("raw_data")
        made.data_location = TensorProto.EXTERNAL
        entry = made.external_data.add()
        entry.key, entry.value = "location", "weights.bin"
    return made


def graph(nodes: list[Any], *initialisers: TensorProto, **fields: Any) -> Any:
    ends = (helper.make_tensor_value_info(name, FLOAT, [None, 4]) for name in ("x", "y"))
    x, y = ends
    return helper.make_graph(nodes, "g", [x], [y], list(initialisers), **fields)


def model(of: Any, **fields: Any) -> bytes:
    return helper.make_model(
        of, opset_imports=[helper.make_opsetid("", 17)], ir_version=9, **fields
    ).SerializeToString()


def multiply() -> Any:
    return helper.make_node("MatMul", ["x", "W"], ["y"])


def constant(value: TensorProto) -> Any:
    return helper.make_node("Constant", [], ["W"], value=value)


def sparse(values: TensorProto, indices: TensorProto) -> Any:
    made = onnx.SparseTensorProto(dims=[4, 4])
    made.values.CopyFrom(values)
    made.indices.CopyFrom(indices)
    return made


def branches(inner: Any) -> Any:
    outer = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=graph([multiply()]))
    return graph([outer])


def function(nodes: list[Any]) -> Any:
    return helper.make_function("own", "F", ["x"], ["y"], nodes, [helper.make_opsetid("", 17)])


def outside_in_attribute_list() -> Any:
    node = multiply()
    attribute = node.attribute.add()
    attribute.name, attribute.type = "kept", onnx.AttributeProto.TENSORS
    attribute.floats.extend([1.0] * 1000)
    attribute.ints.extend([1, 300, -1] * 100)
    attribute.tensors.append(tensor("in", outside=False))
    attribute.tensors.append(tensor("far", outside=True))
    return node


def with_default_of_function() -> bytes:
    made = function([multiply()])
    attribute = made.attribute_proto.add()
    attribute.name, attribute.type = "w", onnx.AttributeProto.TENSOR
    attribute.t.CopyFrom(tensor("far", outside=True))
    return model(graph([multiply()], tensor()), functions=[made])


def with_training_graph() -> bytes:
    made = onnx.ModelProto.FromString(model(graph([multiply()], tensor())))
    made.training_info.add().algorithm.CopyFrom(graph([multiply()], tensor("far", outside=True)))
    return made.SerializeToString()


def far() -> TensorProto:
    return tensor("far", outside=True)


OUTSIDE = {
    "an initialiser": lambda: model(graph([multiply()], tensor(), far())),
    "the values of a sparse initialiser": lambda: model(
        graph([multiply()], sparse_initializer=[sparse(far(), tensor())])
    ),
    "the indices of a sparse initialiser": lambda: model(
        graph([multiply()], sparse_initializer=[sparse(tensor(), far())])
    ),
    "an attribute": lambda: model(graph([constant(far()), multiply()])),
    "an attribute's list, behind its numbers": lambda: model(graph([outside_in_attribute_list()])),
    "a sparse attribute": lambda: model(
        graph([helper.make_node("Constant", [], ["W"], sparse_value=sparse(far(), tensor())), multiply()])
    ),
    "a subgraph": lambda: model(branches(graph([multiply()], far()))),
    "a subgraph's subgraph": lambda: model(branches(branches(graph([constant(far()), multiply()])))),
    "a function's body": lambda: model(graph([multiply()], tensor()), functions=[function([constant(far())])]),
    "a function's default": with_default_of_function,
    "a training graph": with_training_graph,
}


@pytest.mark.parametrize("place", OUTSIDE)
def test_data_outside_the_file_is_refused_with_the_tensors_name_in(place: str) -> None:
    with pytest.raises(ContractError, match="bundle: tensor 'far' keeps its data in another file"):
        refuse_outside_data(OUTSIDE[place](), "bundle")


def test_models_with_all_data_inside_pass() -> None:
    held = [
        model(graph([multiply()], tensor())),
        model(graph([constant(tensor()), multiply()])),
        model(branches(graph([multiply()], tensor()))),
        model(graph([multiply()], sparse_initializer=[sparse(tensor(), tensor())])),
        model(graph([multiply()], tensor()), functions=[function([constant(tensor())])]),
    ]
    for onnx_bytes in held:
        refuse_outside_data(onnx_bytes, "bundle")


def test_a_model_that_the_runtime_would_fill_from_the_current_directory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = onnx.ModelProto.FromString(model(graph([multiply()], tensor())))
    onnx.save_model(made, tmp_path / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    onnx_bytes = (tmp_path / "model.onnx").read_bytes()
    monkeypatch.chdir(tmp_path)
    session = ort.InferenceSession(onnx_bytes, providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.ones((1, 4), np.float32)})[0].tolist() == [[4.0] * 4]  # why the guard is there
    with pytest.raises(ContractError, match="'W' keeps its data"):
        refuse_outside_data(onnx_bytes, "bundle")


def test_the_runtimes_own_format_is_refused_as_it_may_keep_data_outside_too(tmp_path: Path) -> None:
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "model.ort")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.add_session_config_entry("session.save_model_format", "ORT")
    ort.InferenceSession(model(graph([multiply()], tensor())), options, providers=["CPUExecutionProvider"])
    with pytest.raises(ContractError, match="own format"):
        refuse_outside_data((tmp_path / "model.ort").read_bytes(), "bundle")


def framed(*path: int, body: bytes) -> bytes:
    """A message inside fields of these numbers, outermost first."""
    for number in reversed(path):
        body = bytes([number << 3 | 2, len(body)]) + body
    return body


HIDDEN = {
    "a tag of two bytes": b"\xf0\x00\x01",
    "a value of many bytes": b"\x70\x81\x80\x80\x80\x00",
    "a value that counts modulo 2**32": b"\x70\x81\x80\x80\x80\x10",
    "a second value behind a harmless one": b"\x70\x00\x70\x01",
    "a key without a location": b"\x6a\x00",
}


@pytest.mark.parametrize("way", HIDDEN)
def test_an_unusual_encoding_does_not_hide_outside_data(way: str) -> None:
    hidden = framed(7, 5, body=HIDDEN[way])
    assert len(onnx.ModelProto.FromString(hidden).graph.initializer) == 1  # a valid file for other parsers
    with pytest.raises(ContractError, match="keeps its data"):
        refuse_outside_data(hidden, "bundle")


@pytest.mark.parametrize(
    "broken",
    [
        b"\x3a\x05\x00",
        b"\x3a",
        b"\xff" * 12,
        b"\x00\x00",
        b"\x0b\x0c",
        framed(7, 5, body=b"\xf0\x80\x80\x80\x10\x01"),
        b"\x3d\x00",
    ],
    ids=["length", "tag alone", "endless integer", "field 0", "group", "tag beyond 32 bits", "short number"],
)
def test_bytes_that_parsers_may_read_differently_are_refused(broken: bytes) -> None:
    with pytest.raises(ContractError, match="no valid ONNX file"):
        refuse_outside_data(broken, "bundle")


def test_a_location_that_says_inside_passes() -> None:
    for inside in (b"\x70\x00", b"\x70\x80\x80\x00"):
        refuse_outside_data(framed(7, 5, body=inside), "bundle")


def test_every_way_from_a_model_to_a_tensor_is_walked() -> None:
    ways: dict[str, dict[int, str]] = {}

    def leads_to_tensor(kind: Any, above: tuple[str, ...] = ()) -> bool:
        if kind.name == "TensorProto":
            ways["TensorProto"] = {}
            return True
        if kind.name in above:
            return False
        found = [f for f in kind.fields if f.message_type and leads_to_tensor(f.message_type, (*above, kind.name))]
        for each in found:
            ways.setdefault(kind.name, {})[each.number] = each.message_type.name
        return bool(found)

    leads_to_tensor(onnx.ModelProto.DESCRIPTOR)
    ways["AttributeProto"] |= {6: "GraphProto", 11: "GraphProto"}  # the two ways that lead back up
    assert ways == onnx_guard._CHILDREN
