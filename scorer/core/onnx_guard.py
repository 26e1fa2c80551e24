"""Refuses ONNX files that reach outside themselves, before ONNX Runtime sees them.

A tensor may keep its data in another file. ONNX Runtime 1.32 then reads any file of the current directory, also for a
model that is loaded from bytes, so the model would not be what was hashed. This walks the protobuf wire format down to
every TensorProto (initialisers, sparse ones, attributes, subgraphs, functions, training graphs) and refuses any that
names a place for its data. It needs no `onnx` package and copies no tensor. Where parsers may differ it refuses the
file: groups, tags beyond 32 bits, lengths that do not fit.

Source: onnx/onnx-ml.proto of ONNX 1.23; the protobuf encoding guide.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from scorer.core.errors import ContractError

_CHILDREN: Mapping[str, Mapping[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
}
"""Field number to message type, for every field on a way from the model to a tensor."""

_TENSOR_NAME, _EXTERNAL_DATA, _DATA_LOCATION = 8, 13, 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_VARINT_BYTES_MAX = 10
_TAG_MAX = 2**32 - 1
_NAME_BYTES_SHOWN = 200
_ORT_FORMAT = b"ORTM"

_RUN = re.compile(rb"(?:\x3d.{4})++|(?:\x40[\x80-\xff]*+[\x00-\x7f])++", re.DOTALL)
"""Repeated floats (field 7) or ints (field 8) of an attribute; tree ensembles have them by the hundred thousand."""


def refuse_outside_data(onnx: bytes, place: str) -> None:
    """Checks that a model has all its data in itself.

    Args:
        onnx: the file.
        place: where it came from, for messages.

    Raises:
        ContractError: a tensor's data is elsewhere (the tensor is named), or the bytes are no ONNX protobuf.
    """
    if onnx[4:8] == _ORT_FORMAT:
        raise ContractError(f"{place} is in ONNX Runtime's own format; only ONNX files are served")
    pending = [("ModelProto", 0, len(onnx))]
    try:
        while pending:
            kind, start, end = pending.pop()
            if kind == "TensorProto":
                _check_tensor(onnx, start, end, place)
                continue
            children = _CHILDREN[kind]
            for number, wire, at, after in _fields(onnx, start, end, skip_runs=kind == "AttributeProto"):
                if number in children and wire == _BYTES:
                    pending.append((children[number], at, after))
    except ValueError as error:
        raise ContractError(f"{place} is no valid ONNX file: {error}") from error


def _check_tensor(onnx: bytes, start: int, end: int, place: str) -> None:
    name, outside = "", False
    for number, wire, at, after in _fields(onnx, start, end, skip_runs=False):
        if number == _TENSOR_NAME and wire == _BYTES:
            name = onnx[at : min(after, at + _NAME_BYTES_SHOWN)].decode(errors="replace")
        elif number == _EXTERNAL_DATA or (number == _DATA_LOCATION and onnx[at:after].strip(b"\x80") != b"\x00"):
            outside = True
    if outside:
        raise ContractError(
            f"{place}: tensor {name!r} keeps its data in another file; save the model with all data in one file"
        )


def _fields(onnx: bytes, start: int, end: int, skip_runs: bool) -> Iterator[tuple[int, int, int, int]]:
    """Each field of a message: number, wire type, and where its value starts and ends."""
    at = start
    while at < end:
        if skip_runs and onnx[at] in b"\x3d\x40" and (run := _RUN.match(onnx, at, end)) is not None:
            at = run.end()
            continue
        tag, at = _varint(onnx, at, end)
        number, wire = tag >> 3, tag & 7
        if wire == _BYTES:
            length, at = _varint(onnx, at, end)
            after = at + length
        elif wire == _VARINT:
            _, after = _varint(onnx, at, end)
        elif wire in (_FIXED32, _FIXED64):
            after = at + (4 if wire == _FIXED32 else 8)
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if number == 0 or tag > _TAG_MAX or after > end:
            raise ValueError(f"field {number} at byte {at} does not fit")
        yield number, wire, at, after
        at = after


def _varint(onnx: bytes, at: int, end: int) -> tuple[int, int]:
    """An integer and where it ends."""
    value = shift = 0
    for position in range(at, min(end, at + _VARINT_BYTES_MAX)):
        byte = onnx[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position + 1
        shift += 7
    raise ValueError(f"an integer at byte {at} does not end")
