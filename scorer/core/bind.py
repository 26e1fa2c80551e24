"""Binding a model's inputs to a writer schema, once per schema: from names and rules to slots in blocks.

A block holds all columns that go into one tensor type; a slot is one event field in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from operator import itemgetter
from typing import Any

import numpy as np

from scorer.core.columns import Field, Kind, bind_field
from scorer.core.contract import REJECT, InputRule
from scorer.core.packed import Array
from scorer.core.schema import WriterSchema
from scorer.core.signature import Interface


@dataclass(frozen=True, slots=True)
class Slot:
    """One event field that feeds one column: the field, its default (or REJECT), and its name for messages."""

    field: Field
    missing: Any
    label: str


@dataclass(frozen=True, slots=True)
class Block:
    """All columns of one tensor type.

    Attributes:
        dtype: the tensors' type.
        work: the type in which values are read and checked: float64, int64, bool or object.
        slots: the columns, in the order of the inputs.
        inputs: ONNX input, first and last slot (exclusive), and its axes after the batch.
        single: the inputs' names if each is one slot of shape [N, 1], as in most models: they are cut out at once.
        pick: takes the values of all slots from a record at once; None where one of them needs a closer look.
        fills: what stands for null in each slot; None where null is rejected.
        lowest, highest: [slots, 1], inclusive; the type's own finite bounds where the contract gives none.
    """

    dtype: np.dtype[Any]
    work: np.dtype[Any]
    slots: tuple[Slot, ...]
    inputs: tuple[tuple[str, int, int, tuple[int, ...]], ...]
    single: tuple[str, ...] | None
    lowest: Array
    highest: Array
    pick: Callable[[dict[str, Any]], tuple[Any, ...]] | None
    fills: tuple[Any, ...]

    @property
    def exact(self) -> bool:
        """Whether the tensor holds integers."""
        return self.work.kind == "i"

    @property
    def bounded(self) -> bool:
        """Whether the values are numbers, so that they have bounds."""
        return self.work.kind in "if"

    @property
    def text(self) -> bool:
        """Whether the values are texts."""
        return self.work.kind == "O"

    @property
    def filler(self) -> Any:
        """A value that stands where there is none."""
        return "" if self.text else self.work.type(0)


@dataclass(frozen=True, slots=True)
class Padded:
    """An array input, [N, length]: a block of one slot that describes its items."""

    name: str
    length: int
    pad: Any
    block: Block


@dataclass(frozen=True, slots=True)
class Binding:
    """How one writer schema feeds one model."""

    blocks: tuple[Block, ...]
    padded: tuple[Padded, ...]
    entity: Field
    event_id: Field
    occurred_at: Field


_WORK = {"f": np.dtype(np.float64), "i": np.dtype(np.int64), "b": np.dtype(np.bool_), "O": np.dtype(object)}
_TAKES = {
    "f": (Kind.WHOLE, Kind.NUMBER, Kind.BOOLEAN),
    "i": (Kind.WHOLE, Kind.NUMBER, Kind.BOOLEAN),
    "b": (Kind.BOOLEAN,),
    "O": (Kind.TEXT,),
}


@lru_cache(maxsize=1024)
def bind(interface: Interface, schema: WriterSchema) -> Binding | str:
    """Binds a model to a writer schema. Returns the binding, or for people why the two do not fit."""
    problems: list[str] = []
    rules: dict[str, list[tuple[InputRule, tuple[Slot, ...]]]] = {}
    padded: list[Padded] = []
    for rule in interface.contract.inputs:
        dtype = interface.inputs[rule.name].dtype
        slots = tuple(_slot(rule, path, dtype, schema, problems) for path in rule.fields)
        problems += _misfits(rule, dtype)
        if rule.length is not None:
            block = _block(dtype, [(rule, slots)], interface)
            padded.append(Padded(rule.name, rule.length, block.filler if rule.pad is None else rule.pad, block))
        else:
            rules.setdefault(dtype.str, []).append((rule, slots))
    blocks = [_block(interface.inputs[group[0][0].name].dtype, group, interface) for group in rules.values()]
    contract = interface.contract
    entity, event_id = (
        _own(path, schema, (Kind.TEXT, Kind.WHOLE), problems) for path in (contract.entity, contract.event_id)
    )
    occurred_at = _own(contract.occurred_at, schema, (Kind.WHOLE,), problems)
    if problems:
        return "; ".join(problems)
    return Binding(tuple(blocks), tuple(padded), entity, event_id, occurred_at)


def _slot(rule: InputRule, path: str, dtype: np.dtype[Any], schema: WriterSchema, problems: list[str]) -> Slot:
    field = bind_field(schema.root, path)
    if isinstance(field, str):
        problems.append(f"[inputs.{rule.name}] {field}")
        field = Field((path,), None)
    elif field.kind is not None:
        if field.array != (rule.length is not None):
            problems.append(f"[inputs.{rule.name}] {path} is {'' if field.array else 'not '}an array; length says so")
        if field.kind not in _TAKES[dtype.kind]:
            wanted = "string" if dtype.kind == "O" else str(dtype)
            problems.append(f"[inputs.{rule.name}] {path} is a {field.kind}, the model takes {wanted}")
    return Slot(field, rule.missing, path)


def _misfits(rule: InputRule, dtype: np.dtype[Any]) -> list[str]:
    """The rule's own values that the tensor cannot hold."""
    given = {"missing": None if rule.missing == REJECT else rule.missing, "pad": rule.pad}
    wanted = "string" if dtype.kind == "O" else str(dtype)
    found = [
        f"[inputs.{rule.name}] {key} = {value!r} does not fit a tensor of {wanted}"
        for key, value in given.items()
        if value is not None and not _fits(value, dtype)
    ]
    if rule.range is not None and dtype.kind not in "if":
        found.append(f"[inputs.{rule.name}] range is for numbers, the model takes {wanted}")
    return found


def _fits(value: Any, dtype: np.dtype[Any]) -> bool:
    if dtype.kind in "Ob":
        return isinstance(value, str if dtype.kind == "O" else bool)
    if isinstance(value, str):
        return False
    if dtype.kind == "i":
        whole = isinstance(value, int) or value.is_integer()
        return bool(whole and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max)
    return not float(np.finfo(dtype).max) < abs(value) < inf


def _own(path: str, schema: WriterSchema, kinds: tuple[Kind, ...], problems: list[str]) -> Field:
    """A field that identifies the event; it must be there in every version of the schema."""
    field = bind_field(schema.root, path)
    if isinstance(field, Field) and field.kind in kinds and not field.array:
        return field
    found = field if isinstance(field, str) else f"it is {'absent' if field.kind is None else f'a {field.kind}'}"
    problems.append(f"{path} must be a {' or a '.join(kinds)}: {found}")
    return Field((path,), None)


def _block(dtype: np.dtype[Any], group: list[tuple[InputRule, tuple[Slot, ...]]], interface: Interface) -> Block:
    slots: list[Slot] = []
    inputs: list[tuple[str, int, int, tuple[int, ...]]] = []
    bounds: list[tuple[float, float]] = []
    work = _WORK[dtype.kind]
    widest = _widest(work)
    for rule, own in group:
        rank = len(interface.inputs[rule.name].shape)
        inputs.append((rule.name, len(slots), len(slots) + len(own), (1,) * (rank - 1)))
        slots += own
        lowest, highest = rule.range or widest
        bounds += [(max(lowest, widest[0]), min(highest, widest[1]))] * len(own)
    limits = np.array(bounds, dtype=work if work.kind == "i" and all(b == widest for b in bounds) else np.float64)
    fills = tuple(None if slot.missing == REJECT else slot.missing for slot in slots)
    alike = all(stop - start == 1 and shape == (1,) for _, start, stop, shape in inputs)
    single = tuple(name for name, *_ in inputs) if alike else None
    return Block(
        dtype, work, tuple(slots), tuple(inputs), single, limits[:, :1], limits[:, 1:], _picker(slots, work), fills
    )


def _picker(slots: list[Slot], work: np.dtype[Any]) -> Callable[[dict[str, Any]], tuple[Any, ...]] | None:
    """Takes a block's values from a record, if all are plain fields of it that need no conversion of their own."""
    for slot in slots:
        field = slot.field
        if field.kind is None or field.array or len(field.path) > 1 or (work.kind == "i" and field.kind is Kind.NUMBER):
            return None
    names = [slot.field.path[0] for slot in slots]
    if len(names) > 1:
        return itemgetter(*names)
    return lambda record: (record[names[0]],)


def _widest(work: np.dtype[Any]) -> tuple[Any, Any]:
    if work.kind == "i":
        return np.iinfo(np.int64).min, np.iinfo(np.int64).max
    return np.finfo(np.float64).min, np.finfo(np.float64).max
