"""Bundles at URLs: read as from a folder, and an outage of whoever keeps them is told from what somebody must mend."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from scorer.core.errors import ConfigError, ContractError, TransientError
from scorer.edges import bundles, remote
from scorer.edges.bundles import find_bundle, read_bundle
from scorer.edges.locations import absolute, as_location, within
from tests.harness.topics import ROOT

SHIPPED = ROOT / "models" / "lead" / "1"
URL = "memory://bundles/lead/1"


@pytest.fixture(autouse=True)
def kept() -> Iterator[Any]:
    """A file system in this process's memory with the shipped bundle."""
    files = fsspec.filesystem("memory")
    for path in SHIPPED.iterdir():
        files.pipe_file(f"/bundles/lead/1/{path.name}", path.read_bytes())
    yield files
    files.rm("/bundles", recursive=True)


def test_a_bundle_at_a_url_is_the_one_in_the_folder() -> None:
    there, here = read_bundle(URL), read_bundle(SHIPPED)
    assert (there.sha256, there.files, there.card) == (here.sha256, here.files, here.card)
    assert there.place == URL


def test_what_is_no_bundle_is_refused_with_what_is_there(kept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="there is no bundle at memory://bundles/lead/9"):
        read_bundle("memory://bundles/lead/9")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_bundle("nobody://bundles/lead/1")
    kept.rm_file("/bundles/lead/1/golden.jsonl")
    with pytest.raises(ContractError, match=r"it lacks golden.jsonl; there is MODEL_CARD.md, model.onnx"):
        read_bundle(URL)
    monkeypatch.setitem(bundles.BYTES_MAX, "golden.jsonl", 100)
    kept.pipe_file("/bundles/lead/1/golden.jsonl", b"x" * 101)
    with pytest.raises(ContractError, match=r"golden.jsonl has more than 100 bytes"):
        read_bundle(URL)


def test_a_bundle_is_found_by_its_sha256_alone(kept: Any, tmp_path: Path) -> None:
    wanted = read_bundle(SHIPPED).sha256
    assert find_bundle([tmp_path, URL], wanted).place == URL
    kept.pipe_file("/bundles/lead/1/model.toml", (SHIPPED / "model.toml").read_bytes() + b"# another\n")
    with pytest.raises(ConfigError, match=f"{URL} holds another bundle"):
        find_bundle([URL], wanted)
    assert find_bundle([URL, SHIPPED], wanted).place == str(SHIPPED)


@pytest.mark.parametrize("error", [TimeoutError("no answer"), OSError("reset"), RuntimeError("503 Slow Down")])
def test_whoever_does_not_answer_is_asked_again_unless_another_place_has_it(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.ls", failing)
    wanted = read_bundle(SHIPPED).sha256
    with pytest.raises(TransientError, match=f"{URL} cannot be read now: {error}"):
        find_bundle([URL], wanted)
    assert find_bundle([URL, SHIPPED], wanted).place == str(SHIPPED)


def test_what_is_not_installed_or_not_allowed_is_for_somebody_to_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    for error, said in ((PermissionError("Access Denied"), "Access Denied"), (ImportError("no s3fs"), "pip install")):
        with pytest.raises(ConfigError, match=said):
            raise remote._meaning(URL, error)
    monkeypatch.setitem(__import__("sys").modules, "fsspec.core", None)
    with pytest.raises(ConfigError, match=r"pip install '\.\[s3\]'"):
        read_bundle(URL)


def test_urls_stay_as_they_are_and_files_are_folders() -> None:
    assert as_location("s3://bucket/lead/1") == "s3://bucket/lead/1"
    assert as_location("file:///srv/models/lead%201") == Path("/srv/models/lead 1")
    assert as_location("models/lead/1") == Path("models/lead/1")
    assert within("s3://bucket/models/", "lead", "1") == "s3://bucket/models/lead/1"
    assert within(Path("models"), "lead", "1") == Path("models/lead/1")
    assert absolute("s3://bucket/lead/1") == "s3://bucket/lead/1"
    assert absolute(Path("models")) == str(Path.cwd() / "models")
