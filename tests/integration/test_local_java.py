"""Rules of fetching jars, tried on a Maven repository of our own on 127.0.0.1."""

from __future__ import annotations

import gc
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from scorer.local.java import LocalUnavailable, fetch
from scorer.local.ports import free_ports

# jgo leaves the connection of an answer that it did not like to the collector of garbage.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

JAR = b"the bytes of a jar" * 1000
ENTRY = '[[dependencies]]\ngroupId = "org.example"\nartifactId = "{name}"\nversion = "1"\npackaging = "jar"\n'


@dataclass
class Repository:
    """What the repository has, by file name, and which files were asked for."""

    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine on which nothing was ever fetched, and which can reach no other one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    monkeypatch.setenv("JGO_CACHE_DIR", str(tmp_path / "jgo"))
    monkeypatch.setenv("JGO_CONFIG_FILE", str(tmp_path / "jgo.conf"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_ports(1)[0]}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield tmp_path
    gc.collect()


@pytest.fixture
def repository(cache: Path) -> Iterator[Repository]:
    content = Repository()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            content.asked.append(name)
            body = content.files.get(name)
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        (cache / "jgo.conf").write_text(f"[repositories]\nmirror = http://127.0.0.1:{server.server_port}\n")
        yield content
        server.shutdown()
        thread.join()


def lock_of(folder: Path, *names: str, content: bytes = JAR) -> Path:
    digest = hashlib.sha256(content).hexdigest()
    lock = folder / "some.lock.toml"
    lock.write_text("".join(f'{ENTRY.format(name=name)}sha256 = "{digest}"\n' for name in names))
    return lock


def in_m2(cache: Path, name: str) -> Path:
    return cache / "m2" / "org" / "example" / name / "1" / f"{name}-1.jar"


def jars(asked: list[str]) -> list[str]:
    return [name for name in asked if name.endswith(".jar")]


def test_files_come_in_the_order_of_the_lock_file_and_into_jgo_s_own_cache(repository: Repository, cache: Path) -> None:
    names = [f"jar{number}" for number in range(12)]
    repository.files = {f"{name}-1.jar": JAR for name in names}
    said: list[str] = []
    assert fetch(lock_of(cache, *names), said.append) == tuple(in_m2(cache, name) for name in names)
    assert "12 files" in said[0]
    assert "Fetched" in said[-1]


def test_what_was_fetched_is_asked_for_only_once(repository: Repository, cache: Path) -> None:
    repository.files = {"a-1.jar": JAR}
    lock = lock_of(cache, "a")
    first = fetch(lock, print)
    asked, said = len(repository.asked), list[str]()
    assert fetch(lock, said.append) == first
    assert len(repository.asked) == asked
    assert said == []


def test_half_a_file_of_a_broken_download_is_fetched_again(repository: Repository, cache: Path) -> None:
    repository.files = {"a-1.jar": JAR}
    in_m2(cache, "a").parent.mkdir(parents=True)
    in_m2(cache, "a").write_bytes(JAR[:100])
    (path,) = fetch(lock_of(cache, "a"), print)
    assert path.read_bytes() == JAR


def test_a_file_that_changed_since_is_fetched_again(repository: Repository, cache: Path) -> None:
    repository.files = {"a-1.jar": JAR}
    lock = lock_of(cache, "a")
    (path,) = fetch(lock, print)
    path.write_bytes(JAR[::-1])
    (path,) = fetch(lock, print)
    assert path.read_bytes() == JAR


def test_a_file_with_another_checksum_is_refused_and_not_kept(repository: Repository, cache: Path) -> None:
    repository.files = {"a-1.jar": b"something else"}
    with pytest.raises(LocalUnavailable, match=r"org\.example:a:1.*sha256"):
        fetch(lock_of(cache, "a"), print)
    assert not in_m2(cache, "a").exists()


def test_one_failed_file_fails_the_whole_fetch(repository: Repository, cache: Path) -> None:
    repository.files = {"a-1.jar": JAR}
    with pytest.raises(LocalUnavailable, match=r"org\.example:b:1"):
        fetch(lock_of(cache, "a", "b"), print)


def test_without_network_and_cache_the_error_says_what_failed_and_what_to_do(cache: Path) -> None:
    with pytest.raises(LocalUnavailable, match=r"org\.example:a:1 could not be fetched.*network.*--broker mock"):
        fetch(lock_of(cache, "a"), print)


def test_without_network_what_the_cache_has_is_enough(cache: Path) -> None:
    in_m2(cache, "a").parent.mkdir(parents=True)
    in_m2(cache, "a").write_bytes(JAR)
    assert fetch(lock_of(cache, "a"), print) == (in_m2(cache, "a"),)
