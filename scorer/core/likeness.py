"""Two predictions field by field: the same bits, within a tolerance, or different. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from math import copysign
from typing import Any

from scorer.core.contract import Contract, OutputRule

BUILD = ("scorer_version", "runtime", "cpu_class")
IGNORED = frozenset({"scored_at", "lane", *BUILD})
"""Fields that say in which run a prediction was made, and nothing of what it says."""


def differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the fields that count and are not bit for bit the same in both."""
    names = [*first, *(name for name in second if name not in first)]
    return tuple(
        name
        for name in names
        if name not in IGNORED and not (name in first and name in second and _same(first[name], second[name]))
    )


def within(own: Mapping[str, Any], again: Mapping[str, Any], names: tuple[str, ...], contract: Contract) -> bool:
    """Whether these fields differ by no more than the contract's tolerance; a bin is judged by its number."""
    rules = {rule.field: rule for rule in contract.outputs}
    most = contract.tolerance_relative
    for name in names:
        rule = rules.get(name)
        if rule is None or name not in own or name not in again:
            return False
        if rule.of:
            score = own.get(rule.of)
            fits = isinstance(score, (int, float)) and bin_of(rule, score) == own[name]
            if not fits or not _close(score, again.get(rule.of), most):
                return False
        elif not _close(own[name], again[name], most):
            return False
    return True


def bin_of(rule: OutputRule, score: float) -> str:
    """The label that a bins rule gives to a number."""
    return next((label for label, bound in rule.bins[:-1] if score >= bound), rule.bins[-1][0])


def _same(first: Any, second: Any) -> bool:
    if type(first) is not type(second):
        return False
    if isinstance(first, float):
        return first == second and copysign(1.0, first) == copysign(1.0, second)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(_same, first, second))
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(_same(value, second[name]) for name, value in first.items())
    return bool(first == second)


def _close(first: Any, second: Any, most: float) -> bool:
    if isinstance(first, float) and isinstance(second, float):
        return _distance(first, second) <= most
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(_close(a, b, most) for a, b in zip(first, second, strict=True))
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(_close(first[name], second[name], most) for name in first)
    return _same(first, second)


def _distance(first: float, second: float) -> float:
    largest = max(abs(first), abs(second))
    return abs(first - second) / largest if largest else 0.0


def size(own: Mapping[str, Any], again: Mapping[str, Any], names: tuple[str, ...]) -> float:
    """The largest relative difference of a number among these fields, 0 to 1 and beyond."""
    pairs = [(own.get(name), again.get(name)) for name in names]
    return max((_distance(a, b) for a, b in pairs if isinstance(a, float) and isinstance(b, float)), default=0.0)


def told(names: tuple[str, ...]) -> str:
    """For people."""
    return f"{', '.join(names)} {'differs' if len(names) == 1 else 'differ'}"
