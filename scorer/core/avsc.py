"""Schemas as the JSON that they are written in: what of it counts, and what is demanded where fastavro is too lax."""

from __future__ import annotations

from typing import Any, TypeGuard

from scorer.core.errors import ContractError

_LAYOUT = ("type", "name", "namespace", "fields", "symbols", "size", "items", "values", "default")


def bare(raw: Any) -> Any:
    """The schema's layout and defaults, and nothing else that could change a value or that a parser trips over."""
    if isinstance(raw, list):
        return [bare(branch) for branch in raw]
    if not isinstance(raw, dict):
        return raw
    kept = {key: raw[key] for key in _LAYOUT if key in raw}
    for key in ("type", "items", "values", "fields"):
        if key in kept:
            kept[key] = bare(kept[key])
    if kept.get("type") == "error":  # a record by another name, which pyruhvro does not know
        kept["type"] = "record"
    return kept


def full_name(raw: dict[str, Any], namespace: str) -> tuple[str, str]:
    """The full name of a named type, and the namespace for what it contains."""
    name = str(raw["name"])
    space = name.rpartition(".")[0] if "." in name else str(raw.get("namespace", namespace) or "")
    short = name.rpartition(".")[2]
    return (f"{space}.{short}" if space else short), space


def field_names(fields: Any, record: str) -> tuple[str, ...]:
    """A record's, in order. Raises ContractError."""
    if not isinstance(fields, list) or not _are_texts(names := [f["name"] for f in fields]):
        raise ContractError(f"has a record {record} whose fields are no list of named fields")
    if len(set(names)) < len(names):
        raise ContractError(f"has a record {record} with two fields of one name")
    return tuple(names)


def symbols_of(symbols: Any, enum: str) -> tuple[str, ...]:
    """An enum's, in order. Raises ContractError."""
    if not isinstance(symbols, list) or not _are_texts(symbols):
        raise ContractError(f"has an enum {enum} whose symbols are no list of names")
    return tuple(symbols)


def size_of(size: Any, fixed: str) -> int:
    """A fixed's, in bytes. Raises ContractError."""
    if type(size) is not int or size < 0:
        raise ContractError(f"has a fixed {fixed} whose size is no whole number of bytes")
    return size


def _are_texts(values: list[Any]) -> TypeGuard[list[str]]:
    return all(isinstance(value, str) for value in values)
