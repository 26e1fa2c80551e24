"""What each full run of the benchmark found, line by line of the demands, so that one day is held against another.

Kept beside the page as a line of JSON a run. A ratio on another day is expected within what the repeats of this one
allow; a line for which it is not says that the machine, or the scorer, was another one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.demands import Verdict
from bench.results import Spread

RUNS_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Day:
    """One run.

    Attributes:
        date: when, UTC.
        machine: where.
        found: demand to its figure.
    """

    date: str
    machine: str
    found: dict[str, Spread]


def day(about: dict[str, str], lines: Sequence[Verdict]) -> Day:
    """The run that is over."""
    return Day(about["date"], about["machine"], {line.demand: line.found for line in lines})


def load_days(path: Path) -> list[Day]:
    """All runs that were kept, the oldest first; none if there is no such file."""
    if not path.exists():
        return []
    kept = map(json.loads, path.read_text("utf-8").splitlines())
    return [Day(**{**each, "found": {name: Spread(**of) for name, of in each["found"].items()}}) for each in kept]


def keep_day(path: Path, run: Day) -> None:
    """Puts a run behind the others."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(run)) + "\n")


def compared(days: Sequence[Day], lines: Sequence[Verdict]) -> list[tuple[str, ...]]:
    """A table, its head first: each demand in the latest runs, and whether the last is within the one before."""
    shown = days[-RUNS_SHOWN:]
    head = ("demand", *(each.date for each in shown), "within the spread of the run before")
    rows = [head]
    for line in lines:
        found = [each.found.get(line.demand) for each in shown]
        before, last = found[-2] if len(found) > 1 else None, found[-1]
        stays = "" if before is None or last is None else "yes" if _within(last, before) else "no"
        rows.append((line.demand, *(_shown(each, line.unit) for each in found), stays))
    return rows


def _within(one: Spread, other: Spread) -> bool:
    return other.least <= one.middle <= other.greatest


def _shown(found: Spread | None, unit: str) -> str:
    if found is None:
        return ""
    digits = 2 if unit == "x" else 1
    return f"{found.middle:.{digits}f}{unit} ({found.least:.{digits}f} to {found.greatest:.{digits}f})"
