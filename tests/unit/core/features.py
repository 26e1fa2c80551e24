"""Events of one field `a`, fed to a model of one input `x`: what most rules of assembling are about."""

from __future__ import annotations

from typing import Any

import pytest

from scorer.core.assemble import assemble
from scorer.core.features import Features
from scorer.core.records import Rejection
from scorer.core.signature import Interface
from tests.unit.core.batches import (
    WAYS,
    Way,
    event,
    event_schema,
    events_of,
    reasons,
)
from tests.unit.core.graphs import interface_of, seen

both_ways = pytest.mark.parametrize("way", WAYS)

ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}
NAN, INF = float("nan"), float("inf")


def assembled(
    way: Way, interface: Interface, kind: Any, values: list[Any], **more: Any
) -> tuple[Features, list[Rejection]]:
    """Events whose field a has these values."""
    schema = event_schema(("a", kind))
    events, batch = events_of(schema, [event(at, a=value, **more) for at, value in enumerate(values)], way)
    return assemble([events], batch, interface)


def one(tensor: str, rules: str = "", shape: tuple[int | None, ...] = (None, 1)) -> Interface:
    """A model of one input x, fed by field a."""
    return interface_of(f'[inputs.x]\nfield = "a"\n{rules}', {"x": (tensor, shape)})


def fed(way: Way, interface: Interface, kind: Any, values: list[Any]) -> tuple[list[Any], dict[int, str]]:
    """The tensor x of what was accepted, as a flat list, and the reasons of what was not."""
    features, rejections = assembled(way, interface, kind, values)
    assert len(features) + len(rejections) == len(values)
    return seen(features.tensors["x"]).reshape(-1).tolist(), reasons(rejections)


def array(kind: Any) -> Any:
    return {"type": "array", "items": kind}
