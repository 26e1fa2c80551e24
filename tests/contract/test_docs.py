"""docs/operations.md says everything that a running scorer can say, and nothing that it cannot."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from scorer.cli.exits import ExitCode
from scorer.cli.layers import load_settings
from scorer.core.records import REASONS, Closed, Stage
from scorer.core.state import State
from scorer.edges import logs
from tests.harness.compose import ROOT

OPERATIONS = ROOT / "docs" / "operations.md"
PAGE = OPERATIONS.read_text(encoding="utf-8")
SOURCES = sorted((ROOT / "scorer").rglob("*.py"))
EVENT = re.compile(r"[a-z_]+\.[a-z_]+")
TELLERS = {"report", "_report", "say", "sparingly"}
METRIC_KINDS = {"Counter", "Gauge", "Histogram"}


def _rows(first_column: str) -> dict[str, list[str]]:
    """The rows of the table whose first column has this title, by the first cell."""
    found: dict[str, list[str]] = {}
    inside = False
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and not inside:
            inside = cells[0] == first_column
        elif not line.startswith("|"):
            inside = False
        elif inside and not set(line) <= set("|-"):
            found[cells[0].strip("`")] = cells[1:]
    return found


def _calls() -> Iterator[ast.Call]:
    for path in SOURCES:
        yield from (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call))


def _name(call: ast.Call) -> str:
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def _events() -> set[str]:
    """Every event name that the code logs; `f"stream.{state}"` stands for one of each state."""
    found = set(logs._LOUD)
    for call in _calls():
        for argument in call.args if _name(call) in TELLERS else []:
            if isinstance(argument, ast.JoinedStr) and ast.unparse(argument) == "f'stream.{state}'":
                found |= {f"stream.{state}" for state in State}
            elif isinstance(argument, ast.Constant) and EVENT.fullmatch(str(argument.value)):
                found.add(str(argument.value))
    return found


def _metrics() -> dict[str, tuple[str, str]]:
    """Every metric's name with its kind and labels, as edges/metrics.py makes them."""
    found = {}
    for call in ast.walk(ast.parse((ROOT / "scorer" / "edges" / "metrics.py").read_text("utf-8"))):
        if isinstance(call, ast.Call) and _name(call) in METRIC_KINDS:
            name, _, labels = (ast.literal_eval(argument) for argument in call.args[:3])
            found[name] = (_name(call).lower(), ", ".join(labels))
    return found


def test_every_metric_is_described_with_its_kind_unit_labels_and_meaning() -> None:
    rows = _rows("metric")
    assert {name: (cells[0], cells[2]) for name, cells in rows.items()} == _metrics()
    assert all(unit and len(meaning) > 8 for _, unit, _, meaning in rows.values())
    for name, (_, unit, *_) in rows.items():
        assert unit == "seconds" or not name.endswith("_seconds")


def test_every_log_event_is_described_with_its_level() -> None:
    rows = _rows("event")
    assert rows.keys() == _events()
    assert {name: cells[0] for name, cells in rows.items()} == {name: logs._LOUD.get(name, "info") for name in rows}
    assert all(meaning.rstrip(".") for _, meaning in rows.values())


def test_the_names_of_events_are_found_in_every_place_that_logs() -> None:
    quiet = {path for path in SOURCES if "local" in path.parts}  # `say` tells a person there, in whole sentences
    dotted = re.compile(rf'\b(?:{"|".join(TELLERS)})\(\s*f?"([a-z_]+\.[^" ]+)"')
    named = {name for path in SOURCES if path not in quiet for name in dotted.findall(path.read_text("utf-8"))}
    assert named - {"stream.{state}"} <= _events()
    assert len(named) > 15


def test_every_reason_of_a_rejection_is_described_with_its_stage_and_what_to_do() -> None:
    rows = _rows("reason")
    assert rows.keys() == REASONS.keys()
    for stage, meaning, remedy in rows.values():
        assert set(stage.split(", ")) <= set(Stage)
        assert meaning
        assert remedy


def test_every_state_is_described() -> None:
    rows = _rows("state")
    assert rows.keys() == set(State)
    assert {state for state, (ready, _) in rows.items() if ready == "yes"} == {State.RUNNING}


def test_every_end_of_a_worker_is_described() -> None:
    found = {int(code) for cell in _rows("code") for code in cell.split(", ")}
    of_others = (ExitCode.REJECTED, ExitCode.INCOMPLETE, ExitCode.UNEXPLAINED)
    assert found == {int(code) for code in ExitCode if code not in of_others} | {128 + 15}


def test_every_reason_why_a_batch_closes_is_described() -> None:
    (meaning,) = [cells[3] for name, cells in _rows("metric").items() if name == "scorer_batches_total"]
    found = set(re.findall(r"`([a-z]+)`", meaning))
    assert found == set(Closed) - {Closed.SHUTDOWN}, "nothing closes a batch at shutdown: what was read is scored"


def test_the_flags_that_the_page_advises_are_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    flags = re.findall(r"--set ([a-z_.]+=[^\s`]+)", PAGE)
    assert len(flags) == 2
    load_settings(None, {}, flags)


def test_every_setting_and_file_that_the_page_names_exists() -> None:
    lines = (ROOT / "docs" / "configuration.md").read_text("utf-8").splitlines()
    settings = {line.split("`")[1] for line in lines if line.startswith("| `") and line.count(" | ") == 5}
    groups = {name.split(".")[0] for name in settings if "." in name}
    words = {word for word in re.findall(r"`([A-Za-z_.]+)`", PAGE) if "." in word and word.split(".")[0] in groups}
    named = words - _events() - {"kafka.debug"}
    assert len(named) > 8
    assert named <= settings
    paths = re.findall(r"\bdeploy/[\w./-]+[\w]", PAGE)
    assert paths
    assert all((ROOT / path).exists() for path in paths), paths


def test_every_link_of_the_page_leads_somewhere() -> None:
    for path, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", PAGE):
        target = OPERATIONS.parent / path if path else OPERATIONS
        headings = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.M)
        assert not anchor or anchor in {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}
