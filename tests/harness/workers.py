"""Real `scorer worker` processes of the real command line, with a scorer.toml written for them.

Nothing outlives its test: a process is on a leash (leash.py) and is ended when its `with` block is left.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

from scorer.local.ports import free_ports, is_free
from tests.harness.topics import ROOT, Topics

READY_S_MAX = 60.0
END_S_MAX = 40.0
POLL_S = 0.05
LEASH = Path(__file__).with_name("leash.py")

_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


@dataclass(slots=True)
class Worker:
    """A started `scorer worker`.

    Attributes:
        config: its scorer.toml.
        ports: health ports, one per stream, in the order of the settings.
        log: what it has printed.
        pid: its process id.
        leash: holds it.
    """

    config: Path
    ports: Sequence[int]
    log: Path
    pid: int
    leash: subprocess.Popen[bytes]
    _code: int | None = field(default=None, repr=False)

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self.leash.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the process itself."""
        assert self.running, f"it has ended:\n{self.text()}"
        os.kill(self.pid, number)

    def wait(self, wait_s_max: float = END_S_MAX) -> int:
        """Waits for the end and returns the exit code; negative is the signal that ended it."""
        if self._code is None:
            self.leash.wait(wait_s_max)
            assert self.leash.stdout is not None
            with self.leash.stdout:
                self._code = int(self.leash.stdout.read())
        return self._code

    def health(self, path: str, at: int = 0) -> tuple[int, dict[str, Any]]:
        """Status and body of a health check; status 0 if nobody listens."""
        status, text = _get(f"http://127.0.0.1:{self.ports[at]}/v2/health/{path}")
        return status, json.loads(text) if text else {}

    def ready(self, at: int = 0) -> bool:
        """Whether its stream at that place says that it scores."""
        return self.health("ready", at)[0] == 200

    def wait_ready(self, wait_s_max: float = READY_S_MAX) -> Worker:
        """Waits until every stream is ready."""
        for at in range(len(self.ports)):
            self.until(lambda at=at: self.ready(at), "ready", wait_s_max)  # type: ignore[misc]
        return self

    def until(self, holds: Callable[[], Any], what: str, wait_s_max: float = READY_S_MAX) -> None:
        """Waits until something holds while the process runs; says with its log what did not come."""
        deadline_s = time.monotonic() + wait_s_max
        while not holds():
            assert self.running, f"it ended with {self.wait()} before it was {what}:\n{self.text()}"
            assert time.monotonic() < deadline_s, f"not {what} within {wait_s_max:.0f} s:\n{self.text()}"
            time.sleep(POLL_S)

    def metric(self, name: str, at: int = 0, **labels: str) -> float:
        """The sum of a metric's samples that have these labels, 0 if there are none."""
        return metric(self.exposition(at), name, **labels)

    def exposition(self, at: int = 0) -> str:
        """All that /metrics says."""
        status, text = _get(f"http://127.0.0.1:{self.ports[at]}/metrics")
        assert status == 200, f"/metrics answers {status}"
        return text

    def pages(self, at: int = 0) -> dict[str, tuple[int, str]]:
        """Status and text of all that it answers over HTTP, by path; status 0 if nobody listens."""
        paths = ("/metrics", "/v2/health/live", "/v2/health/ready")
        return {path: _get(f"http://127.0.0.1:{self.ports[at]}{path}") for path in paths}

    def events(self, name: str) -> list[dict[str, Any]]:
        """Its log lines of one event."""
        return [line for line in self.lines() if line.get("event") == name]

    def lines(self) -> list[dict[str, Any]]:
        """Its log lines; what is no JSON is left out."""
        found = []
        for line in self.text().splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return [line for line in found if isinstance(line, dict)]

    def text(self) -> str:
        """All that it has printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def owned(self) -> set[int]:
        """The partitions that it holds, by its own log."""
        held: set[int] = set()
        for line in self.lines():
            if line.get("event") == "partitions.assigned":
                held |= {int(partition) for partition in line["positions"]}
            elif line.get("event") in ("partitions.revoked", "partitions.lost"):
                held -= set(line["partitions"])
        return held

    def end(self) -> None:
        """Ends it, however it is; a clean end first."""
        if self.running:
            os.kill(self.pid, signal.SIGTERM)
            try:
                self.leash.wait(END_S_MAX)
            except subprocess.TimeoutExpired:
                os.kill(self.pid, signal.SIGKILL)
        assert self.leash.stdin is not None
        self.leash.stdin.close()
        self.leash.wait(END_S_MAX)
        self.wait()


def metric(exposition: str, name: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels, 0 if there are none, in Prometheus' text format."""
    return sum(
        float(value)
        for found, given, value in _SAMPLE.findall(exposition)
        if found == name and all(f'{key}="{wanted}"' in given for key, wanted in labels.items())
    )


def stream(name: str, bundle: Path | str, topics: Topics, **more: Any) -> dict[str, Any]:
    """One [[streams]] table."""
    path = Path(bundle) if Path(bundle).is_absolute() else ROOT / "models" / bundle
    names = {"from": topics.events, "to": topics.predictions, "dead_letters": topics.letters}
    return {"name": name, "bundle": str(path), **names, **more}


def write_settings(
    folder: Path,
    *,
    kafka: str,
    registry: str,
    group: str,
    streams: Sequence[Mapping[str, Any]],
    name: str = "scorer.toml",
    **tables: Mapping[str, Any],
) -> Path:
    """Writes a scorer.toml as a user would, with a schema cache of its own, and returns its path.

    `tables` are further tables (`batch={"rows_max": 10}`), `kafka_consumer` those of [kafka.consumer].
    """
    port = _run_of_ports(len(streams))
    whole = {
        "kafka": {"bootstrap.servers": kafka},
        "kafka.consumer": tables.pop("kafka_consumer", {}),
        "kafka.producer": tables.pop("kafka_producer", {}),
        "registry": {"url": registry, "cache": str(folder / "schema-cache"), **tables.pop("registry_more", {})},
        "metrics": {"port": port},
        **tables,
    }
    text = f"group = {json.dumps(group)}\n"
    text += "".join(f"\n[{table}]\n{_toml(values)}" for table, values in whole.items() if values)
    text += "".join(f"\n[[streams]]\n{_toml(values)}" for values in streams)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@contextmanager
def worker(
    config: Path,
    *arguments: str,
    name: str = "worker",
    ports: Sequence[int] | None = None,
    variables: Mapping[str, str] | None = None,
) -> Iterator[Worker]:
    """Starts `scorer worker` with these settings and ends it when the block is left. It need not be ready yet.

    `ports` are the health ports of its streams, by default as `write_settings` chose them; `variables` are added to its
    environment.
    """
    if ports is None:
        settings = tomllib.loads(config.read_text(encoding="utf-8"))
        names = [each["name"] for each in settings["streams"]]
        wanted = [each for each in names if each in arguments] or names
        ports = [settings["metrics"]["port"] + names.index(each) for each in wanted]
    log = config.with_name(f"{name}.log")
    command = [sys.executable, "-m", "scorer", "worker", *arguments, "--config", str(config)]
    with log.open("ab") as output:
        leash = subprocess.Popen(
            [sys.executable, "-I", "-S", str(LEASH), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            cwd=config.parent,
            env={**environment(), **(variables or {})},
        )
    assert leash.stdout is not None
    pid = int(leash.stdout.readline())
    started = Worker(config, ports, log, pid, leash)
    try:
        yield started
    finally:
        started.end()


def scorer(*arguments: str, cwd: Path, wait_s_max: float = 120.0) -> subprocess.CompletedProcess[str]:
    """Runs a `scorer` command to its end."""
    command = [sys.executable, "-m", "scorer", *arguments]
    return subprocess.run(
        command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=wait_s_max, check=False
    )


def environment() -> dict[str, str]:
    """The variables for a `scorer` process: ours, without any that would set it up otherwise."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SCORER_")}
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "NO_PROXY": "*"}


def _run_of_ports(count: int) -> int:
    """The first of several free ports in a row."""
    while True:
        (first,) = free_ports(1)
        if all(is_free(first + more) for more in range(1, count)):
            return first


def _toml(values: Mapping[str, Any]) -> str:
    """Keys and plain values; JSON writes those as TOML does."""
    return "".join(f"{_key(key)} = {json.dumps(value)}\n" for key, value in values.items())


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)


def _get(url: str) -> tuple[int, str]:
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=5) as answer:
            return int(answer.status), answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except (URLError, OSError):
        return 0, ""
