"""`scorer gateway` and `scorer gateway token`, before anything is asked of a neighbour."""

from __future__ import annotations

from pathlib import Path

import pytest

from scorer.cli.main import run
from tests.unit.cli.conftest import LEAD

TOKEN = ("token", "web", "--scope", "lead-scores")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("scorer", "other"):
        (tmp_path / f"{name}.toml").write_text(f'{LEAD}[gateway]\ntokens = "{name}-tokens.toml"\n')
    return tmp_path


@pytest.mark.parametrize(
    "given", [("--config", "other.toml"), ("--set", "group=a"), ("--port", "8090"), ("--host", "127.0.0.1")]
)
def test_what_stands_before_the_word_token_is_refused_and_no_token_is_made(
    folder: Path, given: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["gateway", *given, *TOKEN]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert given[0] in said
    assert "behind token" in said
    assert not list(folder.glob("*-tokens.toml"))
