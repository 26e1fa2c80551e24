"""A contract with its graph, its event and its prediction, all of which fit; tests change one thing at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from scorer.core.compose import PROVENANCE
from scorer.core.contract import parse_contract
from scorer.core.schema import WriterSchema, writer_schema
from scorer.core.signature import Interface, Tensor
from tests.unit.core.graphs import DTYPES, HEAD

TOML = """
[inputs.age]
field = "age"
range = [0, 130]
[inputs.job]
field = "job"
missing = "unknown"
[inputs.matrix]
fields = ["a", "deep.b"]
missing = 0.0
[inputs.codes]
field = "codes"
length = 3
pad = ""
[outputs.score]
from = "probabilities"
column = 1
[outputs.bucket]
of = "score"
bins = { A = 0.5, B = 0.0 }
[outputs.items]
each = { code = "items", score = "scores" }
"""
Ends = Mapping[str, tuple[str, tuple[int | None, ...]] | None]
INPUTS: Ends = {
    "age": ("float", (None, 1)),
    "job": ("string", (None, 1)),
    "matrix": ("float", (None, 2)),
    "codes": ("string", (None, 3)),
}
OUTPUTS: Ends = {
    "label": ("int64", (None,)),
    "probabilities": ("float", (None, 2)),
    "items": ("string", (None, 5)),
    "scores": ("float", (None, 5)),
}
EVENT: Mapping[str, Any] = {
    "event_id": "string",
    "lead_id": "string",
    "occurred_at": {"type": "long", "logicalType": "timestamp-millis"},
    "age": "int",
    "job": ["null", "string"],
    "a": "double",
    "deep": {"type": "record", "name": "Deep", "fields": [{"name": "b", "type": "float"}]},
    "codes": {"type": "array", "items": "string"},
}
ITEM = {
    "type": "record",
    "name": "Item",
    "fields": [{"name": "code", "type": "string"}, {"name": "score", "type": "float"}],
}
PREDICTION: Mapping[str, Any] = {
    **{name: kinds[0] for name, kinds in PROVENANCE.items()},
    "lead_id": "string",
    "score": "float",
    "bucket": {"type": "enum", "name": "Bucket", "symbols": ["A", "B"]},
    "items": {"type": "array", "items": ITEM},
}


def interface(*changes: tuple[str, str], inputs: Ends | None = None, outputs: Ends | None = None) -> Interface:
    """The contract with some texts in the place of others, and the signature with some ends changed; None removes."""
    toml = TOML
    for old, new in changes:
        assert toml.count(old) == 1, old
        toml = toml.replace(old, new)
    taken, given = ({**usual, **(other or {})} for usual, other in ((INPUTS, inputs), (OUTPUTS, outputs)))
    return Interface(parse_contract(HEAD + toml), _tensors(taken), _tensors(given))


def _tensors(ends: Ends) -> dict[str, Tensor]:
    return {name: Tensor(np.dtype(DTYPES[end[0]]), end[1]) for name, end in ends.items() if end is not None}


def record(usual: Mapping[str, Any], changed: Mapping[str, Any], schema_id: int = 1) -> WriterSchema:
    """A schema with some fields of another type; None removes."""
    fields = [{"name": name, "type": kind} for name, kind in {**usual, **changed}.items() if kind is not None]
    return writer_schema(schema_id, json.dumps({"type": "record", "name": "R", "fields": fields}))
