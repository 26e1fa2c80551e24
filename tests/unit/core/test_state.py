"""What a service tells about itself."""

from __future__ import annotations

from scorer.core.state import State, Status


def test_a_change_of_state_is_told_and_the_same_state_again_is_not() -> None:
    told: list[tuple[State, str]] = []
    status = Status(lambda state, detail: told.append((state, detail)))
    status.enter(State.RUNNING, "")
    status.enter(State.WAITING, "broker is down")
    status.enter(State.WAITING, "broker is down for 5 s")
    assert told == [(State.RUNNING, ""), (State.WAITING, "broker is down")]
    assert (status.state, status.detail) == (State.WAITING, "broker is down for 5 s")


def test_only_a_running_service_is_ready() -> None:
    ready = []
    for state in State:
        status = Status(lambda *_: None, state)
        ready += [state] * status.ready
    assert ready == [State.RUNNING]


def test_a_service_is_alive_while_its_loop_has_turned_lately() -> None:
    status = Status(lambda *_: None)
    status.beat(1000.0)
    assert status.alive(1999.9, 1000.0)
    assert not status.alive(2000.0, 1000.0)
