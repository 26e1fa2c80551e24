"""Which folders a demo takes: it deletes what is in them, so only its own and empty ones."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from scorer.core.errors import ConfigError
from scorer.local.demo import Plan, run_demo
from scorer.local.demo_folder import hold
from scorer.local.stack import State, _write, down

THEIRS = 'group = "ours"\n'


def written(folder: Path, **files: str) -> None:
    """Files of a folder; __ in a name stands for /, and _ for a dot."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def of_somebody(folder: Path) -> None:
    written(folder, scorer_toml=THEIRS, scores_db="rows", kafka__data__log="records")


def of_one_who_has_a_lock_too(folder: Path) -> None:
    written(folder, scorer_toml=THEIRS, lock="", kafka__data__log="records")


def of_a_surrounding_that_runs(folder: Path) -> None:
    written(folder, kafka__data__log="records")
    _write(State(folder, ()))


def of_a_stopped_surrounding_where_a_demo_was_before(folder: Path) -> None:
    with ExitStack() as stack:
        hold(folder, stack)
    of_a_surrounding_that_runs(folder)
    down(folder, print)


@pytest.mark.parametrize("broker", ["kafka", "mock"])
@pytest.mark.parametrize(
    "made",
    [
        of_somebody,
        of_one_who_has_a_lock_too,
        of_a_surrounding_that_runs,
        of_a_stopped_surrounding_where_a_demo_was_before,
    ],
)
def test_a_demo_leaves_a_folder_alone_that_is_not_its_own(
    made: Callable[[Path], None], broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*_: Any, **__: Any) -> None:
        raise AssertionError("a broker is started in a folder that is not the demo's")

    monkeypatch.setattr("scorer.local.demo._broker", started)
    made(tmp_path)
    before = content(tmp_path)
    with pytest.raises(ConfigError, match=f"{tmp_path}.*--folder OTHER"):
        run_demo(Plan(tmp_path, broker=broker), print, lambda *_: None, lambda *_: None)
    assert content(tmp_path) == before


def nothing(folder: Path) -> None:
    """No folder at all."""


def empty(folder: Path) -> None:
    folder.mkdir()


def of_an_earlier_demo(folder: Path) -> None:
    with ExitStack() as stack:
        hold(folder, stack)
    of_somebody(folder)


def of_a_demo_before_there_was_a_mark(folder: Path) -> None:
    written(
        folder, scorer_toml='group = "demo-1795961658"\n[kafka]\n', scores_db="", lock="", kafka__data__log="records"
    )


def of_such_a_demo_that_found_no_network(folder: Path) -> None:
    written(folder, lock="")
    (folder / "kafka").mkdir()


@pytest.mark.parametrize(
    "made",
    [nothing, empty, of_an_earlier_demo, of_a_demo_before_there_was_a_mark, of_such_a_demo_that_found_no_network],
)
def test_a_demo_takes_an_empty_folder_and_that_of_an_earlier_demo_again_and_again(
    made: Callable[[Path], None], tmp_path: Path
) -> None:
    folder = tmp_path / ".demo"
    made(folder)
    for _ in range(2):
        with ExitStack() as stack:
            hold(folder, stack)
            (folder / "scorer.toml").write_text('group = "changed by hand"\n')


def test_two_demos_do_not_run_in_one_folder(tmp_path: Path) -> None:
    with ExitStack() as first, ExitStack() as second:
        hold(tmp_path, first)
        with pytest.raises(ConfigError, match=r"another demo .*--folder OTHER"):
            hold(tmp_path, second)


def test_a_folder_that_cannot_be_used_is_the_callers(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with ExitStack() as stack, pytest.raises(ConfigError, match=r"/file cannot be used: File exists"):
        hold(tmp_path / "file", stack)
