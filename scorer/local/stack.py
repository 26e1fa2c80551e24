"""Kafka and the registry as one surrounding that stays up between commands: `scorer local up`, `down`, `status`.

Guarantees: what `up` has started is written down in the folder before it is waited for, so `status` and `down` find it
even after a broken start; one `up` or `down` at a time works in a folder, so nothing is started twice or missed; `down`
signals only the very processes that were written down; data stays in the folder, and the next `up` goes on with it.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from scorer.core.errors import ConfigError
from scorer.edges.home import expanded
from scorer.local import class_archive, process
from scorer.local.java import LocalUnavailable, Say
from scorer.local.kafka import Plan as KafkaPlan
from scorer.local.kafka import kafka
from scorer.local.ports import free_ports, is_free
from scorer.local.registry import Plan as RegistryPlan
from scorer.local.registry import registry as registry_server
from scorer.local.server import STOP_S_MAX, Server

KAFKA_PORT, REGISTRY_PORT = 9092, 8081
LOCK = "lock"
STATE = "state.json"
"""What was started in a folder, written before anything is. It stays for good: whose the data is can be told by it."""


@dataclass(frozen=True, slots=True)
class Member:
    """One server of the surrounding, as the state file knows it."""

    name: str
    address: str
    pid: int
    born: str
    log: str

    @property
    def mark(self) -> process.Mark:
        """Returns what tells its process from any other."""
        return process.Mark(self.pid, self.born)


@dataclass(frozen=True, slots=True)
class State:
    """What was started in a folder, in the order of starting: Kafka, then the registry if it was wanted."""

    folder: Path
    members: tuple[Member, ...]

    def member(self, name: str) -> Member | None:
        """Returns the server "kafka" or "registry", if the state has it."""
        return next((member for member in self.members if member.name == name), None)


@dataclass(frozen=True, slots=True)
class Status:
    """How one server is now; `resident_mb` is 0 when it does not run."""

    member: Member
    running: bool
    resident_mb: float


def default_folder() -> Path:
    """Returns where the surrounding lives unless said otherwise: `$XDG_STATE_HOME` or ~/.local/state, scorer/local.

    Raises:
        ConfigError: nobody knows the home folder.
    """
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else expanded(Path("~/.local/state"))) / "scorer" / "local"


def up(
    folder: Path,
    say: Say,
    *,
    kafka_port: int = KAFKA_PORT,
    registry_port: int = REGISTRY_PORT,
    registry: bool = True,
) -> State:
    """Starts Kafka and, if wanted, the registry, and returns once they answer; they go on after this process.

    What already runs in this folder is left as it is. Both start at the same time.

    Raises:
        ConfigError: the folder cannot be used.
        LocalUnavailable: one cannot be had; what this call has started is ended again.
    """
    folder = folder.resolve()
    wanted = {"kafka": kafka_port} | ({"registry": registry_port} if registry else {})
    with _alone(folder, say):
        return _up(folder, say, wanted)


def down(folder: Path, say: Say) -> tuple[str, ...]:
    """Ends what `up` has started in `folder`, the registry first, and returns the names of what was running."""
    if not _file(folder).exists():  # whoever holds the lock there is a demo
        return ()
    with _alone(folder, say):
        return _down(folder, say)


def status_of(folder: Path) -> tuple[Status, ...]:
    """Returns how the servers that `up` has started in `folder` are now; nothing if there are none."""
    return tuple(
        Status(member, process.alive(member.mark), process.resident_mb(member.mark)) for member in _read(folder).members
    )


def open_lock(folder: Path) -> TextIO:
    """Opens the file that whoever works in a folder locks; the folder is made if it is not there.

    Raises:
        ConfigError: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return (folder / LOCK).open("a", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{folder} cannot be used: {error.strerror}; give --folder OTHER") from error


@contextmanager
def _alone(folder: Path, say: Say) -> Iterator[None]:
    """Waits for another command that works in the folder, and keeps others out; the kernel lets go when we end."""
    with open_lock(folder) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"Waiting for another command that works in {folder}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _up(folder: Path, say: Say, wanted: Mapping[str, int]) -> State:
    members = {status.member.name: status.member for status in status_of(folder) if status.running}
    servers: dict[str, Server] = {}
    is_new = not _file(folder).exists()
    if is_new:
        _write(State(folder, ()))  # a `down` from now on waits for us
    try:
        for name, port in wanted.items():
            if name in members:
                say(f"{name} already runs at {members[name].address}")
                continue
            (second,) = free_ports(1, apart_from=wanted.values())
            servers[name] = server = _server(name, folder, (port, second), say)
            server.launch(keep=True)
            assert server.mark is not None
            members[name] = Member(name, server.address, server.mark.pid, server.mark.born, str(server.log))
            _write(State(folder, tuple(members.values())))
        for server in servers.values():
            server.wait_ready()
    except BaseException:
        for server in servers.values():
            server.kill()
        if is_new and not members:
            _file(folder).unlink()
        raise
    return State(folder, tuple(members.values()))


def _down(folder: Path, say: Say) -> tuple[str, ...]:
    ended = []
    for status in reversed(status_of(folder)):
        if not status.running:
            continue
        say(f"Stopping {status.member.name}")
        home = Path(status.member.log).parent
        if process.end(status.member.mark, STOP_S_MAX):
            class_archive.publish(home)
        class_archive.discard(home)
        ended.append(status.member.name)
    if _file(folder).exists():
        _write(State(folder, ()))
    return tuple(ended)


def _server(name: str, folder: Path, ports: tuple[int, int], say: Say) -> Server:
    port, _ = ports
    if not is_free(port):
        raise LocalUnavailable(f"Port {port} of {name} is taken on 127.0.0.1", "Choose another, end what holds it")
    if name == "kafka":
        return kafka(KafkaPlan(folder / name, *ports), say)
    return registry_server(RegistryPlan(folder / name, *ports), say)


def _file(folder: Path) -> Path:
    return folder.resolve() / STATE


def _read(folder: Path) -> State:
    try:
        content = json.loads(_file(folder).read_text(encoding="utf-8"))
        return State(folder, tuple(Member(**member) for member in content["members"]))
    except (FileNotFoundError, NotADirectoryError):
        return State(folder, ())
    except (ValueError, KeyError, TypeError) as error:
        raise LocalUnavailable(f"{_file(folder)} is not what `local up` writes: {error}", "Delete it") from error


def _write(state: State) -> None:
    fresh = _file(state.folder).with_suffix(".part")
    fresh.write_text(json.dumps({"members": [asdict(member) for member in state.members]}, indent=2), encoding="utf-8")
    fresh.replace(_file(state.folder))
