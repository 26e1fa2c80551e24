"""New-lead events (schemas/events.new-lead.avsc) on one machine: out of the Bank Marketing file, or a fitted profile.

Guarantees: the same file row, or the same profile and seed, always gives the same event; nothing here reads a clock.
The data has neither ids nor times. So `lead_id` is "lead-" and the row number from 1 on, `event_id` is a UUID made of
the lead_id, and `occurred_at` is whatever the caller says for a row number. `duration` is known only after the call
that the score is for: it is a leak, and dropped.

Source: Bank Marketing, bank-additional-full.csv; S. Moro, P. Cortez and P. Rita, 2014; CC BY 4.0.
"""

from __future__ import annotations

import csv
import itertools
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scorer.edges.files import open_text

PROFILE = Path(__file__).parent / "profiles" / "lead.json"

Event = dict[str, Any]

_EVENT_IDS = uuid.UUID("6f9b1c3e-52a7-5d0e-9a43-0c5f6b7d8e21")
_NEVER_CONTACTED = 999
_CHUNK_ROWS = 4096


def _symbol(text: str) -> str:
    """The symbol in the schema: "blue-collar" is blue_collar, "admin." is admin, "basic.4y" is basic_4y."""
    if not text:
        raise ValueError("a value is missing")
    return text.rstrip(".").replace("-", "_").replace(".", "_")


def _days(text: str) -> int | None:
    return None if int(text) == _NEVER_CONTACTED else int(text)


_COLUMNS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "age": ("age", int),
    "job": ("job", _symbol),
    "marital": ("marital", _symbol),
    "education": ("education", _symbol),
    "credit_default": ("default", _symbol),
    "housing": ("housing", _symbol),
    "loan": ("loan", _symbol),
    "contact": ("contact", _symbol),
    "month": ("month", _symbol),
    "day_of_week": ("day_of_week", _symbol),
    "campaign": ("campaign", int),
    "days_since_contact": ("pdays", _days),
    "previous_contacts": ("previous", int),
    "previous_outcome": ("poutcome", _symbol),
    "employment_variation_rate": ("emp.var.rate", float),
    "consumer_price_index": ("cons.price.idx", float),
    "consumer_confidence_index": ("cons.conf.idx", float),
    "euribor_3m": ("euribor3m", float),
    "employees": ("nr.employed", float),
}


@dataclass(frozen=True, slots=True)
class Variable:
    """One step of the profile: a state drawn from counts, given the states of earlier variables.

    `row_of` maps the parents' states (row-major over `given`) to a row of counts; `ends` holds all rows' running
    counts end to end, `starts` and `totals` where each row begins and how much it counts. `values` holds for
    each event field that the state decides its (lowest, highest) per state; both are the same unless the field
    is an integer range, drawn uniformly.
    """

    name: str
    given: tuple[str, ...]
    shape: tuple[int, ...]
    row_of: NDArray[np.int64]
    starts: NDArray[np.int64]
    totals: NDArray[np.int64]
    ends: NDArray[np.int64]
    values: tuple[tuple[str, NDArray[Any], NDArray[Any]], ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """How leads are distributed: variables in the order in which they are drawn."""

    variables: tuple[Variable, ...]


def read_leads(path: Path, occurred_at_ms: Callable[[int], int]) -> Iterator[Event]:
    """Events of a Bank Marketing file (';'-separated, plain or .gz), in file order.

    `occurred_at_ms` maps the row number, from 1 on, to Unix milliseconds. Raises ValueError for a file that lacks a
    column and for a row that does not parse, with the row's number.
    """
    with open_text(path) as lines:
        rows = csv.DictReader(lines, delimiter=";")
        lacking = sorted({column for column, _ in _COLUMNS.values()} - set(rows.fieldnames or ()))
        if lacking:
            raise ValueError(
                f"{path.name} has no column {', '.join(lacking)}: is it the file bank-additional-full.csv?"
            )
        for number, row in enumerate(rows, start=1):
            yield lead_event(row, number, occurred_at_ms(number))


def lead_event(row: Mapping[str, str | None], number: int, occurred_at_ms: int) -> Event:
    """One event from one row of the file, by column name. Raises ValueError for a row that does not parse."""
    lead_id = f"lead-{number:06d}"
    event: Event = {"event_id": _event_id(lead_id), "lead_id": lead_id, "occurred_at": occurred_at_ms}
    try:
        return event | {field: parse(row[column] or "") for field, (column, parse) in _COLUMNS.items()}
    except (KeyError, ValueError) as error:
        raise ValueError(f"row {number} is not a lead: {error}") from error


def load_profile(path: Path = PROFILE) -> Profile:
    """The profile in a JSON file written by training/lead_profile.py; by default the one fitted on Bank Marketing.

    Raises ValueError if it does not decide exactly the fields of a new lead.
    """
    document = json.loads(path.read_text(encoding="utf-8"))
    states: dict[str, int] = {}
    variables = []
    for entry in document["variables"]:
        counts = np.asarray(entry["counts"], dtype=np.int64)
        states[entry["name"]] = counts.shape[1]
        totals = counts.sum(axis=1)
        variables.append(
            Variable(
                name=entry["name"],
                given=tuple(entry["given"]),
                shape=tuple(states[parent] for parent in entry["given"]),
                row_of=np.asarray(entry["row_of"], dtype=np.int64),
                starts=np.cumsum(totals) - totals,
                totals=totals,
                ends=np.cumsum(counts.ravel()),
                values=tuple(_bounds(field, values) for field, values in entry["values"].items()),
            )
        )
    decided = {field for variable in variables for field, _, _ in variable.values}
    if decided != set(_COLUMNS):
        raise ValueError(f"{path.name} does not fit new-lead events: {sorted(decided ^ set(_COLUMNS))}")
    return Profile(tuple(variables))


def sample_leads(profile: Profile, n: int, seed: int, occurred_at_ms: Callable[[int], int]) -> Iterator[Event]:
    """`n` events drawn from the profile, independent of each other; no data file needed.

    `lead_id` is "sample-", the seed and the number from 1 on, so no id is a real lead's. The first events of a seed are
    the same whatever `n` is. `occurred_at_ms` maps the number to Unix milliseconds.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    numbers = iter(range(1, n + 1))
    while chunk := list(itertools.islice(numbers, _CHUNK_ROWS)):
        columns = _draw(profile, random)
        names = ("event_id", "lead_id", "occurred_at", *columns)
        for number, values in zip(chunk, zip(*columns.values(), strict=True), strict=False):
            lead_id = f"sample-{seed}-{number:06d}"
            yield dict(zip(names, (_event_id(lead_id), lead_id, occurred_at_ms(number), *values), strict=True))


def _draw(profile: Profile, random: np.random.Generator) -> dict[str, list[Any]]:
    """Columns of one chunk by event field, always _CHUNK_ROWS long, so that a seed's stream does not depend on n."""
    states: dict[str, NDArray[np.int64]] = {}
    columns: dict[str, list[Any]] = {}
    for variable in profile.variables:
        rows = np.zeros(_CHUNK_ROWS, dtype=np.int64)
        for parent, size in zip(variable.given, variable.shape, strict=True):
            rows = rows * size + states[parent]
        rows = variable.row_of[rows]
        # Whole counts, not probabilities: the draw is exact, and a state that was never counted never comes.
        ticks = variable.starts[rows] + (random.random(_CHUNK_ROWS) * variable.totals[rows]).astype(np.int64)
        width = len(variable.ends) // len(variable.totals)
        state = np.searchsorted(variable.ends, ticks, side="right") - rows * width
        states[variable.name] = state
        for field, lowest, highest in variable.values:
            columns[field] = _pick(lowest, highest, state, random).tolist()
    return {field: columns[field] for field in _COLUMNS}


def _pick(
    lowest: NDArray[Any], highest: NDArray[Any], state: NDArray[np.int64], random: np.random.Generator
) -> NDArray[Any]:
    """Each row's value by its state: the state's one value, or a whole number drawn uniformly between its two."""
    picked = lowest[state]
    spread = np.flatnonzero((lowest != highest)[state])
    if len(spread):
        least = picked[spread].astype(np.int64)
        widths = highest[state[spread]].astype(np.int64) - least + 1
        picked[spread] = least + (random.random(len(spread)) * widths).astype(np.int64)
    return picked


def _bounds(field: str, values: list[Any]) -> tuple[str, NDArray[Any], NDArray[Any]]:
    """A field's values per state, where a pair means the whole numbers from the first to the second."""
    pairs = [value if isinstance(value, list) else [value, value] for value in values]
    lowest, highest = (np.empty(len(pairs), dtype=object) for _ in range(2))
    lowest[:] = [pair[0] for pair in pairs]
    highest[:] = [pair[1] for pair in pairs]
    return field, lowest, highest


def _event_id(lead_id: str) -> str:
    return str(uuid.uuid5(_EVENT_IDS, lead_id))
