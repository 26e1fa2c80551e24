"""A user without a home folder: HOME is not set, and the user's number has no name, as in many a container."""

from __future__ import annotations

import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from scorer.cli.layers import load_settings
from scorer.core.errors import ConfigError
from scorer.edges.home import expanded
from scorer.local.java import cache_folder, fetch
from scorer.local.kafka import LOCK
from scorer.local.stack import default_folder


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> pwd.struct_passwd:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)


def test_a_path_below_home_is_expanded_and_another_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert expanded(Path("~/a/b")) == Path("/home/ada/a/b")
    assert expanded(Path("a/~")) == Path("a/~")


@pytest.mark.usefixtures("homeless")
@pytest.mark.parametrize(
    "wanted",
    [
        lambda: expanded(Path("~/tokens")),
        cache_folder,
        default_folder,
        lambda: load_settings(None, {}, ()),
        lambda: load_settings(None, {"XDG_CACHE_HOME": "/c"}, ["gateway.store=~/store"]),
    ],
)
def test_what_belongs_below_a_home_that_nobody_knows_is_a_matter_of_home(
    wanted: Callable[[], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"^~/.*has no home folder: set HOME$"):
        wanted()


@pytest.mark.usefixtures("homeless")
def test_jgo_which_looks_for_its_settings_at_home_is_not_asked_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="set HOME"):
        fetch(LOCK, print)
