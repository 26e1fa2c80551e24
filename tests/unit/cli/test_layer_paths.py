"""Where the paths of the settings lead."""

from __future__ import annotations

from pathlib import Path

import pytest

from scorer.cli.layers import load_settings
from tests.unit.cli.conftest import LEAD, Load


def test_paths_are_relative_to_the_file_that_names_them_and_else_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deploy").mkdir()
    file = tmp_path / "deploy" / "scorer.toml"
    file.write_text('[registry]\nurl = "folder:schemas"\n[kafka]\n"ssl.ca.location" = "ca.pem"\n' + LEAD)
    monkeypatch.chdir(tmp_path)
    settings = load_settings(file, {"SCORER_REGISTRY__CA": "ca"}, ("registry.cache=cache",)).settings
    assert settings.registry.folder == tmp_path / "deploy" / "schemas"
    assert settings.stream("lead").bundle == tmp_path / "deploy" / "models" / "lead" / "1"
    assert settings.kafka_for("admin")["ssl.ca.location"] == str(tmp_path / "deploy" / "ca.pem")
    assert settings.registry.ca == tmp_path / "ca"
    assert settings.registry.cache == tmp_path / "cache"


@pytest.mark.parametrize("word", ["probe", "/etc/ca.pem"])
def test_librdkafkas_word_for_no_path_and_absolute_paths_stay(load: Load, word: str) -> None:
    assert load(f'[kafka]\n"ssl.ca.location" = "{word}"').settings.kafka_for("admin")["ssl.ca.location"] == word


@pytest.mark.parametrize(
    ("key", "below"), [("registry.cache", "scorer/schemas"), ("gateway.store", "scorer/gateway.sqlite3")]
)
def test_what_can_be_made_again_is_below_the_home_folder_or_where_xdg_says(
    load: Load, tmp_path: Path, key: str, below: str
) -> None:
    table, name = key.split(".")

    def found(text: str, cache_home: str) -> tuple[Path, str]:
        loaded = load(text, {"XDG_CACHE_HOME": cache_home})
        return getattr(getattr(loaded.settings, table), name), loaded.origins[key]

    assert found("", "") == (tmp_path / ".cache" / below, "default")
    assert found("", "relative") == (tmp_path / ".cache" / below, "default")
    assert found("", "/var/cache") == (Path("/var/cache", below), "XDG_CACHE_HOME")
    named, _ = found(f'[{table}]\n{name} = "~/here"', "/var/cache")
    assert named == tmp_path / "here"
