"""The settings that a demo writes for its processes."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from scorer.local.demo import Plan, Stage, _settings


@pytest.mark.parametrize("name", ["plain", "Büro", 'a\\new "quoted" one'])
def test_a_demo_s_settings_name_its_folder_whatever_letters_that_has(name: str) -> None:
    folder = Path("/home") / name
    stage = Stage(folder / "scorer.toml", ["lead"], range(20_000, 20_001), 20_008)
    found = tomllib.loads(_settings(Plan(folder), "127.0.0.1:1", stage))
    assert found["sink"]["sql"]["url"] == f"sqlite:///{folder}/scores.db"
    assert found["gateway"] == {"port": 20_008, "store": f"{folder}/gateway.sqlite3"}
    assert found["group"].startswith("demo-"), "demos before there was a mark are known by it"
