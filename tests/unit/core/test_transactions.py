"""What a failed call of a transaction means: every combination of the client's marks."""

from __future__ import annotations

from itertools import product

import pytest

from scorer.core.transactions import OLD_SHARE, Failure, Verdict, verdict

TIMEOUT_MS = 10_000.0
MARKS = list(product([False, True], repeat=3))


@pytest.mark.parametrize(("abortable", "retriable", "_"), MARKS)
def test_a_fatal_error_costs_the_producer(abortable: bool, retriable: bool, _: bool) -> None:
    failure = Failure(fatal=True, abortable=abortable, retriable=retriable)
    assert verdict(failure, TIMEOUT_MS) is Verdict.RECYCLE


@pytest.mark.parametrize("retriable", [False, True])
def test_an_abort_is_heeded_before_another_try(retriable: bool) -> None:
    assert verdict(Failure(abortable=True, retriable=retriable), TIMEOUT_MS) is Verdict.ABORT


def test_what_may_be_tried_again_is() -> None:
    assert verdict(Failure(retriable=True), TIMEOUT_MS) is Verdict.RETRY


def test_an_error_without_any_mark_costs_the_producer() -> None:
    assert verdict(Failure(), TIMEOUT_MS) is Verdict.RECYCLE


@pytest.mark.parametrize(("fatal", "abortable", "retriable"), MARKS)
def test_a_fence_in_a_young_transaction_is_another_instance(fatal: bool, abortable: bool, retriable: bool) -> None:
    young = OLD_SHARE * TIMEOUT_MS - 1
    for age_ms in (0.0, young):
        failure = Failure(fatal, abortable, retriable, fence=True, age_ms=age_ms)
        assert verdict(failure, TIMEOUT_MS) is Verdict.FENCED


@pytest.mark.parametrize(("fatal", "abortable", "retriable"), MARKS)
def test_a_fence_in_a_transaction_that_has_timed_out_is_the_brokers(
    fatal: bool, abortable: bool, retriable: bool
) -> None:
    for age_ms in (OLD_SHARE * TIMEOUT_MS, 3 * TIMEOUT_MS):
        failure = Failure(fatal, abortable, retriable, fence=True, age_ms=age_ms)
        assert verdict(failure, TIMEOUT_MS) is Verdict.RECYCLE


@pytest.mark.parametrize(("fatal", "abortable", "retriable"), MARKS)
def test_a_fence_may_be_our_own_while_a_request_of_ours_for_a_new_epoch_is_unanswered(
    fatal: bool, abortable: bool, retriable: bool
) -> None:
    failure = Failure(fatal, abortable, retriable, fence=True, age_ms=0.0, strayed=True)
    assert verdict(failure, TIMEOUT_MS) is Verdict.RECYCLE
