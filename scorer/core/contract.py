"""The contract (model.toml): which event field feeds which ONNX input, which ONNX output fills which prediction field.

Parsing checks the file alone and names the key that is wrong. Whether it fits the ONNX file and the schemas is proved
in proof.py, before anything is served.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from math import isnan, nan
from typing import Any

from scorer.core.errors import ContractError

REJECT = "reject"
TOLERANCE_RELATIVE = 1e-6
LENGTH_MAX = 100_000


@dataclass(frozen=True, slots=True)
class InputRule:
    """How one ONNX input is filled.

    Attributes:
        name: the ONNX input.
        fields: event field paths; one for a column or a padded array, several for the columns of a matrix.
        matrix: whether the input is a matrix of several fields, [N, len(fields)].
        missing: the value for an absent field or null; REJECT rejects the record.
        range: inclusive bounds of a number, or None.
        length: of a padded array, [N, length]; None for a column.
        pad: what fills a padded array; None for "" or 0, as the tensor is.
    """

    name: str
    fields: tuple[str, ...]
    matrix: bool = False
    missing: str | float | bool = REJECT
    range: tuple[float, float] | None = None
    length: int | None = None
    pad: str | float | None = None


@dataclass(frozen=True, slots=True)
class OutputRule:
    """How one prediction field is filled.

    Attributes:
        field: the prediction's field.
        source: the ONNX output it comes from, or "" for bins and lists of records.
        column: which column of a two-dimensional output; None takes it whole.
        of: for bins, the prediction field that is sorted into them.
        bins: labels and lower bounds, highest bound first; the last takes all that is left.
        each: for a list of records, the ONNX output of each sub-field, all [N, k].
    """

    field: str
    source: str = ""
    column: int | None = None
    of: str = ""
    bins: tuple[tuple[str, float], ...] = ()
    each: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, eq=False)
class Contract:
    """A parsed model.toml. Compared and hashed by identity."""

    name: str
    version: str
    entity: str
    prediction: str
    inputs: tuple[InputRule, ...]
    outputs: tuple[OutputRule, ...]
    event_id: str = "event_id"
    occurred_at: str = "occurred_at"
    one_by_one: bool = False
    tolerance_relative: float = TOLERANCE_RELATIVE


def parse_contract(text: str) -> Contract:
    """Parses model.toml.

    Raises:
        ContractError: it is no TOML, or a key is missing, unknown (the nearest right one is named) or of a wrong type.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ContractError(f"model.toml is no valid TOML: {error}") from error
    known = ("name", "version", "entity", "prediction", "event_id", "occurred_at", "one_by_one")
    _only(raw, (*known, "inputs", "outputs", "tolerance"), "model.toml")
    texts = {key: _take(raw, key, str, "model.toml") for key in ("name", "version", "entity", "prediction")}
    for key in ("name", "version"):
        if not texts[key] or "/" in texts[key]:
            raise ContractError(
                f"model.toml: {key} = {texts[key]!r} must be a word without '/', as ids are built from it"
            )
    optional = {key: _take(raw, key, str, "model.toml") for key in ("event_id", "occurred_at") if key in raw}
    tolerance = raw.get("tolerance", {})
    _only(tolerance, ("relative",), "[tolerance]")
    return Contract(
        **texts,
        **optional,
        inputs=tuple(_input(name, _table(table, f"[inputs.{name}]")) for name, table in _tables(raw, "inputs")),
        outputs=_outputs(raw),
        one_by_one=_take(raw, "one_by_one", bool, "model.toml") if "one_by_one" in raw else False,
        tolerance_relative=_number(tolerance.get("relative", TOLERANCE_RELATIVE), "[tolerance] relative"),
    )


def _input(name: str, table: Mapping[str, Any]) -> InputRule:
    where = f"[inputs.{name}]"
    _only(table, ("field", "fields", "missing", "range", "length", "pad"), where)
    if ("field" in table) == ("fields" in table):
        raise ContractError(f'{where} needs either field = "path" or fields = ["path", ...]')
    matrix = "fields" in table
    fields = tuple(_take(table, "fields", list, where)) if matrix else (_take(table, "field", str, where),)
    if not fields or not all(isinstance(f, str) and f for f in fields):
        raise ContractError(f"{where} fields must be a list of field paths")
    length = table.get("length")
    if length is not None and (type(length) is not int or not 1 <= length <= LENGTH_MAX or matrix):
        raise ContractError(f"{where} length must be 1 to {LENGTH_MAX}, and goes with a single field")
    if "pad" in table and length is None:
        raise ContractError(f"{where} pad goes with length")
    pad = table.get("pad")
    if pad is not None and not isinstance(pad, (str, int, float)):
        raise ContractError(f"{where} pad must be a text or a number")
    missing = table.get("missing", REJECT)
    if not isinstance(missing, (str, int, float, bool)):
        raise ContractError(f'{where} missing must be "reject" or a default value')
    if length is not None and missing != REJECT:
        raise ContractError(f'{where} missing must be "reject" for an array; an empty array is padded')
    return InputRule(name, fields, matrix, missing, _range(table, where), length, pad)


def _range(table: Mapping[str, Any], where: str) -> tuple[float, float] | None:
    if "range" not in table:
        return None
    bounds = _take(table, "range", list, where)
    if len(bounds) != 2:
        raise ContractError(f"{where} range must be [lowest, highest]")
    lowest, highest = (_number(bound, f"{where} range") for bound in bounds)
    if lowest > highest:
        raise ContractError(f"{where} range must be [lowest, highest]")
    return lowest, highest


def _outputs(raw: Mapping[str, Any]) -> tuple[OutputRule, ...]:
    rules = tuple(_output(name, _table(table, f"[outputs.{name}]")) for name, table in _tables(raw, "outputs"))
    scored = {rule.field for rule in rules if rule.source}
    for rule in rules:
        if rule.of and rule.of not in scored:
            raise ContractError(
                f"[outputs.{rule.field}] of = {rule.of!r} is not an output with a 'from'{_near(rule.of, scored)}"
            )
    return rules


def _output(field: str, table: Mapping[str, Any]) -> OutputRule:
    where = f"[outputs.{field}]"
    _only(table, ("from", "column", "of", "bins", "each"), where)
    if sum(key in table for key in ("from", "of", "each")) != 1:
        raise ContractError(f"{where} needs exactly one of from, of (with bins), each")
    for key, companion in (("column", "from"), ("bins", "of")):
        if key in table and companion not in table:
            raise ContractError(f"{where} {key} goes with {companion}")
    if "from" in table:
        column = table.get("column")
        if column is not None and (type(column) is not int or column < 0):
            raise ContractError(f"{where} column must be 0 or more")
        return OutputRule(field, _take(table, "from", str, where), column)
    if "each" in table:
        each = _table(table["each"], f"{where} each")
        if not each:
            raise ContractError(f"{where} each needs a sub-field or more, each with its ONNX output")
        return OutputRule(field, each=tuple((key, _take(each, key, str, f"{where} each")) for key in each))
    return OutputRule(field, of=_take(table, "of", str, where), bins=_bins(table, where))


def _bins(table: Mapping[str, Any], where: str) -> tuple[tuple[str, float], ...]:
    bins = {label: _number(b, f"{where} bins {label}") for label, b in _take(table, "bins", dict, where).items()}
    if len(bins) < 2 or len(set(bins.values())) < len(bins):
        raise ContractError(f"{where} bins needs two labels or more, each with its own lower bound")
    return tuple(sorted(bins.items(), key=lambda pair: -pair[1]))


def _tables(raw: Mapping[str, Any], key: str) -> list[tuple[str, Any]]:
    table = _table(raw.get(key), f"[{key}.NAME]")
    if not table:
        raise ContractError(f"model.toml has no [{key}.NAME] table")
    return list(table.items())


def _table(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ContractError(f"{where} must be a table")
    return value


def _number(value: Any, where: str) -> float:
    """A number as a double; infinity stands for no bound."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = nan
        if not isnan(number):
            return number
    raise ContractError(f"{where} = {value!r} must be a number")


def _take(table: Mapping[str, Any], key: str, kind: type, where: str) -> Any:
    if key not in table:
        raise ContractError(f"{where} lacks {key}")
    if not isinstance(table[key], kind):
        raise ContractError(f"{where} {key} = {table[key]!r} must be of type {kind.__name__}")
    return table[key]


def _only(table: Any, known: tuple[str, ...], where: str) -> None:
    for key in _table(table, where):
        if key not in known:
            raise ContractError(f"{where} has an unknown key {key!r}{_near(key, known)}")


def _near(word: str, known: Any) -> str:
    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(sorted(known))}"
