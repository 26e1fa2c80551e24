"""Connections are open files: their limit is raised as far as it may be, and what is left over is what can be held."""

from __future__ import annotations

import resource

import pytest

from scorer.edges.web.room import room_for

FOR_EVER = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "room", "raised"),
    [
        (1_024, 524_288, 3_000, [(3_200, 524_288)]),
        (1_024, FOR_EVER, 3_000, [(3_200, FOR_EVER)]),
        (1_024, 2_048, 1_848, [(2_048, 2_048)]),
        (1_024, 1_024, 824, []),
        (100, 100, 1, []),
        (3_200, 524_288, 3_000, []),
        (FOR_EVER, FOR_EVER, 3_000, []),
    ],
)
def test_as_many_connections_are_held_as_files_may_be_open_less_some_for_kafka_and_the_store(
    soft: int, hard: int, room: int, raised: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_to: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: set_to.append(limits))
    assert room_for(3_000) == room
    assert set_to == raised
