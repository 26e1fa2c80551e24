"""Fits the profile that sample events are drawn from (scorer/local/profiles/lead.json) to Bank Marketing.

    python training/lead_profile.py --data bank-additional-full.csv.gz

A tree-augmented Bayesian network (Friedman, Geiger and Goldszmidt 1997; Chow and Liu 1968): the economic period comes
first, then each personal field given the period and one other field, the pairs chosen by conditional mutual
information. What is kept of persons is counts alone, and no count below ROWS_MIN: such cells are dropped, and a row of
a table that would lose much by it is replaced by the same field's counts under coarser conditions. The same data gives
the same file.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scorer.local.leads import PROFILE, Event, read_leads

ROWS_MIN = 5
TABLE_ROWS_MIN = 30
KEPT_SHARE_MIN = 0.9

AGES = [(17, 24), (25, 29), (30, 34), (35, 39), (40, 44), (45, 49), (50, 54), (55, 59), (60, 69), (70, 89)]
CAMPAIGNS = [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 7), (8, 10), (11, 15), (16, 25), (26, 40)]
DAYS = [(0, 2), (3, 3), (4, 5), (6, 6), (7, 9), (10, 13), (14, 22)]
CONTACTS = [(1, 1), (2, 2), (3, 5)]

Integers = NDArray[np.int64]
State = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A discretised part of the event: `codes` [rows] index `states`, each a tuple of values for `fields`."""

    name: str
    fields: tuple[str, ...]
    states: list[State]
    codes: Integers


def content_sha256(path: Path) -> str:
    """The sha256 of the file's text, alike for .csv and .csv.gz."""
    content = path.read_bytes()
    return hashlib.sha256(gzip.decompress(content) if path.suffix == ".gz" else content).hexdigest()


def band(value: int, bands: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The band that holds the value; the last one also takes what lies above it."""
    return next((pair for pair in bands if value <= pair[1]), bands[-1])


def history(event: Event) -> State:
    """Outcome, earlier contacts and days since, kept together because each says something of the others."""
    contacts, days = event["previous_contacts"], event["days_since_contact"]
    if contacts == 0:
        return ("nonexistent", 0, None)
    recent = None if days is None else band(days, DAYS)
    if event["previous_outcome"] == "failure":
        recent = recent and (DAYS[0][0], DAYS[-1][1])
    return (event["previous_outcome"], band(contacts, CONTACTS), recent)


def outcome(event: Event) -> State:
    """History, coarse: success is one state here, so that small periods keep their share of it."""
    state = history(event)
    return ("success",) if state[0] == "success" else state


def itself(name: str) -> Callable[[Event], State]:
    return lambda event: (event[name],)


def discretise(events: list[Event], name: str, fields: tuple[str, ...], state: Callable[[Event], State]) -> Column:
    keys = [state(event) for event in events]
    states = sorted(set(keys), key=repr)
    code = {key: index for index, key in enumerate(states)}
    return Column(name, fields, states, np.array([code[key] for key in keys], dtype=np.int64))


def columns_of(events: list[Event]) -> dict[str, Column]:
    economy = ("month", "employment_variation_rate", "consumer_price_index", "consumer_confidence_index", "employees")
    columns = [
        discretise(events, "period", economy, lambda event: tuple(event[field] for field in economy)),
        discretise(events, "rate", ("euribor_3m",), itself("euribor_3m")),
        discretise(events, "age", ("age",), lambda event: (band(event["age"], AGES),)),
        discretise(events, "loans", ("housing", "loan"), lambda event: (event["housing"], event["loan"])),
        discretise(events, "campaign", ("campaign",), lambda event: (band(event["campaign"], CAMPAIGNS),)),
        discretise(events, "outcome", (), outcome),
        discretise(events, "history", ("previous_outcome", "previous_contacts", "days_since_contact"), history),
    ]
    for name in ("job", "marital", "education", "credit_default", "contact", "day_of_week"):
        columns.append(discretise(events, name, (name,), itself(name)))
    return {column.name: column for column in columns}


def counted(given: Integers, size: int, column: Column) -> Integers:
    """Counts [size, states] of a column's states for each code of `given`."""
    width = len(column.states)
    return np.bincount(given * width + column.codes, minlength=size * width).reshape(size, width)


def information(one: Column, other: Column, period: Column) -> float:
    """Mutual information in nats of two columns given the period, less what chance alone would show.

    The correction (Miller 1955) keeps columns of many states from being paired for their width.
    """
    sizes = (len(period.states), len(one.states), len(other.states))
    flat = (period.codes * sizes[1] + one.codes) * sizes[2] + other.codes
    joint = np.bincount(flat, minlength=int(np.prod(sizes))).reshape(sizes) / len(flat)
    expected = joint.sum(2, keepdims=True) * joint.sum(1, keepdims=True)
    ratio = joint * joint.sum((1, 2), keepdims=True) / np.where(expected > 0, expected, 1)
    chance = (sizes[1] - 1) * (sizes[2] - 1) * sizes[0] / (2 * len(flat))
    return float((joint[joint > 0] * np.log(ratio[joint > 0])).sum()) - chance


def tree(columns: list[Column], period: Column) -> list[tuple[Column, Column | None]]:
    """The columns in drawing order, each with the earlier one that says most about it (Prim's algorithm)."""
    ordered: list[tuple[Column, Column | None]] = [(columns[0], None)]
    waiting = columns[1:]
    while waiting:
        pairs = [(information(child, parent, period), child, parent) for child in waiting for parent, _ in ordered]
        _, child, parent = max(pairs, key=lambda pair: pair[0])
        ordered.append((child, parent))
        waiting = [column for column in waiting if column is not child]
    return ordered


def enough(counts: Integers) -> bool:
    kept = counts[counts >= ROWS_MIN].sum()
    return bool(kept >= max(TABLE_ROWS_MIN, KEPT_SHARE_MIN * counts.sum()))


def table(column: Column, period: Column, parent: Column | None) -> dict[str, Any]:
    """Counts of a column given period and parent, each row from the finest condition that has enough leads."""
    quarters = sorted({state[-1] for state in period.states})
    quarter = np.array([quarters.index(state[-1]) for state in period.states])
    width = len(parent.states) if parent else 1
    codes = parent.codes if parent else np.zeros_like(period.codes)
    fine = counted(period.codes * width + codes, len(period.states) * width, column)
    middle = counted(quarter[period.codes] * width + codes, len(quarters) * width, column)
    by_period = counted(period.codes, len(period.states), column)
    by_parent = counted(codes, width, column)
    whole = by_parent.sum(0)
    rows: dict[tuple[int, ...], int] = {}
    row_of = []
    for one in range(len(period.states)):
        for other in range(width):
            chain = [
                fine[one * width + other],
                middle[quarter[one] * width + other],
                by_period[one],
                by_parent[other],
                whole,
            ]
            best = next((counts for counts in chain if enough(counts)), whole)
            key = tuple(int(count) if count >= ROWS_MIN else 0 for count in best)
            row_of.append(rows.setdefault(key, len(rows)))
    return entry(column, [period.name] + ([parent.name] if parent else []), row_of, [list(row) for row in rows])


def rates(rate: Column, period: Column) -> dict[str, Any]:
    """The days' rates of each period; a day of too few leads counts as the period's nearest rate that has enough."""
    counts = counted(period.codes, len(period.states), rate)
    values = np.array([state[0] for state in rate.states])
    for row in counts:
        few = np.flatnonzero((row > 0) & (row < ROWS_MIN))
        kept = np.flatnonzero(row >= ROWS_MIN)
        if not len(kept):
            kept = few[len(few) // 2 :][:1]
        for index in few:
            moved, row[index] = row[index], 0
            row[kept[np.abs(values[kept] - values[index]).argmin()]] += moved
    return entry(rate, [period.name], list(range(len(counts))), counts.tolist())


def entry(column: Column, given: list[str], row_of: list[int], counts: list[list[int]]) -> dict[str, Any]:
    """One variable as scorer.local.leads.load_profile reads it; a range is a pair of its first and last value."""
    values = {field: [_plain(state[place]) for state in column.states] for place, field in enumerate(column.fields)}
    return {"name": column.name, "given": given, "values": values, "row_of": row_of, "counts": counts}


def _plain(value: Any) -> Any:
    if not isinstance(value, tuple):
        return value
    return value[0] if value[0] == value[1] else list(value)


def fit(events: list[Event]) -> list[dict[str, Any]]:
    """The profile's variables in drawing order: the economy, the persons, then the details of earlier contacts."""
    columns = columns_of(events)
    period = columns["period"]
    personal = [columns[name] for name in columns if name not in ("period", "rate", "history")]
    variables = [entry(period, [], [0], [np.bincount(period.codes).tolist()]), rates(columns["rate"], period)]
    for column, parent in tree(personal, period):
        print(f"{column.name} given period{f' and {parent.name}' if parent else ''}", file=sys.stderr)
        variables.append(table(column, period, parent))
    detail = counted(columns["outcome"].codes, len(columns["outcome"].states), columns["history"])
    detail[detail < ROWS_MIN] = 0
    variables.append(entry(columns["history"], ["outcome"], list(range(len(detail))), detail.tolist()))
    return variables


def main() -> None:
    parser = argparse.ArgumentParser(description="Fits the profile of sample leads to Bank Marketing.")
    parser.add_argument("--data", type=Path, required=True, help="bank-additional-full.csv, plain or .gz")
    parser.add_argument("--out", type=Path, default=PROFILE)
    options = parser.parse_args()
    events = list(read_leads(options.data, lambda number: number))
    document = {
        "about": "Counts fitted by training/lead_profile.py; no count of persons below 5.",
        "source": "Bank Marketing (bank-additional-full.csv), S. Moro, P. Cortez and P. Rita 2014, CC BY 4.0",
        "data_sha256": content_sha256(options.data),
        "rows": len(events),
        "variables": fit(events),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{options.out}: {options.out.stat().st_size:,} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
