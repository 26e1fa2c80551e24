"""From single values to checked Settings, and from the models' complaints to messages that name key and origin."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from scorer.cli.keys import Target
from scorer.cli.nearest import did_you_mean
from scorer.cli.settings import Settings
from scorer.core.errors import ConfigError

_FOLLOWING = frozenset({"default_factory_not_called"})
"""Complaints that only follow from another one."""

_OPENING = re.compile(r"^(Value error, |Input |String |Value )")


@dataclass(frozen=True, slots=True)
class Leaf:
    """One setting's value.

    Attributes:
        target: the setting.
        value: as the models take it.
        origin: `scorer.toml:12`, a variable's name, `--set` or `default`.
        place: origin and key as a person wrote them, the beginning of any message about it.
    """

    target: Target
    value: Any
    origin: str
    place: str


def checked(leaves: Mapping[str, Leaf], streams: Mapping[str, str]) -> Settings:
    """Builds the settings from values by key.

    Args:
        leaves: values by key.
        streams: the streams of the settings file, in order, each with its header's origin.

    Raises:
        ConfigError: a line for each thing that is wrong.
    """
    tree: dict[str, Any] = {}
    for leaf in leaves.values():
        node = tree
        for part in leaf.target.path[:-1]:
            node = node.setdefault(part, {})
        node[leaf.target.path[-1]] = leaf.value
    by_name = tree.pop("streams", {})
    names = list(dict.fromkeys([*streams, *by_name]))
    tree["streams"] = tuple({"name": name, **by_name.get(name, {})} for name in names)
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        # pydantic's own text is not passed on, nor kept as the cause: it may hold values.
        found = [details for details in error.errors(include_url=False) if details["type"] not in _FOLLOWING]
        problems = [_problem(details, names, leaves, streams) for details in found]
    raise ConfigError("\n".join(dict.fromkeys(problems)))


def _problem(details: ErrorDetails, names: list[str], leaves: Mapping[str, Leaf], streams: Mapping[str, str]) -> str:
    if details["type"] == "conflict":
        key = details["ctx"]["key"]
        return f"{leaves[key].place if key in leaves else key} {details['msg']}"
    location = details["loc"]
    key = _key(location, names, leaves)
    if key in leaves:
        value = json.dumps(leaves[key].value, default=str, ensure_ascii=False)
        return f"{leaves[key].place} = {value} {_said(details)}"
    stream = names[int(location[1])]
    place = f"{streams[stream]}: {key}" if stream in streams else key
    if details["type"] != "missing":
        return f"{place} {_said(details)}"
    return f"{place} is missing{'' if stream in streams else _unknown_stream(stream, streams)}"


def _key(location: tuple[int | str, ...], names: list[str], leaves: Mapping[str, Leaf]) -> str:
    """The setting; where a type has several branches, pydantic names the branch behind it."""
    if location[0] == "streams":
        location = ("streams", names[int(location[1])], *location[2:])
    keys = [".".join(map(str, location[:end])) for end in range(len(location), 0, -1)]
    return next((key for key in keys if key in leaves), keys[0])


def _said(details: ErrorDetails) -> str:
    if details["type"] == "is_instance_of":  # of Path: people write it as text
        return "should be a valid string"
    return _OPENING.sub("", details["msg"])


def _unknown_stream(name: str, streams: Iterable[str]) -> str:
    return f", and the settings file has no stream {name}{did_you_mean(name, streams)}"
