"""Proof, before anything is served, that a contract fits its ONNX graph, the event's schemas and the prediction's.

Each problem names the exact input, output or field path and what to do. An empty list is the proof.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

import numpy as np

from scorer.core.bind import bind
from scorer.core.columns import Field, bind_field
from scorer.core.compose import PROVENANCE
from scorer.core.contract import REJECT, InputRule, OutputRule
from scorer.core.schema import Node, WriterSchema
from scorer.core.signature import Interface, Tensor

_AVRO_TAKES: Mapping[str, tuple[str, ...]] = {
    "f": ("float", "double"),
    "i": ("int", "long", "float", "double"),
    "b": ("boolean",),
    "O": ("string", "enum"),
}
_TIMES = ("source_timestamp", "occurred_at", "scored_at")
_NO_MOMENT = frozenset({"date", "time-millis", "time-micros"})
_MILLISECONDS = frozenset({"", "timestamp-millis", "local-timestamp-millis"})


def signature_problems(interface: Interface) -> list[str]:
    """Where the contract does not fit the ONNX graph."""
    contract = interface.contract
    fed = {rule.name for rule in contract.inputs}
    problems = [
        f"ONNX input {name} is fed by nothing; add [inputs.{name}]" for name in interface.inputs if name not in fed
    ]
    for rule in contract.inputs:
        tensor = interface.inputs.get(rule.name)
        if tensor is None:
            problems.append(f"[inputs.{rule.name}] is no ONNX input{_near(rule.name, interface.inputs)}")
        else:
            problems += [f"[inputs.{rule.name}] {problem}" for problem in _input_problems(rule, tensor)]
    for output in contract.outputs:
        problems += [f"[outputs.{output.field}] {problem}" for problem in _output_problems(output, interface)]
    return problems


def event_problems(interface: Interface, versions: Iterable[tuple[str, WriterSchema]]) -> list[str]:
    """Where the contract does not fit a version of the event's schema. Versions are (label, schema)."""
    problems = []
    for label, schema in versions:
        binding = bind(interface, schema)
        if isinstance(binding, str):
            problems.append(f"event schema {label}: {binding}")
        elif binding.occurred_at.logical in _NO_MOMENT:
            problems.append(
                f"event schema {label}: {interface.contract.occurred_at} is a {binding.occurred_at.logical}, "
                "must be a timestamp-millis, or another of Avro's timestamps"
            )
        needed = (path for rule in interface.contract.inputs if rule.missing == REJECT for path in rule.fields)
        problems += [
            f'event schema {label}: field {path} is absent and has no default (missing = "reject"), '
            "so every event of this version would be rejected"
            for path in needed
            if isinstance(field := bind_field(schema.root, path), Field) and field.kind is None
        ]
    return problems


def prediction_problems(interface: Interface, writer: WriterSchema) -> list[str]:
    """Where the prediction's schema lacks provenance, or has fields that nothing fills, or types that do not fit."""
    contract = interface.contract
    entity = contract.entity.rpartition(".")[2]
    wanted: dict[str, tuple[str, ...]] = {**PROVENANCE, entity: ("string",)}
    outputs = {rule.field: rule for rule in contract.outputs}
    problems = [
        f"prediction schema lacks the provenance field {name} ({' or '.join(kinds)})"
        for name, kinds in wanted.items()
        if writer.root.child(name) is None
    ]
    for name in outputs:
        if writer.root.child(name) is None:
            fields = [field for field, _ in writer.root.fields]
            problems.append(f"[outputs.{name}] is no field of the prediction schema{_near(name, fields)}")
        if name in wanted:
            problems.append(f"[outputs.{name}] would overwrite the provenance field of that name")
    for name, node in writer.root.fields:
        kinds, plain = wanted.get(name), _plain(node)
        if kinds is not None and plain.kind not in kinds:
            problems.append(f"prediction field {name} is of type {plain.kind}, must be {' or '.join(kinds)}")
        elif name in _TIMES and plain.logical not in _MILLISECONDS:
            problems.append(f"prediction field {name} is a {plain.logical}, must be a timestamp-millis")
        elif name in outputs:
            problems += _type_problems(outputs[name], plain, interface)
        elif kinds is None and not node.nullable:
            problems.append(f"prediction field {name} is filled by nothing and is not nullable; add [outputs.{name}]")
    return problems


def _input_problems(rule: InputRule, tensor: Tensor) -> list[str]:
    problems = []
    width = rule.length or (len(rule.fields) if rule.matrix else 1)
    if not tensor.shape:
        return ["has no shape in the ONNX file; export the model with one, [N, 1] or [N, k]"]
    if tensor.shape[0] is not None:
        problems.append(f"has a fixed batch axis {axes(tensor.shape)}; export the model with an open one")
    if len(tensor.shape) > 2 or (len(tensor.shape) == 2 and tensor.shape[1] not in (None, width)):
        problems.append(f"gives {width} column{'s' if width > 1 else ''}, the ONNX input is {axes(tensor.shape)}")
    if len(tensor.shape) == 1 and (rule.matrix or rule.length is not None):
        problems.append("gives a matrix, the ONNX input has one axis")
    text = tensor.dtype.kind == "O"
    if rule.missing != REJECT and isinstance(rule.missing, str) != text:
        problems.append(f"missing = {rule.missing!r} does not fit {'string' if text else tensor.dtype}")
    if rule.pad is not None and isinstance(rule.pad, str) != text:
        problems.append(f"pad = {rule.pad!r} does not fit {'string' if text else tensor.dtype}")
    if rule.range is not None and text:
        problems.append("range goes with numbers")
    return problems


def _output_problems(rule: OutputRule, interface: Interface) -> list[str]:
    problems = []
    for source in (rule.source, *(name for _, name in rule.each)):
        if source and source not in interface.outputs:
            problems.append(f"{source} is no ONNX output of a served type{_near(source, interface.outputs)}")
    if problems:
        return problems
    shapes = {name: interface.outputs[name].shape for name in (rule.source, *(name for _, name in rule.each)) if name}
    unshaped = [name for name, shape in shapes.items() if not shape]
    if unshaped:
        return [f"ONNX output {name} has no shape in the ONNX file; export the model with one" for name in unshaped]
    if rule.of:
        scored = next(other for other in interface.contract.outputs if other.field == rule.of)
        tensor = interface.outputs.get(scored.source)  # None is said already, of the output that it sorts
        if tensor is not None and tensor.dtype.kind not in "fi":
            problems.append(f"of = {rule.of!r} is no number, so it has no bins")
    if rule.source:
        shape = shapes[rule.source]
        if len(shape) > 2:
            problems.append(f"ONNX output {rule.source} is {axes(shape)}; served are [N] and [N, k]")
        elif rule.column is None and len(shape) == 2 and shape[1] not in (None, 1):
            problems.append(f"ONNX output {rule.source} is {axes(shape)}; say which column")
        elif rule.column is not None and (len(shape) == 1 or (shape[1] is not None and rule.column >= shape[1])):
            problems.append(f"column = {rule.column} is not in ONNX output {rule.source} of shape {axes(shape)}")
    flat = [f"{name} is {axes(shape)}" for name, shape in shapes.items() if rule.each and len(shape) != 2]
    widths = {shape[1] for shape in shapes.values() if rule.each and not flat and shape[1] is not None}
    if flat or len(widths) > 1:
        listed = flat or [f"{name} is {axes(shape)}" for name, shape in shapes.items()]
        problems.append(f"each needs ONNX outputs of one shape [N, k]; {', '.join(listed)}")
    return problems


def _type_problems(rule: OutputRule, node: Node, interface: Interface) -> list[str]:
    where = f"prediction field {rule.field}"
    if rule.bins:
        labels = [label for label, _ in rule.bins]
        if node.kind == "enum":
            return [f"{where} lacks the symbol {label}" for label in labels if label not in node.symbols]
        return [] if node.kind == "string" else [f"{where} is of type {node.kind}; bins give string or enum"]
    if rule.each:
        item = _plain(node.branches[0]) if node.kind == "array" else node
        if item.kind != "record" or node.kind != "array":
            return [f"{where} is of type {node.kind}; each gives an array of records"]
        subs = dict(rule.each)
        problems = [f"{where} has no sub-field {name}" for name in subs if item.child(name) is None]
        for name, child in item.fields:
            if name in subs:
                problems += _kind_problems(f"{where}.{name}", interface.outputs.get(subs[name]), child)
            elif not child.nullable:
                problems.append(f"{where}.{name} is filled by nothing and is not nullable")
        return problems
    return _kind_problems(where, interface.outputs.get(rule.source), node)


def _kind_problems(where: str, tensor: Tensor | None, node: Node) -> list[str]:
    if tensor is None:
        return []  # said already, of the signature
    takes = _AVRO_TAKES[tensor.dtype.kind]
    kind = _plain(node).kind
    if kind not in takes:
        return [f"{where} is of type {kind}; the ONNX output gives {' or '.join(takes)}"]
    if tensor.dtype == np.float64 and kind == "float":
        return [f"{where} is of type float; the ONNX output is double and would be rounded; make it double"]
    return []


def _plain(node: Node) -> Node:
    """The type besides null."""
    rest = [branch for branch in node.branches if branch.kind != "null"] if node.kind == "union" else [node]
    return rest[0] if len(rest) == 1 else node


def axes(shape: tuple[int | None, ...]) -> str:
    """A shape for people: [N, 4], with N for the batch and ? for another axis that is left open."""
    first = ["N" if axis is None else str(axis) for axis in shape[:1]]
    return f"[{', '.join([*first, *('?' if axis is None else str(axis) for axis in shape[1:])])}]"


def _near(word: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = get_close_matches(word, names, n=1)
    return f"; did you mean {close[0]}?" if close else f"; there are: {', '.join(names)}"
