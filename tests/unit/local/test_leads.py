from __future__ import annotations

import gzip
import io
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import pytest

from scorer.local.leads import PROFILE, Profile, load_profile, read_leads, sample_leads

SCHEMA = fastavro.parse_schema(json.loads((Path(__file__).parents[3] / "schemas/events.new-lead.avsc").read_text()))
START_MS = 1_700_000_000_000

HEADER = (
    '"age";"job";"marital";"education";"default";"housing";"loan";"contact";"month";"day_of_week";"duration";"campaign";'
    '"pdays";"previous";"poutcome";"emp.var.rate";"cons.price.idx";"cons.conf.idx";"euribor3m";"nr.employed";"y"'
)
NEVER_CONTACTED = (
    '31;"blue-collar";"single";"basic.4y";"unknown";"yes";"no";"cellular";"oct";"tue";77;3;999;0;"nonexistent"'
    ';-0.1;93.2;-42;4.021;5195.8;"no"'
)
CONTACTED = (
    '62;"admin.";"divorced";"university.degree";"no";"no";"yes";"telephone";"mar";"fri";301;1;6;2;"success"'
    ';-1.8;93.369;-34.8;0.65;5008.7;"yes"'
)
ENUMS = {
    1: "admin. blue-collar entrepreneur housemaid management retired self-employed services student technician"
    " unemployed unknown",
    2: "divorced married single unknown",
    3: "basic.4y basic.6y basic.9y high.school illiterate professional.course university.degree unknown",
    4: "no yes unknown",
    5: "no yes unknown",
    6: "no yes unknown",
    7: "cellular telephone",
    8: "jan feb mar apr may jun jul aug sep oct nov dec",
    9: "mon tue wed thu fri",
    14: "failure nonexistent success",
}


def at(number: int) -> int:
    return START_MS + number


def written(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "leads.csv"
    path.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    return path


def round_trip(event: dict[str, Any]) -> dict[str, Any]:
    body = io.BytesIO()
    fastavro.schemaless_writer(body, SCHEMA, event, strict=True)
    body.seek(0)
    decoded = fastavro.schemaless_reader(body, SCHEMA, None)
    assert isinstance(decoded, dict)
    return decoded | {"occurred_at": event["occurred_at"]}


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile()


def test_a_row_becomes_an_event_with_the_schema_names_and_symbols(tmp_path: Path) -> None:
    (event,) = read_leads(written(tmp_path, NEVER_CONTACTED), at)
    assert event == {
        "event_id": event["event_id"],
        "lead_id": "lead-000001",
        "occurred_at": START_MS + 1,
        "age": 31,
        "job": "blue_collar",
        "marital": "single",
        "education": "basic_4y",
        "credit_default": "unknown",
        "housing": "yes",
        "loan": "no",
        "contact": "cellular",
        "month": "oct",
        "day_of_week": "tue",
        "campaign": 3,
        "days_since_contact": None,
        "previous_contacts": 0,
        "previous_outcome": "nonexistent",
        "employment_variation_rate": -0.1,
        "consumer_price_index": 93.2,
        "consumer_confidence_index": -42.0,
        "euribor_3m": 4.021,
        "employees": 5195.8,
    }


def test_days_since_contact_is_kept_unless_it_is_the_source_mark_for_never(tmp_path: Path) -> None:
    events = read_leads(written(tmp_path, NEVER_CONTACTED, CONTACTED), at)
    assert [event["days_since_contact"] for event in events] == [None, 6]


def test_the_length_of_the_call_never_reaches_an_event(tmp_path: Path) -> None:
    (event,) = read_leads(written(tmp_path, CONTACTED), at)
    assert "duration" not in event
    assert 301 not in event.values()


@pytest.mark.parametrize("column", ENUMS)
def test_every_category_of_the_source_is_a_symbol_of_the_schema(tmp_path: Path, column: int) -> None:
    cells = CONTACTED.split(";")
    rows = [";".join([*cells[:column], f'"{name}"', *cells[column + 1 :]]) for name in ENUMS[column].split()]
    for event in read_leads(written(tmp_path, *rows), at):
        assert round_trip(event) == event


def test_ids_follow_from_the_row_number_alone_and_are_the_same_on_every_read(tmp_path: Path) -> None:
    path = written(tmp_path, CONTACTED, CONTACTED)
    first, second = read_leads(path, at)
    again, _ = read_leads(path, lambda _: 0)
    assert (first["lead_id"], second["lead_id"]) == ("lead-000001", "lead-000002")
    assert first["event_id"] != second["event_id"]
    assert first["event_id"] == again["event_id"] == "f863c434-3b74-52f3-9da3-4f0d39439dcd"


def test_a_gzipped_file_gives_the_same_events(tmp_path: Path) -> None:
    plain = written(tmp_path, NEVER_CONTACTED, CONTACTED)
    packed = tmp_path / "leads.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert list(read_leads(packed, at)) == list(read_leads(plain, at))


def test_a_byte_order_mark_in_front_changes_no_event(tmp_path: Path) -> None:
    plain = written(tmp_path, NEVER_CONTACTED)
    marked = tmp_path / "marked.csv"
    marked.write_text(plain.read_text(), "utf-8-sig")
    assert list(read_leads(marked, at)) == list(read_leads(plain, at))


def test_a_file_without_a_column_is_refused_and_the_column_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, NEVER_CONTACTED, header=HEADER.replace("poutcome", "outcome"))
    with pytest.raises(ValueError, match="poutcome"):
        next(read_leads(path, at))


@pytest.mark.parametrize("broken", [CONTACTED.replace("62;", "old;"), CONTACTED.replace('"admin."', ""), "62"])
def test_a_row_that_does_not_parse_is_refused_with_its_number(tmp_path: Path, broken: str) -> None:
    events = read_leads(written(tmp_path, CONTACTED, broken), at)
    next(events)
    with pytest.raises(ValueError, match="row 2 "):
        next(events)


def test_sampled_events_are_valid_events_of_the_schema(profile: Profile) -> None:
    for event in sample_leads(profile, 5000, 1, at):
        assert round_trip(event) == event
        assert json.loads(json.dumps(event)) == event


def test_the_same_seed_gives_the_same_events_and_another_seed_others(profile: Profile) -> None:
    one = list(sample_leads(profile, 500, 1, at))
    assert one == list(sample_leads(profile, 500, 1, at))
    fields = [{**event, "event_id": "", "lead_id": ""} for event in one]
    assert fields != [{**event, "event_id": "", "lead_id": ""} for event in sample_leads(profile, 500, 2, at)]


def test_how_many_events_are_drawn_does_not_change_the_first_ones(profile: Profile) -> None:
    first = list(sample_leads(profile, 4100, 3, at))
    assert first == list(itertools.islice(sample_leads(profile, 9000, 3, at), 4100))


@pytest.mark.parametrize("n", [0, 1, 4096, 4097])
def test_as_many_events_are_drawn_as_are_asked_for(profile: Profile, n: int) -> None:
    assert sum(1 for _ in sample_leads(profile, n, 1, at)) == n


def test_sample_ids_are_unique_over_seeds_and_never_a_real_leads(profile: Profile) -> None:
    events = [event for seed in (1, 2) for event in sample_leads(profile, 5000, seed, at)]
    assert len({event["lead_id"] for event in events}) == len({event["event_id"] for event in events}) == 10_000
    assert all(event["lead_id"].startswith("sample-") for event in events)


def test_sampled_events_are_timed_by_the_caller(profile: Profile) -> None:
    assert [event["occurred_at"] for event in sample_leads(profile, 3, 1, at)] == [at(1), at(2), at(3)]


def test_a_sampled_history_does_not_contradict_itself(profile: Profile) -> None:
    for event in sample_leads(profile, 20_000, 4, at):
        never = event["previous_outcome"] == "nonexistent"
        assert never == (event["previous_contacts"] == 0)
        assert not never or event["days_since_contact"] is None
        assert event["previous_outcome"] != "success" or event["days_since_contact"] is not None


def test_sampling_is_fast_enough_to_feed_any_demo(profile: Profile) -> None:
    def seconds() -> float:
        before = time.process_time()
        drained(sample_leads(profile, 20_000, 5, at))
        return time.process_time() - before

    assert min(seconds() for _ in range(3)) < 1.0


def drained(events: Iterator[dict[str, Any]]) -> None:
    for _ in events:
        pass


def test_the_profile_keeps_no_count_that_could_single_out_a_person() -> None:
    variables = json.loads(PROFILE.read_text())["variables"]
    counts = [count for variable in variables for row in variable["counts"] for count in row]
    assert min(count for count in counts if count) >= 5


def test_the_profile_stays_small() -> None:
    assert PROFILE.stat().st_size < 300_000


def test_a_profile_that_does_not_decide_exactly_the_fields_of_a_lead_is_refused(tmp_path: Path) -> None:
    document = json.loads(PROFILE.read_text())
    document["variables"] = [entry for entry in document["variables"] if entry["name"] != "campaign"]
    for entry in document["variables"]:
        entry["given"] = [parent for parent in entry["given"] if parent != "campaign"]
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match="campaign"):
        load_profile(path)
