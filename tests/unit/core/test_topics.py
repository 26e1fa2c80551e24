"""What in a stream's topics is weaker than its guarantee needs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scorer.core.topics import HOUR_MS, Held, letters_kept, time_outs_in_order, weak_points

SAFE = {
    "min.insync.replicas": "2",
    "max.message.bytes": "1000000",
    "retention.ms": "604800000",
    "cleanup.policy": "delete",
}
SOURCE, PREDICTIONS = Held("in", 3, SAFE), Held("out", 3, SAFE)
LETTERS = Held("letters", 3, {**SAFE, "max.message.bytes": "1100000"})
DEPLOYMENTS = Held("deployments", 3, {**SAFE, "retention.ms": "-1"})
OFFSETS = Held("__consumer_offsets", 3, SAFE)


def found(
    source: Held = SOURCE,
    letters: Held = LETTERS,
    deployments: Held = DEPLOYMENTS,
    once: bool = True,
    internal: Held = OFFSETS,
) -> list[str]:
    return weak_points(source, PREDICTIONS, letters, deployments, [internal], recovery_h=24, exactly_once=once)


def changed(held: Held, **settings: str) -> Held:
    return replace(
        held, settings={**held.settings, **{name.replace("_", "."): text for name, text in settings.items()}}
    )


def test_topics_that_hold_what_is_needed_are_passed_in_silence() -> None:
    assert found() == []


def test_too_few_copies_are_named() -> None:
    (text,) = found(source=replace(SOURCE, replicas=1))
    assert text.startswith("in has 1 copy")


def test_an_acknowledgement_by_one_broker_alone_is_named() -> None:
    (text,) = found(source=changed(SOURCE, min_insync_replicas="1"))
    assert "in has min.insync.replicas below 2" in text


@pytest.mark.parametrize(("once", "count"), [(True, 1), (False, 0)])
def test_kafkas_own_topics_count_for_transactions_alone(once: bool, count: int) -> None:
    assert len(found(internal=replace(OFFSETS, replicas=1), once=once)) == count


@pytest.mark.parametrize("policy", ["delete", "compact,delete"])
def test_a_retention_below_the_recovery_time_is_named_with_both(policy: str) -> None:
    (text,) = found(source=changed(SOURCE, retention_ms="3600000", cleanup_policy=policy))
    assert "1.0 h" in text
    assert "checks.recovery_h = 24" in text


@pytest.mark.parametrize(("kept_h", "count"), [(0, 1), (23, 1), (24, 0)])
def test_records_that_are_kept_for_the_recovery_time_exactly_are_kept_long_enough(kept_h: int, count: int) -> None:
    assert len(found(source=changed(SOURCE, retention_ms=str(kept_h * HOUR_MS)))) == count


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"retention.ms": "5"}, {"retention.ms": "5"}),
        ({"retention.ms": "0", "cleanup.policy": "compact,delete"}, {"retention.ms": "0"}),
        ({"retention.ms": "-1"}, {}),
        ({"retention.ms": "5", "cleanup.policy": "compact"}, {}),
        ({}, {}),
    ],
)
def test_dead_letters_are_kept_as_long_as_their_records_and_by_the_brokers_default_where_those_are_for_ever(
    settings: dict[str, str], kept: dict[str, str]
) -> None:
    assert letters_kept(settings) == kept


@pytest.mark.parametrize("settings", [{"retention_ms": "-1"}, {"retention_ms": "1", "cleanup_policy": "compact"}])
def test_a_topic_that_keeps_its_records_for_ever_is_long_enough_and_needs_no_dead_letters_for_ever(
    settings: dict[str, str],
) -> None:
    assert found(source=changed(SOURCE, **settings)) == []


@pytest.mark.parametrize("policy", ["delete", "compact,delete"])
def test_dead_letters_that_may_expire_before_their_records_would_are_named_with_what_to_run(policy: str) -> None:
    source = changed(SOURCE, retention_ms="604800001", cleanup_policy=policy)
    (text,) = found(source=source)
    assert "letters keeps records for 168.0 h" in text
    assert text.endswith("run: kafka-configs --alter --topic letters --add-config retention.ms=604800001")
    assert found(source=source, letters=changed(LETTERS, retention_ms="604800001")) == []


def test_a_dead_letter_topic_must_hold_the_largest_record_and_its_headers() -> None:
    (text,) = found(letters=changed(LETTERS, max_message_bytes="1000000"))
    assert "1004096" in text


def test_a_compacted_dead_letter_topic_is_named() -> None:
    (text,) = found(letters=changed(LETTERS, cleanup_policy="compact,delete"))
    assert "compacted" in text


@pytest.mark.parametrize(
    "settings",
    [
        {"retention_ms": "604800000"},
        {"retention_ms": "0"},
        {"retention_bytes": "1000000"},
        {"cleanup_policy": "compact"},
    ],
)
def test_a_history_of_deployments_that_is_not_kept_for_ever_is_named(settings: dict[str, str]) -> None:
    (text,) = found(deployments=changed(DEPLOYMENTS, **settings))
    assert "deployments forgets" in text


def test_a_transaction_may_not_outlast_what_the_broker_allows() -> None:
    assert time_outs_in_order(10_000, 900_000) == time_outs_in_order(10_000, 10_000) == []
    assert "transaction.max.timeout.ms = 5000" in time_outs_in_order(10_000, 5_000)[0]
