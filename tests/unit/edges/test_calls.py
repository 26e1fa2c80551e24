"""Calls that may never return cost their client, not the process."""

from __future__ import annotations

from functools import partial
from threading import Event, current_thread

import pytest
from confluent_kafka import KafkaError, KafkaException

from scorer.edges.kafka.calls import LET_GO_S, Calls

SOON_S = 0.1
LONG_S = 10.0


def test_a_call_raises_what_it_raised() -> None:
    calls = Calls()
    calls.make(lambda: None, LONG_S)
    error = KafkaException(KafkaError(KafkaError._TIMED_OUT))

    def fail() -> None:
        raise error

    with pytest.raises(KafkaException) as caught:
        calls.make(fail, LONG_S)
    assert caught.value is error
    calls.close()


def test_calls_are_made_one_after_the_other_in_one_thread() -> None:
    calls, names = Calls(), []
    for _ in range(3):
        calls.make(lambda: names.append(current_thread().ident), LONG_S)
    assert len(set(names)) == 1
    assert names[0] != current_thread().ident
    calls.close()


def test_a_call_that_does_not_return_is_left_and_the_next_one_is_made() -> None:
    calls, free, made = Calls(), Event(), Event()
    with pytest.raises(TimeoutError):
        calls.make(free.wait, SOON_S)
    calls.make(made.set, LONG_S)
    assert made.is_set()
    free.set()
    calls.make(lambda: None, LONG_S)  # what the first one said at last is not taken for the answer
    calls.close()


class Client:
    """A client that tells of its end."""

    def __init__(self) -> None:
        self.gone = Event()

    def call(self, free: Event) -> None:
        free.wait()

    def __del__(self) -> None:
        self.gone.set()


@pytest.mark.parametrize("stuck", [False, True])
def test_a_client_that_is_let_go_ends_as_soon_as_no_call_is_stuck_in_it(stuck: bool) -> None:
    calls, client, free = Calls(), Client(), Event()
    gone = client.gone
    if stuck:
        with pytest.raises(TimeoutError):
            calls.make(partial(client.call, free), SOON_S)
    calls.let_go(client)
    del client
    assert gone.wait(LONG_S if not stuck else 2 * LET_GO_S) != stuck
    free.set()
    assert gone.wait(LONG_S)
    calls.close()
