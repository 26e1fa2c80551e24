"""`scorer local up` and `down`: one at a time in a folder. A process that only sleeps stands for Kafka."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from scorer.core.errors import ConfigError
from scorer.local import process, stack
from scorer.local.demo_folder import hold
from scorer.local.java import LocalUnavailable
from scorer.local.server import Server

WAIT_S_MAX = 20.0


@dataclass
class Surrounding:
    """A folder where Kafka answers once it is let.

    Attributes:
        answering: set to let it.
        said: what the commands told.
        waits: set as soon as a command waits for another.
        launched: how many were started.
    """

    folder: Path
    pool: ThreadPoolExecutor
    answering: Event = field(default_factory=Event)
    waits: Event = field(default_factory=Event)
    launches: Event = field(default_factory=Event)
    said: list[str] = field(default_factory=list)
    launched: int = 0

    def say(self, text: str) -> None:
        self.said.append(text)
        if text.startswith("Waiting for another"):
            self.waits.set()

    def server(self, name: str, folder: Path, _: tuple[int, int], __: object) -> Server:
        def command() -> list[str]:
            self.launched += 1
            self.launches.set()
            return ["/bin/sleep", "60"]

        return Server(name, "127.0.0.1:1", folder / name / "log", command, self.answering.is_set, self.say)

    def up(self) -> Future[stack.State]:
        return self.pool.submit(stack.up, self.folder, self.say, registry=False)

    def down(self) -> Future[tuple[str, ...]]:
        return self.pool.submit(stack.down, self.folder, self.say)


@pytest.fixture
def surrounding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Surrounding]:
    with ThreadPoolExecutor(2) as pool:
        made = Surrounding(tmp_path / "local", pool)
        monkeypatch.setattr(stack, "_server", made.server)
        try:
            yield made
        finally:
            made.answering.set()
            stack.down(made.folder, made.say)


def waited_for(event: Event) -> None:
    assert event.wait(WAIT_S_MAX)


def test_an_up_during_another_waits_until_that_ones_servers_answer_and_starts_no_second(
    surrounding: Surrounding,
) -> None:
    first = surrounding.up()
    waited_for(surrounding.launches)
    second = surrounding.up()
    waited_for(surrounding.waits)
    assert not second.done()
    surrounding.answering.set()
    assert first.result(WAIT_S_MAX).members == second.result(WAIT_S_MAX).members
    assert surrounding.launched == 1
    assert surrounding.said[-1] == "kafka already runs at 127.0.0.1:1"


def test_a_down_during_an_up_waits_and_ends_what_that_has_started(surrounding: Surrounding) -> None:
    started = surrounding.up()
    waited_for(surrounding.launches)
    ended = surrounding.down()
    waited_for(surrounding.waits)
    surrounding.answering.set()
    (member,) = started.result(WAIT_S_MAX).members
    assert ended.result(WAIT_S_MAX) == ("kafka",)
    assert not process.alive(member.mark)


def test_a_down_where_nothing_ever_was_makes_nothing(tmp_path: Path) -> None:
    said: list[Any] = []
    assert stack.down(tmp_path / "none", said.append) == ()
    assert list(tmp_path.iterdir()) == said == []


def test_an_up_that_starts_nothing_leaves_the_folder_to_a_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "is_free", lambda _: False)
    with pytest.raises(LocalUnavailable, match="is taken"):
        stack.up(tmp_path, print)
    with ExitStack() as demo:
        hold(tmp_path, demo)


def test_a_down_where_only_a_demo_works_does_not_wait_for_it(tmp_path: Path) -> None:
    said: list[Any] = []
    with ThreadPoolExecutor(1) as pool, ExitStack() as demo:
        hold(tmp_path, demo)
        assert pool.submit(stack.down, tmp_path, said.append).result(WAIT_S_MAX) == ()
    assert said == []


def test_a_down_in_a_folder_of_something_else_leaves_no_file(tmp_path: Path) -> None:
    assert stack.down(tmp_path, print) == ()
    assert list(tmp_path.iterdir()) == []


def test_a_down_needs_no_right_to_write_where_nothing_was_started(tmp_path: Path) -> None:
    (tmp_path / stack.LOCK).mkdir()  # refuses even root, as a folder without that right does not
    assert stack.down(tmp_path, print) == ()


def test_nothing_runs_in_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert stack.status_of(tmp_path / "file") == ()


def test_a_folder_that_cannot_be_used_is_the_callers(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"/file cannot be used: File exists; give --folder OTHER"):
        stack.up(tmp_path / "file", print)
    with pytest.raises(ConfigError, match=r"/file/below cannot be used: Not a directory; give --folder OTHER"):
        stack.up(tmp_path / "file" / "below", print)
