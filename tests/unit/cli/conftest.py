from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from scorer.cli.layers import Loaded, load_settings

LEAD = """
[[streams]]
name = "lead"
bundle = "models/lead/1"
from = "events.new-lead"
to = "predictions.lead-score"
"""

Load = Callable[..., Loaded]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads a text as scorer.toml of a folder that is also the current one."""
    monkeypatch.chdir(tmp_path)

    def of(text: str = "", environ: Mapping[str, str] | None = None, sets: tuple[str, ...] = ()) -> Loaded:
        Path("scorer.toml").write_text(text, "utf-8")
        return load_settings(None, {"HOME": str(tmp_path), **(environ or {})}, sets)

    return of
