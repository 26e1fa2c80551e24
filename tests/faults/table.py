"""docs/qualification.md, made of the results that the rig has kept."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.faults.results import Result, Row

HEAD = """\
# What the fault rig found

Written by the rig itself (`tests/faults`): `make faults` and, with full counts, `make qualify`. Real Kafka, real
processes, one machine, loopback.

Every run is judged by an oracle that shares no code with the scorer: a kafka-python reader that watched all along and
one that reads at the end, both read_committed, and one read_uncommitted; each prediction is computed again. "Hits" are
faults that were proved to have hit. "Double" are records that a read_committed reader got more than once; none is
allowed for exactly_once, and for at_least_once each has to have the same id and score. "Recovery" is the longest time
from a fault, or from its end where it lasts, until every partition gave predictions again. "Longest gap" is the longest
time for which some partition gave a reader nothing while load was on, the fault itself included. M1 to M8 are known
bugs, put into the workers one at a time: a table that they pass would prove nothing. "Sources" are a digest of what
`scorer worker` and `scorer replay` import. T29, credentials and rights that go wrong, needs brokers of its own and
stands in tests/integration/test_secure_kafka.py and test_secure_rights.py.
"""
COLUMNS = (
    *("test", "what", "delivery", "hits", "records", "missing", "double", "aborted, unseen"),
    *("recovery, s", "longest gap, s", "seed", "note"),
)
TITLES = {"qualify": "Full counts: `make qualify`", "faults": "`make faults`"}


def write_table(path: Path, results: Sequence[Result], known: Iterable[str]) -> None:
    """Writes the page: a part for each level that was run. `known` are all tests of the rig."""
    text = HEAD
    for level, title in TITLES.items():
        mine = [each for each in results if each.level == level]
        if mine:
            text += f"\n## {title}\n\n" + _part(mine, set(known))
    path.write_text(text, encoding="utf-8")


def _part(results: Sequence[Result], known: set[str]) -> str:
    text = ""
    for (versions, source), count in sorted(Counter((each.versions, each.source) for each in results).items()):
        text += f"- {_tests(count)} with {versions}; sources {source}\n"
    days = sorted({each.ended[:10] for each in results})
    hours = sum(each.took_s for each in results) / 3600
    text += f"- {' to '.join(dict.fromkeys((days[0], days[-1])))}, {hours:.1f} hours in all\n"
    text += (
        "\n"
        + _cells(COLUMNS)
        + _cells(["---"] * len(COLUMNS))
        + "".join(_line(row, each.seed) for row, each in _rows(results))
    )
    failed = [each for each in results if not each.passed]
    text += "\n" + (f"**{_tests(len(failed))} failed.**" if failed else "No test failed.") + "\n"
    text += "".join(f"- `{each.test}`, seed {each.seed}: {each.why}\n" for each in failed)
    absent = Counter(_short(name) for name in known - {each.test for each in results})
    left = ", ".join(f"{name} ({_tests(absent[name])})" for name in sorted(absent, key=_number))
    text += f"\nNot run: {left}.\n" if absent else ""
    searched: Counter[str] = Counter()
    for each in results:
        searched.update(each.searched)
    if searched:
        text += (
            f"\nCanaries (the ids of all {searched['records']:,} leads, which are e-mail addresses, their events' ids, "
            f"and the registry's password): {searched['hits']} hits in {searched['files']:,} logs and other files of "
            f"workers ({searched['bytes'] / 1e6:,.1f} MB), {searched['pages']:,} answers of /metrics and "
            f"{searched['headers']:,} headers.\n"
        )
    return text


def _rows(results: Sequence[Result]) -> list[tuple[Row, Result]]:
    found = [(row, each) for each in results for row in each.rows]
    return sorted(found, key=lambda pair: (pair[0].test[0] != "T", _number(pair[0].test), pair[0].test))


def _line(row: Row, seed: int) -> str:
    recovery = "" if row.recovery_s is None else f"{row.recovery_s:.1f}"
    gap = f"{row.gap_s:.1f}" if row.gap_s else ""
    cells: list[object] = [row.test, row.what, row.delivery, row.hits, f"{row.records:,}", row.missing, row.repeats]
    cells += [f"{row.aborted:,}", recovery, gap, seed, row.note.replace("|", "/").replace("\n", "; ")]
    return _cells(cells)


def _cells(cells: Sequence[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |\n"


def _tests(count: int) -> str:
    return f"{count} test{'' if count == 1 else 's'}"


def _short(test: str) -> str:
    """What the plan calls a test, T1 or M5; else the name of its file."""
    found = re.search(r"test_(t\d+)_|\[(M\d)\]", test)
    return (found[1] or found[2]).upper() if found else test.partition("::")[0]


def _number(test: str) -> int:
    digits = "".join(letter for letter in test.split(",", maxsplit=1)[0][1:] if letter.isdigit())
    return int(digits or 0)
