"""Events of the two shipped streams: a real file's rows, or samples of the profiles."""

from __future__ import annotations

import gzip
from itertools import islice
from pathlib import Path

import pytest

from scorer.core.errors import ConfigError
from scorer.core.schema import writer_schema
from scorer.local.events import KEYS, MODELS, OUTPUTS, TOPICS, from_file, samples
from scorer.local.places import shipped
from scorer.local.sending import encoded

LEAD = (
    'age;"job";"marital";"education";"default";"housing";"loan";"contact";"month";"day_of_week";"duration";"campaign";'
    '"pdays";"previous";"poutcome";"emp.var.rate";"cons.price.idx";"cons.conf.idx";"euribor3m";"nr.employed";"y"\n'
    '56;"housemaid";"married";"basic.4y";"no";"no";"no";"telephone";"may";"mon";261;1;999;0;"nonexistent";1.1;93.994;'
    '-36.4;4.857;5191;"no"\n'
)
LOGIN = (
    "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
    "536365,85123A,HOLDER,6,2010-12-01 08:26:00,2.55,17850,United Kingdom\n"
    "536366,22633,WARMER,6,2010-12-02 08:28:00,1.85,17850,United Kingdom\n"
)


def number(at: int) -> int:
    return 1_700_000_000_000 + at


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_a_real_files_kind_is_told_by_its_header(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(LEAD.encode()) if name.endswith(".gz") else LEAD.encode())
    found = from_file(path, number)
    assert (found.kind, found.real) == ("lead", True)
    (event,) = found.events
    assert (event["lead_id"], event["age"]) == ("lead-000001", 56)
    assert "duration" not in event


def test_online_retail_gives_logins(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text(LOGIN)
    found = from_file(path, number)
    assert (found.kind, found.real) == ("login", True)
    assert {event["customer_id"] for event in found.events} == {"17850"}


def test_another_file_is_refused_with_what_it_could_be(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for content in (b"id,age\n", b"", b"\n"):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"a.csv is neither Bank Marketing \(.*\) nor Online Retail"):
            from_file(path, number)


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", b"\xff\xfe\x00"), ("a.csv.gz", b"no gzip"), ("a.csv.gz", gzip.compress(LEAD.encode())[:30])],
    ids=["other bytes", "no gzip", "cut short"],
)
def test_a_file_that_cannot_be_read_is_the_operators(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"{name} cannot be read: "):
        from_file(path, number)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (LEAD + "old" + LEAD.splitlines()[1][2:] + "\n", r"a.csv cannot be read: row 2 is not a lead: .*'old'"),
        (LEAD.replace("campaign", "champagne"), "a.csv cannot be read: a.csv has no column campaign"),
        (
            LOGIN + "536367,22633,x,six,2010-12-01 08:26:00,2.55,17850,United Kingdom\n",
            "a.csv cannot be read: .* row 3",
        ),
        (LEAD.encode() + b"\xff\n", "a.csv cannot be read: .*codec can't decode"),
    ],
)
def test_a_broken_row_is_the_operators_and_named(tmp_path: Path, content: str | bytes, said: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ConfigError, match=said):
        list(from_file(path, number).events)


def test_a_missing_file_and_a_folder_are_the_operators(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path, tmp_path / "none.csv.gz"):
        with pytest.raises(ConfigError, match="cannot be read"):
            from_file(path, number)


@pytest.mark.parametrize("kind", TOPICS)
def test_samples_are_events_of_the_shipped_schema_and_the_same_for_the_same_seed(kind: str) -> None:
    schema = writer_schema(1, (shipped("schemas") / f"{TOPICS[kind]}.avsc").read_text())
    first, again, other = (
        list(encoded(samples(kind, 20, seed, number).events, schema, KEYS[kind])) for seed in (1, 1, 2)
    )
    assert len(first) == 20
    assert first == again
    assert first != other
    assert not samples(kind, 1, 1, number).real


def test_each_kind_has_its_topics_its_key_and_its_model() -> None:
    assert KEYS.keys() == TOPICS.keys() == OUTPUTS.keys() == MODELS.keys()
    for kind in TOPICS:
        assert (shipped("models") / MODELS[kind] / "model.toml").is_file()
        for topic in (TOPICS[kind], OUTPUTS[kind]):
            assert (shipped("schemas") / f"{topic}.avsc").is_file()
        event = next(islice(samples(kind, 1, 1, number).events, 1))
        assert KEYS[kind] in event
