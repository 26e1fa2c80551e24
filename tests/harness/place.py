"""What docker-compose.yml's services run, as plain processes on 127.0.0.1.

A `Place` stands in for the containers: it knows which local port and folder each port and folder of a container is.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.harness.compose import entrypoint, image_env, services
from tests.harness.workers import LEASH, Worker


@dataclass(frozen=True, slots=True)
class Place:
    """Where the containers' ports and folders are on this machine, and their programs: `path` is a $PATH."""

    ports: Mapping[int, int]
    folders: Mapping[str, Path]
    path: str

    def here(self, text: str) -> str:
        """What a container's text is on this machine: hosts, ports and folders replaced."""
        text = re.sub(r"\b(?:kafka|schema-registry|localhost)(?=:\d)|\b0\.0\.0\.0\b", "127.0.0.1", text)
        text = re.sub(r"://(?=:\d)", "://127.0.0.1", text)
        text = re.sub(r"\b\d{4,5}\b", lambda found: str(self.ports.get(int(found[0]), found[0])), text)
        for inside, outside in self.folders.items():
            text = text.replace(inside, str(outside))
        return text

    def run(self, command: Sequence[str], env: Mapping[str, str], wait_s_max: float = 60) -> tuple[int, str]:
        """Runs a command to its end, with this environment and no other. Returns its exit code and all it printed."""
        ended = subprocess.run(
            self._program(command),
            env={**env, "PATH": self.path},
            cwd=self.folders["/srv/scorer"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=wait_s_max,
            check=False,
        )
        return ended.returncode, ended.stdout

    @contextmanager
    def running(self, name: str, command: Sequence[str], env: Mapping[str, str], port: int) -> Iterator[Worker]:
        """Runs a command for the length of a `with` block; `port` is where it tells its health."""
        log = self.folders["/srv/scorer"] / f"{name}.log"
        with log.open("ab") as output:
            leash = subprocess.Popen(
                [sys.executable, "-I", "-S", str(LEASH), *self._program(command)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                cwd=self.folders["/srv/scorer"],
                env={**env, "PATH": self.path},
            )
        assert leash.stdout is not None
        started = Worker(log, [port], log, int(leash.stdout.readline()), leash)
        try:
            yield started
        finally:
            started.end()

    def _program(self, command: Sequence[str]) -> list[str]:
        """The command with its program looked up as a container would: on its own path."""
        first = next((Path(each, command[0]) for each in self.path.split(":") if Path(each, command[0]).exists()), None)
        assert first is not None, f"no {command[0]} on {self.path}"
        return [str(first), *command[1:]]


def service_env(place: Place, name: str) -> dict[str, str]:
    """The environment of a service's process: the image's, if it is ours, and the service's own."""
    service = services()[name]
    ours = image_env() if "build" in service else {}
    return {key: place.here(value) for key, value in {**ours, **service["environment"]}.items()}


def service_command(place: Place, name: str) -> list[str]:
    """What a service of our own image runs."""
    return [place.here(word) for word in [*entrypoint(), *services()[name]["command"]]]


def health_check(place: Place, name: str) -> list[str]:
    """A service's health check as a command."""
    kind, *words = services()[name]["healthcheck"]["test"]
    words = [place.here(word) for word in words]
    return ["sh", "-c", *words] if kind == "CMD-SHELL" else words


def search_path(*folders: Path) -> str:
    """A $PATH: these folders, then this machine's own."""
    return os.pathsep.join([*map(str, folders), "/usr/local/bin", "/usr/bin", "/bin"])
