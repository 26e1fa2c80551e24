"""An ONNX model in memory, and running it on a batch. One bad row never costs its neighbours.

One intra-op thread, sequential, no spinning: the same bits whatever the batch-mates (proof.py tests it for each model),
and a core is busy only while there is work. Scale by processes and partitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort

from scorer.core.bundle import Bundle
from scorer.core.contract import Contract
from scorer.core.errors import ContractError
from scorer.core.packed import Array
from scorer.core.records import Rejection, Rows, Stage
from scorer.core.signature import DTYPES, Interface, Tensor

ONNX_BYTES_MAX = 1 << 30
AXES_MAX = 2
RUN_ROWS_MAX = 512
"""Rows in one call of the runtime. More do not make a row cheaper (a lead 1.5 us at 256 as at 4,000 rows, a login 15 us
from 32 on), while the graph's intermediate results grow with them: 60 MB for 4,000 logins."""
RUNTIME = f"onnxruntime {ort.__version__}"


@dataclass(frozen=True, eq=False)
class Model:
    """A loaded bundle.

    Attributes:
        bundle: its files and identity.
        interface: contract and signature.
        session: ONNX Runtime's session.
        wanted: the ONNX outputs that the contract uses.
    """

    bundle: Bundle
    interface: Interface
    session: Any
    wanted: tuple[str, ...]

    @property
    def contract(self) -> Contract:
        """The bundle's contract."""
        return self.interface.contract


def load_model(bundle: Bundle) -> Model:
    """Loads a bundle from its bytes. Whether contract and graph fit each other is proved in proof.py.

    Raises:
        ContractError: the contract is wrong, or the ONNX file is too large, broken, or takes what is not served.
    """
    session = _session(bundle.files["model.onnx"], bundle.place)
    inputs, outputs = _ends(session, bundle.place)
    return Model(bundle, Interface(bundle.contract, inputs, outputs), session, _wanted(bundle.contract))


def signature(onnx: bytes, place: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What a graph takes and gives, by name; outputs of types that are not served are left out.

    Raises:
        ContractError: the file is too large, broken, or takes what is not served.
    """
    return _ends(_session(onnx, place), place)


def unserved(onnx: bytes, place: str) -> dict[str, str]:
    """Output to why nothing can be made of it, for people. A draft that passed them over in silence looked whole.

    Raises:
        ContractError: the file is too large or broken.
    """
    found = {}
    for each in _session(onnx, place).get_outputs():
        if "map(" in each.type:
            found[each.name] = (
                f"is {each.type}: export probabilities as a tensor (skl2onnx: options={{'zipmap': False}})"
            )
        elif each.type not in DTYPES:
            found[each.name] = f"is {each.type}: served are {', '.join(DTYPES)}"
        elif len(each.shape) > AXES_MAX:
            found[each.name] = f"has {len(each.shape)} axes: served are {AXES_MAX} at most"
    return found


def _session(onnx: bytes, place: str) -> Any:
    if len(onnx) > ONNX_BYTES_MAX:
        raise ContractError(f"{place}: model.onnx has {len(onnx)} bytes, more than {ONNX_BYTES_MAX}")
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False  # the arena only grows, and batch sizes vary
    options.log_severity_level = 4  # its error lines quote values of the payload; the exception tells us enough
    try:
        return ort.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ContractError(f"{place}: model.onnx cannot be loaded: {error}") from error


def _ends(session: Any, place: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    inputs = {each.name: _tensor(each, place) for each in session.get_inputs()}
    return inputs, {each.name: _tensor(each, place) for each in session.get_outputs() if each.type in DTYPES}


def predict(model: Model, tensors: Mapping[str, Array], rows: Rows) -> tuple[dict[str, Array], Rows, list[Rejection]]:
    """Runs the model on n rows.

    Args:
        model: the loaded bundle.
        tensors: ONNX input to array, first axis n.
        rows: the rows of the RecordBatch, for rejections.

    Returns:
        ONNX output to array; the indices (0 to n) of the rows that went well; the rejections of the others.
    """
    n = len(rows)
    if n == 0:
        return {name: _empty(model, name) for name in model.wanted}, np.arange(0), []
    good: list[Array] = []
    pieces: list[dict[str, Array]] = []
    rejections: list[Rejection] = []
    size = 1 if model.contract.one_by_one else RUN_ROWS_MAX
    pending = [range(at, min(at + size, n)) for at in range(0, n, size)][::-1]
    while pending:
        part = pending.pop()
        try:
            pieces.append(_run(model, _rows(tensors, part) if len(part) < n else tensors, len(part)))
            good.append(np.arange(part.start, part.stop))
        except Exception as error:  # ONNX Runtime's own errors share no base class; messages may quote the payload
            if len(part) > 1:  # isolate the bad rows by halves, the first half first
                middle = len(part) // 2
                pending += [part[middle:], part[:middle]]
            else:
                rejections.append(Rejection(int(rows[part.start]), Stage.INFER, "model_failed", type(error).__name__))
    if not pieces:
        return {name: _empty(model, name) for name in model.wanted}, np.arange(0), rejections
    outputs = pieces[0] if len(pieces) == 1 else _joined(pieces)
    return _finite(outputs, np.concatenate(good), rows, rejections)


def _run(model: Model, tensors: Mapping[str, Array], n: int) -> dict[str, Array]:
    found = model.session.run(list(model.wanted), dict(tensors))
    outputs = dict(zip(model.wanted, found, strict=True))
    for name, array in outputs.items():
        if array.shape[:1] != (n,):
            raise ValueError(f"output {name} has shape {array.shape} for {n} rows")
    return outputs


def _empty(model: Model, name: str) -> Array:
    """No rows of an output, with its type and its other axes."""
    tensor = model.interface.outputs[name]
    return np.empty((0, *(axis or 0 for axis in tensor.shape[1:])), dtype=tensor.dtype)


def _rows(tensors: Mapping[str, Array], part: range) -> dict[str, Array]:
    return {name: tensor[part.start : part.stop] for name, tensor in tensors.items()}


def _subset(tensors: Mapping[str, Array], indices: Rows) -> dict[str, Array]:
    return {name: tensor[indices] for name, tensor in tensors.items()}


def _joined(pieces: list[dict[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def _finite(
    outputs: dict[str, Array], kept: Rows, rows: Rows, rejections: list[Rejection]
) -> tuple[dict[str, Array], Rows, list[Rejection]]:
    """Rejects rows in which an output that is used is NaN or infinite."""
    bad: dict[int, str] = {}
    for name, array in outputs.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
            for at in np.flatnonzero(~finite).tolist():
                bad.setdefault(at, name)
    if not bad:
        return outputs, kept, rejections
    for at, name in sorted(bad.items()):
        detail = f"output {name} is NaN or infinite"
        rejections.append(Rejection(int(rows[kept[at]]), Stage.INFER, "non_finite", detail))
    stay = np.array([at for at in range(len(kept)) if at not in bad], dtype=np.intp)
    return _subset(outputs, stay), kept[stay], rejections


def _tensor(end: Any, place: str) -> Tensor:
    if end.type not in DTYPES:
        raise ContractError(f"{place}: ONNX {end.name} is {end.type}; served are {', '.join(DTYPES)}")
    return Tensor(DTYPES[end.type], tuple(axis if isinstance(axis, int) else None for axis in end.shape))


def _wanted(contract: Contract) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for rule in contract.outputs:
        for name in (rule.source, *(source for _, source in rule.each)):
            if name:
                names[name] = None
    return tuple(names)
