"""The wheel as the Dockerfile builds and installs it: it needs nothing of the clone, and everything is in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from scorer.local.java import fetch
from scorer.local.kafka import LOCK
from tests.harness.compose import ROOT
from tests.harness.kafka import emptied, required

pytestmark = pytest.mark.timeout(300)

UV = shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
NETWORK_WORDS = ("dns error", "error sending request", "Connection refused", "timed out", "Network is unreachable")


@dataclass(frozen=True, slots=True)
class Installed:
    """An environment that has the wheel, and an empty folder beside it to work in."""

    python: Path
    folder: Path

    def run(self, *arguments: str, wait_s_max: float = 60) -> subprocess.CompletedProcess[str]:
        """Runs `scorer` in the empty folder, with nothing of the clone within reach."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SCORER_", "PYTHON"))}
        return subprocess.run(
            [str(self.python.with_name("scorer")), *arguments],
            cwd=self.folder,
            env={**kept, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(self.folder.with_name("cache"))},
            capture_output=True,
            text=True,
            timeout=wait_s_max,
            check=False,
        )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built offline by the backend of the lock file from what the Dockerfile copies."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheels")
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    for name in ("schemas", "models", "scorer"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    _uv(
        ["build", "--wheel", "--offline", "--no-build-isolation", "--python", sys.executable, "--out-dir", str(out)],
        source,
    )
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """The runtime lock and the wheel, as in the image, in an empty environment."""
    with emptied(tmp_path_factory.mktemp("installed")) as folder:
        yield _environment(folder, wheel, ["--no-deps", "--no-index", str(wheel)])


@pytest.fixture(scope="module")
def local(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """The same with the extra `local`, held to the versions and hashes of the development lock."""
    with emptied(tmp_path_factory.mktemp("local")) as folder:
        extra = [
            "--constraints",
            str(ROOT / "requirements" / "dev.txt"),
            f"{PROJECT['name']}[local] @ {wheel.as_uri()}",
        ]
        yield _environment(folder, wheel, extra)


def test_the_wheel_holds_every_schema_every_bundle_and_both_profiles(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
    for place in ("schemas", "models"):
        there = {path.relative_to(ROOT) for path in (ROOT / place).rglob("*") if path.is_file()}
        assert there
        assert {f"scorer/bundled/{path}" for path in there} <= names
    assert {"scorer/local/profiles/lead.json", "scorer/local/profiles/login.json"} <= names
    assert not [name for name in names if "tests" in name or name.endswith(".pyc")]


def test_the_installed_scorer_names_its_version(installed: Installed) -> None:
    ended = installed.run("--version")
    assert (ended.returncode, ended.stdout) == (0, f"scorer {PROJECT['version']}\n"), ended.stderr


def test_the_installed_scorer_finds_both_bundles_beside_itself(installed: Installed) -> None:
    ended = installed.run("model", "list", "--json")
    assert ended.returncode == 0, ended.stderr
    rows = json.loads(ended.stdout)
    assert [(row["model"], row["problem"]) for row in rows] == [("lead/1", ""), ("recommend/1", "")]
    assert all(Path(row["folder"]).is_relative_to(installed.python.parents[1]) for row in rows)


def test_the_installed_scorer_proves_both_bundles_against_its_own_schemas(installed: Installed) -> None:
    for row in json.loads(installed.run("model", "list", "--json").stdout):
        ended = installed.run("model", "check", row["folder"], "--json")
        assert ended.returncode == 0, ended.stderr
        assert json.loads(ended.stdout)["sha256"] == row["sha256"]


def test_the_installed_scorer_shows_its_settings_and_writes_nothing(installed: Installed) -> None:
    ended = installed.run("config", "show")
    assert ended.returncode == 0, ended.stderr
    assert 'group = "scorer"' in ended.stdout
    assert list(installed.folder.iterdir()) == []


def test_the_demo_runs_in_an_empty_folder_and_accounts_for_every_event(local: Installed) -> None:
    with required():
        fetch(LOCK, print)  # else the demo would be the first to find out that there is no Kafka
    ended = local.run("demo", "--events", "500", "--json", wait_s_max=240)
    assert ended.returncode == 0, ended.stderr[-2000:]
    summary = json.loads(ended.stdout)
    assert summary["problem"] == ""
    assert summary["predictions"] + sum(summary["dead_letters"].values()) == summary["events"]
    assert set(summary["events_by_stream"]) == {"lead", "login"}


def _environment(folder: Path, wheel: Path, ours: Sequence[str]) -> Installed:
    python, work = folder / "venv" / "bin" / "python", folder / "empty"
    work.mkdir()
    runtime = ROOT / "requirements" / "runtime.txt"
    _uv(["venv", "--quiet", "--no-project", "--python", sys.executable, str(folder / "venv")], work)
    install = ["pip", "install", "--quiet", "--python", str(python), "--only-binary", ":all:"]
    _uv([*install, "--require-hashes", "-r", str(runtime)], work)
    _uv([*install, *ours], work)
    return Installed(python, work)


def _uv(arguments: Sequence[str], cwd: Path) -> None:
    ended = subprocess.run([UV, *arguments], cwd=cwd, capture_output=True, text=True, timeout=240, check=False)
    if any(word in ended.stderr for word in NETWORK_WORDS) and os.environ.get("CI") != "true":
        pytest.skip(f"NOT TESTED, packages cannot be had here: {ended.stderr[-500:]}")
    assert ended.returncode == 0, ended.stderr
