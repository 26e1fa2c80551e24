from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic.fields import FieldInfo

from scorer.cli.exits import ExitCode
from scorer.cli.keys import KAFKA_CLIENTS, Kind, kind_of, variable
from scorer.cli.layers import OWN_VARIABLES
from scorer.cli.librdkafka import ALIASES, RESERVED, SAFE_TEXT, SECRETS
from scorer.cli.settings import Settings, Stream
from tests.unit.cli.conftest import Load

PAGE = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text("utf-8")
ROWS = {
    cells[0].strip("`"): cells[1:]
    for line in PAGE.splitlines()
    if line.startswith("| `")
    for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
}
UNITS = {
    "_ms_max": "ms",
    "_ms": "ms",
    "_bytes_max": "bytes",
    "rows_max": "records",
    "_rows": "records",
    "ratio_max": "share",
    "_h": "h",
}


def _fields() -> dict[str, FieldInfo]:
    found = {}
    for name, field in Settings.model_fields.items():
        if name not in ("kafka", "streams"):
            inner: Mapping[str, FieldInfo] | None = getattr(field.annotation, "model_fields", None)
            found |= _leaves(name, inner) if inner else {name: field}
    return found | {
        f"streams.NAME.{field.validation_alias or name}": field for name, field in Stream.model_fields.items()
    }


def _leaves(name: str, fields: Mapping[str, FieldInfo]) -> dict[str, FieldInfo]:
    found = {}
    for key, field in fields.items():
        inner: Mapping[str, FieldInfo] | None = getattr(field.annotation, "model_fields", None)
        found |= _leaves(f"{name}.{key}", inner) if inner else {f"{name}.{key}": field}
    return found


FIELDS = _fields()


def _type(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return " or ".join(f"`{word}`" for word in get_args(field.annotation))
    kind = kind_of(field)
    if kind is not Kind.SCALAR:
        words = {Kind.PATH: "path", Kind.LOCATION: "path or URL", Kind.SECRET: "secret", Kind.URL: "URL or folder"}
        return words.get(kind, "text")
    limits: dict[str, Any] = {name: getattr(mark, name) for mark in field.metadata for name in mark.__slots__}
    low = f"over {limits['gt']}" if "gt" in limits else limits["ge"]
    return f"{'integer' if field.annotation is int else 'number'}, {low} to {limits['le']}"


def _default(key: str, field: FieldInfo) -> str:
    if key.endswith(".dead_letters"):
        return "`<from>.dead-letter`"
    if field.is_required():
        return "required"
    return "unset" if field.default is None else f"`{field.default}`"


@pytest.mark.parametrize("key", sorted(FIELDS))
def test_every_setting_is_documented_with_type_default_unit_variable_and_meaning(key: str) -> None:
    kind, default, unit, name, meaning = ROWS[key]
    assert kind == _type(FIELDS[key])
    assert default == _default(key, FIELDS[key])
    assert unit == next((unit for end, unit in UNITS.items() if key.endswith(end)), "")
    assert name == ("" if key == "streams.NAME.name" else f"`{variable(key)}`")
    assert len(meaning) > 15


def test_no_setting_is_documented_that_does_not_exist() -> None:
    kafka = {"kafka.PROPERTY", *(f"kafka.{client}.PROPERTY" for client in KAFKA_CLIENTS)}
    documented = {key for key, cells in ROWS.items() if len(cells) == 5}
    assert documented == FIELDS.keys() | kafka
    assert ROWS["kafka.consumer.PROPERTY"][3] == f"`{variable('kafka.consumer.PROPERTY')}`"


def test_what_is_said_of_librdkafkas_properties_is_what_the_code_does() -> None:
    two = {key: cells[0] for key, cells in ROWS.items() if len(cells) == 1}
    assert {key: value.strip("`") for key, value in two.items() if key in ALIASES} == ALIASES
    assert {key: value for key, value in two.items() if key in RESERVED} == RESERVED
    secrets = PAGE.partition("these properties of Kafka's:")[2].partition("\n")[0]
    assert set(re.findall(r"`([^`]+)`", secrets)) == SECRETS
    shown = PAGE.partition("harmless ones are\nshown (")[2].partition(")")[0]
    assert set(re.findall(r"`([^`]+)`", shown)) == SAFE_TEXT


def test_every_variable_of_the_command_line_itself_is_documented() -> None:
    assert {key for key in ROWS if key.startswith("SCORER_")} == OWN_VARIABLES


def test_every_exit_code_is_documented() -> None:
    table = PAGE.partition("## Exit codes")[2]
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)] == list(ExitCode)


def test_the_example_is_valid(load: Load) -> None:
    example = PAGE.partition("```toml\n")[2].partition("```")[0]
    tomllib.loads(example)
    assert load(example).settings.stream("lead").dead_letters == "events.new-lead.dead-letter"
