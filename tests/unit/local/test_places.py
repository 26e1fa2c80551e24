"""Where the shipped schemas and models are."""

from __future__ import annotations

from pathlib import Path

import pytest

from scorer.core.errors import ConfigError
from scorer.local import places
from scorer.local.places import shipped


def test_in_a_clone_they_are_beside_the_package() -> None:
    root = Path(__file__).parents[3]
    assert shipped("schemas") == root / "schemas"
    assert shipped("models") == root / "models"


def test_in_an_installed_package_they_are_inside_it_and_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "scorer"
    for folder in (package / "bundled" / "schemas", tmp_path / "schemas", tmp_path / "models"):
        folder.mkdir(parents=True)
    monkeypatch.setattr(places, "_PACKAGE", package)
    assert shipped("schemas") == package / "bundled" / "schemas"
    assert shipped("models") == tmp_path / "models"


def test_where_they_are_missing_the_message_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_PACKAGE", tmp_path / "scorer")
    with pytest.raises(ConfigError, match="the shipped models are missing; install the scorer again"):
        shipped("models")
