"""Dead letters have a way back: what a later registry or bundle lets pass gets the live run's ids and scores.

A worker reads one stream in which every kind of poison stands beside good leads, leads of a schema that its registry
does not know yet, and ages that its bundle refuses. What it rejected is then counted, shown and scored again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.harness.claims import lasting, scored_once, scored_right
from tests.harness.plain_scorer import PlainScorer
from tests.harness.rejected import BUNDLE, LATER, OLD, PER_KIND, Rejected, dead_letters, rejected_leads, source_of
from tests.harness.topics import Raw
from tests.oracle.record import Record

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def rejected(kafka: str, registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rejected]:
    with rejected_leads(kafka, registry, tmp_path_factory.mktemp("letters")) as found:
        yield found


def test_a_dry_run_says_how_many_would_pass_by_reason_and_changes_nothing(rejected: Rejected) -> None:
    before = rejected.contents()
    found = rejected.run("redrive", "--dry-run", "--force", code=5)
    assert (found["records"], found["passed"], found["dry_run"]) == (len(rejected.reasons), LATER, True)
    expected = Counter(rejected.reasons.values())
    for reason, count in expected.items():
        passed = LATER if reason == "unknown_schema" else 0
        again = {reason: count - passed} if count > passed else {}
        assert found["by_reason"][reason] == {"passed": passed, "rejected": again, "lost": 0, "refused": 0}
    assert rejected.contents() == before


def test_records_whose_schema_was_registered_later_get_the_ids_and_scores_of_the_live_run(rejected: Rejected) -> None:
    events, predictions, letters = rejected.contents()
    found = rejected.run("redrive", "--reason", "unknown_schema", code=5)
    unknown = [place for place, reason in rejected.reasons.items() if reason == "unknown_schema"]
    hopeless = set(unknown) - {(each.partition, each.offset) for each in rejected.of("later")}
    assert (found["records"], found["passed"], found["from_source"]) == (len(unknown), LATER, len(unknown))
    assert found["by_reason"]["unknown_schema"]["rejected"] == {"unknown_schema": len(hopeless)}
    after = rejected.contents()
    assert after[0] == events, "something was written to the input topic"
    _are_right(rejected, _added(predictions, after[1]), rejected.of("later"), BUNDLE)
    new = _new(letters, after[2])
    assert {source_of(each) for each in new} == hopeless
    for each in new:
        source = rejected.sources[source_of(each)]
        assert (each.key, each.value, each.timestamp) == (source.key, source.value, source.timestamp)
        assert each.headers[: len(source.headers)] == source.headers
        assert each.headers[-1] == ("scorer.attempts", b"1")


def test_a_bundle_that_takes_more_lets_pass_what_an_earlier_one_refused(rejected: Rejected) -> None:
    events, predictions, _ = rejected.contents()
    refused = [place for place, reason in rejected.reasons.items() if reason == "out_of_range"]
    with rejected.deployed(rejected.wider):
        found = rejected.run("redrive", "--reason", "out_of_range", code=5)
    assert (found["records"], found["passed"]) == (len(refused), OLD + PER_KIND)
    after = rejected.contents()
    assert after[0] == events
    passed = rejected.of("old", "a number over its range")
    _are_right(rejected, _added(predictions, after[1]), passed, rejected.wider)


def test_doing_it_twice_gives_the_same_ids_and_scores(rejected: Rejected) -> None:
    chosen = rejected.of("later")[:3]
    places = [f"{each.partition}:{each.offset}" for each in chosen]
    made = []
    for _ in range(2):
        before = rejected.stream.predictions()
        assert rejected.run("redrive", *places, "--event")["passed"] == 3
        made.append(_added(before, rejected.stream.predictions()))
    for each in made:
        _are_right(rejected, each, chosen, BUNDLE)
    first, second = ({each["key"]: (each["partition"], lasting(each)) for each in round_} for round_ in made)
    assert first == second


def test_a_record_that_keeps_failing_is_refused_until_it_is_forced(rejected: Rejected) -> None:
    (event, *_) = rejected.of("a number that is none")
    named = (f"{event.partition}:{event.offset}", "--event", "--attempts-max", "1")

    def attempts() -> list[int]:
        about = [each for each in rejected.stream.letters() if source_of(each) == (event.partition, event.offset)]
        assert all(("scorer.attempts", b"9") in each.headers for each in about), "the record's own header is kept"
        return sorted(int(each.headers[-1][1] or b"") for each in about if each.headers[-1][0] == "scorer.attempts")

    assert rejected.run("redrive", *named, code=5)["rejected"] == 1
    assert attempts() == [1]
    refused = rejected.run("redrive", *named, code=5)
    assert (refused["records"], refused["refused"], refused["rejected"]) == (1, 1, 0)
    assert attempts() == [1]
    assert rejected.run("redrive", *named, "--force", code=5)["rejected"] == 1
    assert attempts() == [1, 2]


def test_letters_are_counted_by_reason_stage_stream_model_and_time(rejected: Rejected) -> None:
    found = rejected.run("list")
    assert found["records"] == len(rejected.reasons)
    assert (found["foreign"], found["by_stream"]) == (0, {"lead": found["letters"]})
    assert sum(found["by_hour"].values()) == sum(found["by_stage"].values()) == found["letters"]
    assert found["by_reason"].keys() == set(rejected.reasons.values())
    malformed = Counter(rejected.reasons.values())["malformed"]
    assert rejected.run("list", "--reason", "malformed")["by_reason"] == {"malformed": malformed}
    assert rejected.run("list", "--since", "2999-01-01")["letters"] == 0
    assert "malformed" in dead_letters(rejected.config, "list")


def test_positions_that_list_prints_are_those_that_show_and_redrive_take(rejected: Rejected, tmp_path: Path) -> None:
    lines = dead_letters(rejected.config, "list", "lead", "--positions", "--reason", "trailing_bytes").splitlines()
    assert len(lines) == 2 * PER_KIND
    letter, topic, event, *_ = lines[0].split()
    assert topic == rejected.stream.topics.events
    by_letter, by_event = rejected.run("show", letter), rejected.run("show", event, "--event")
    assert by_letter == by_event
    assert (by_letter["letter"], by_letter["event"], by_letter["reason"]) == (letter, event, "trailing_bytes")
    file = tmp_path / "chosen"
    file.write_text("\n".join(["# two", "", *lines[:2]]))
    found = rejected.run("redrive", "--file", str(file), "--dry-run", code=5)
    assert (found["records"], found["rejected"]) == (2, 2)
    assert "no dead letter" in dead_letters(rejected.config, "redrive", "lead", "3:999999", code=3)


def test_a_record_is_shown_field_by_field_up_to_where_it_breaks_and_the_rest_in_hex(rejected: Rejected) -> None:
    (event, *_) = rejected.of("an enum index too high")
    assert event.value is not None
    place = f"{event.partition}:{event.offset}"
    found = rejected.run("show", place, "--event")
    assert (found["reason"], found["stopped_in"], found["source_holds_it"]) == ("malformed", "job", True)
    paths = [path for _, path, *_ in found["payload"]["fields"]]
    assert paths == ["event_id", "lead_id", "occurred_at", "age"]
    assert bytes.fromhex(found["payload"]["rest"]) == event.value[found["stopped_at"] :]
    text = dead_letters(rejected.config, "show", "lead", place, "--event")
    lead_id = found["payload"]["fields"][1][3]
    assert lead_id in text
    assert "an enum index is outside 0 to 11" in text
    hidden = dead_letters(rejected.config, "show", "lead", place, "--event", "--no-payload")
    assert "an enum index is outside 0 to 11" in hidden
    for payload in (lead_id, (event.key or b"").decode(), "told", event.value[found["stopped_at"] :][:8].hex(" ")):
        assert payload in text
        assert payload not in hidden


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("an unknown schema id", "the registry does not know id"),
        ("a recursive schema", "is recursive"),
        ("a number under its range", "decoded      whole"),
    ],
)
def test_every_sort_of_letter_says_in_words_how_far_it_decodes(rejected: Rejected, kind: str, said: str) -> None:
    (event, *_) = rejected.of(kind)
    assert said in dead_letters(rejected.config, "show", "lead", f"{event.partition}:{event.offset}", "--event")


def _are_right(rejected: Rejected, records: Sequence[Record], sources: Sequence[Raw], bundle: Path) -> None:
    scored_once(records, sources)
    scored_right(records, sources, PlainScorer(bundle), rejected.stream.registry)


def _added(before: Sequence[Record], after: Sequence[Record]) -> list[Record]:
    """The predictions that have come since."""
    ends = {(each["partition"], each["offset"]) for each in before}
    return [each for each in after if (each["partition"], each["offset"]) not in ends]


def _new(before: Sequence[Raw], after: Sequence[Raw]) -> list[Raw]:
    known = {(each.partition, each.offset) for each in before}
    return [each for each in after if (each.partition, each.offset) not in known]
