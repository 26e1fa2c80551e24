"""What happens to one event on its way through a bundle: defaults, tensors, outputs, rules. Pure; for people.

The steps are the hot path's own (decode, assemble, predict): nothing is worked out a second way but the list of
defaults, which names what the contract put in the place of absent fields and nulls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scorer.core.assemble import assemble
from scorer.core.contract import REJECT, Contract
from scorer.core.decode import decode
from scorer.core.model import Model, predict
from scorer.core.packed import as_type
from scorer.core.records import RecordBatch
from scorer.core.schema import WriterSchema
from scorer.core.wire import Frames


@dataclass(frozen=True, slots=True)
class Default:
    """What the contract put in the place of a field.

    Attributes:
        input: the ONNX input.
        field: the event's field path; "" for the padding of an array.
        why: absent, null, padded or cut.
        value: what the model saw; for an array how many items it was given.
    """

    input: str
    field: str
    why: str
    value: Any


@dataclass(frozen=True, slots=True)
class Inside:
    """One event in the model.

    Attributes:
        tensors: ONNX input to what the model saw of this event, as lists.
        dtypes: ONNX input to its type.
        outputs: ONNX output to what it gave.
        rejected: why there is no output; "" if there is.
    """

    tensors: Mapping[str, Any]
    dtypes: Mapping[str, str]
    outputs: Mapping[str, Any]
    rejected: str


def defaults(contract: Contract, record: Mapping[str, Any]) -> list[Default]:
    """What of a decoded event the contract filled, padded or cut, in the order of the contract."""
    found = []
    for rule in contract.inputs:
        for path in rule.fields:
            why, value = _at(record, path)
            if rule.length is not None and isinstance(value, (list, tuple)):
                if len(value) != rule.length:
                    found.append(Default(rule.name, path, "padded" if len(value) < rule.length else "cut", len(value)))
            elif why and rule.missing != REJECT:
                found.append(Default(rule.name, path, why, rule.missing))
    return found


def inside(batch: RecordBatch, frames: Frames, schemas: Mapping[int, WriterSchema | str], model: Model) -> Inside:
    """A batch of one event as the model sees it."""
    events, undecodable = decode(batch, frames, schemas)
    features, incomplete = assemble(events, batch, model.interface)
    seen = {name: as_type(tensor, np.dtype(object)) for name, tensor in features.tensors.items()}
    tensors = {name: tensor[0].tolist() for name, tensor in seen.items() if len(tensor)}
    dtypes = {name: "string" if tensor.dtype == object else str(tensor.dtype) for name, tensor in seen.items()}
    rejections = [*undecodable, *incomplete]
    outputs: dict[str, Any] = {}
    if not rejections and len(features):
        given, kept, rejections = predict(model, features.tensors, features.rows)
        outputs = {name: array[0].tolist() for name, array in given.items() if len(kept)}
    why = "; ".join(f"{each.stage}, {each.reason}: {each.detail}" for each in rejections)
    return Inside(tensors, dtypes, outputs, why or ("" if outputs else "it is a tombstone"))


def _at(record: Mapping[str, Any], path: str) -> tuple[str, Any]:
    """Why there is nothing at a path ("" if there is something), and what there is."""
    value: Any = record
    for name in path.split("."):
        if not isinstance(value, Mapping):
            return "null", None
        if name not in value:
            return "absent", None
        value = value[name]
    return ("null" if value is None else ""), value
