"""The README tells the truth: its snippets are the files that tests run, and its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scorer.cli.main import run

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["subscribe.py", "Subscribe.java"])
def test_a_snippet_in_the_readme_is_the_file_that_tests_run(name: str) -> None:
    assert (ROOT / "docs" / "snippets" / name).read_text(encoding="utf-8").strip() in README


def test_every_page_and_folder_that_the_readme_points_to_is_there() -> None:
    links = set(re.findall(r"\]\(([^)#]+)\)", README))
    assert links
    assert [link for link in sorted(links) if not (ROOT / link).exists()] == []


@pytest.mark.parametrize(
    "command", sorted(set(re.findall(r"^ {4}scorer ((?:local|model|config|sink)? ?[a-z]+)", README, re.M)))
)
def test_every_command_that_the_readme_names_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*command.split(), "--help"]) == 0
    assert "Examples" in capsys.readouterr().out


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z]+)", README))))
def test_every_make_target_that_the_readme_names_is_one(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
