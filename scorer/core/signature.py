"""What an ONNX graph takes and gives, and the contract that goes with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scorer.core.contract import Contract

DTYPES: Mapping[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(double)": np.dtype(np.float64),
    "tensor(int64)": np.dtype(np.int64),
    "tensor(int32)": np.dtype(np.int32),
    "tensor(bool)": np.dtype(np.bool_),
    "tensor(string)": np.dtype(object),
}
"""ONNX Runtime's names of the tensor types that the scorer serves. Strings travel as Python objects."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One end of a graph.

    Attributes:
        dtype: numpy's type; object for strings.
        shape: axes; None for one that the graph leaves open (the first one is the batch).
    """

    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]


@dataclass(frozen=True, eq=False)
class Interface:
    """A contract and the graph's inputs and outputs. Compared and hashed by identity."""

    contract: Contract
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
