from __future__ import annotations

import gzip
import io
import itertools
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import pytest

from scorer.local.logins import (
    PRODUCTS_MAX,
    PROFILE,
    Profile,
    invoices_of,
    load_profile,
    read_logins,
    read_purchases,
    sample_logins,
)

SCHEMA = fastavro.parse_schema(json.loads((Path(__file__).parents[3] / "schemas/events.login.avsc").read_text()))
START_MS = 1_700_000_000_000
HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"


def at(number: int) -> int:
    return START_MS + number


def line(
    invoice: str = "536365",
    code: str = "85123A",
    *,
    quantity: str = "6",
    date: str = "2010-12-01 08:26:00",
    price: str = "2.55",
    customer: str = "17850",
    country: str = "United Kingdom",
) -> str:
    return f'{invoice},{code},"HOLDER, ""T-LIGHT""",{quantity},{date},{price},{customer},{country}'


def written(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "retail.csv"
    path.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    return path


def logins(folder: Path, *rows: str) -> list[dict[str, Any]]:
    return list(read_logins(written(folder, *rows)))


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


@pytest.fixture(scope="module")
def sampled(profile: Profile) -> list[dict[str, Any]]:
    return list(sample_logins(profile, 20_000, 1, at))


def test_a_first_invoice_becomes_a_login_without_a_history(tmp_path: Path) -> None:
    assert logins(tmp_path, line()) == [
        {
            "event_id": "login-536365",
            "customer_id": "17850",
            "occurred_at": 1_291_191_960_000,
            "channel": "web",
            "country": "United Kingdom",
            "recent_products": [],
        }
    ]


def test_a_login_carries_the_earlier_invoices_newest_first_and_not_its_own(tmp_path: Path) -> None:
    rows = [
        line("1", "10001"),
        line("1", "10002"),
        line("2", "10003", date="2010-12-02 09:00:00"),
        line("3", "10009", date="2010-12-03 09:00:00"),
    ]
    assert logins(tmp_path, *rows)[-1]["recent_products"] == ["10003", "10001", "10002"]


def test_a_product_of_two_invoices_is_kept_twice_and_one_of_two_lines_once(tmp_path: Path) -> None:
    rows = [line("1", "10001"), line("1", "10001"), line("2", "10001"), line("3", "10001")]
    assert [event["recent_products"] for event in logins(tmp_path, *rows)] == [[], ["10001"], ["10001"] * 2]


def test_a_customers_history_holds_no_other_customers_purchases(tmp_path: Path) -> None:
    rows = [line("1", "10001", customer="1"), line("2", "10002", customer="2"), line("3", "10003", customer="1")]
    assert [event["recent_products"] for event in logins(tmp_path, *rows)] == [[], [], ["10001"]]


def test_a_history_ends_at_two_hundred_products_and_loses_the_oldest(tmp_path: Path) -> None:
    rows = [line(str(1 + number // 100), f"{10_000 + number}") for number in range(250)]
    last = logins(tmp_path, *rows, line("9", "99999"))[-1]
    assert len(last["recent_products"]) == PRODUCTS_MAX == 200
    assert last["recent_products"][:51] == [f"{10_000 + number}" for number in [*range(200, 250), 100]]
    assert last["recent_products"][-1] == "10049"


@pytest.mark.parametrize(
    "dropped",
    [
        line("9", customer=""),
        line("C9"),
        line("9", quantity="0"),
        line("9", quantity="-6"),
        line("9", price="0.0"),
        line("9", price="-1"),
        line("9", "POST"),
        line("9", "1234A"),
        line("9", "M85123"),
    ],
    ids=["no customer", "cancelled", "none", "returned", "free", "adjusted", "postage", "four digits", "digits late"],
)
def test_what_is_no_purchase_of_a_product_by_a_known_customer_leaves_no_trace(tmp_path: Path, dropped: str) -> None:
    kept = [line("1", "10001"), line("2", "10002")]
    assert logins(tmp_path, kept[0], dropped, kept[1]) == logins(tmp_path, *kept)


def test_a_code_of_five_digits_and_letters_is_a_product(tmp_path: Path) -> None:
    assert [purchase.product for purchase in read_purchases(written(tmp_path, line(code="15056BL")))] == ["15056BL"]


def test_logins_come_in_time_order_whatever_the_files_order(tmp_path: Path) -> None:
    rows = [
        line("2", "10002", date="2010-12-05 10:00:00"),
        line("1", "10001", date="2010-12-04 10:00:00"),
        line("3", "10003", date="2010-12-05 10:00:00"),
    ]
    events = logins(tmp_path, *rows)
    assert [event["event_id"] for event in events] == ["login-1", "login-2", "login-3"]
    assert events[-1]["recent_products"] == ["10002", "10001"]


def test_an_invoice_has_the_time_of_its_first_line(tmp_path: Path) -> None:
    rows = [line("1", "10001"), line("1", "10002", date="2010-12-01 08:27:00")]
    (invoice,) = invoices_of(read_purchases(written(tmp_path, *rows)))
    assert invoice.occurred_at_ms == 1_291_191_960_000
    assert invoice.products == ("10001", "10002")


def test_a_customer_always_logs_in_on_the_same_channel_and_both_channels_occur(tmp_path: Path) -> None:
    rows = [line(str(number), customer=str(number % 20)) for number in range(40)]
    channels = [(event["customer_id"], event["channel"]) for event in logins(tmp_path, *rows)]
    assert len(set(channels)) == 20
    assert {channel for _, channel in channels} == {"web", "mobile"}


def test_a_gzipped_file_gives_the_same_events(tmp_path: Path) -> None:
    plain = written(tmp_path, line("1"), line("2"))
    packed = tmp_path / "retail.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert list(read_logins(packed)) == list(read_logins(plain))


@pytest.mark.parametrize("name", ["marked.csv", "marked.csv.gz"])
def test_a_byte_order_mark_in_front_changes_no_event(tmp_path: Path, name: str) -> None:
    plain = written(tmp_path, line("1"))
    content = plain.read_text().encode("utf-8-sig")
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert list(read_logins(tmp_path / name)) == list(read_logins(plain))


def test_columns_are_found_by_name_in_any_order(tmp_path: Path) -> None:
    cells = "Country,CustomerID,UnitPrice,InvoiceDate,Quantity,StockCode,InvoiceNo"
    path = written(tmp_path, "France,17850,2.55,2010-12-01 08:26:00,6,85123A,536365", header=cells)
    (event,) = read_logins(path)
    assert (event["event_id"], event["country"]) == ("login-536365", "France")


def test_a_file_without_a_column_is_refused_and_the_column_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, line(), header=HEADER.replace("StockCode", "Stock"))
    with pytest.raises(ValueError, match="StockCode"):
        read_logins(path)


@pytest.mark.parametrize("broken", [line(quantity="six"), line(price=""), line(date="1/12/2010 8:26"), "536365,85123A"])
def test_a_row_that_does_not_parse_is_refused_with_its_number(tmp_path: Path, broken: str) -> None:
    with pytest.raises(ValueError, match="row 2 "):
        read_logins(written(tmp_path, line(), broken))


def test_events_of_the_file_are_valid_events_of_the_schema(tmp_path: Path) -> None:
    for event in logins(tmp_path, line("1", "10001"), line("2", "10002", country="EIRE")):
        assert round_trip(event) == event


def test_sampled_events_are_valid_events_of_the_schema(sampled: list[dict[str, Any]]) -> None:
    for event in sampled[:3000]:
        assert round_trip(event) == event
        assert json.loads(json.dumps(event)) == event


def test_the_same_seed_gives_the_same_events_and_another_seed_others(profile: Profile) -> None:
    one = list(sample_logins(profile, 300, 1, at))
    assert one == list(sample_logins(profile, 300, 1, at))
    histories = [event["recent_products"] for event in one]
    assert histories != [event["recent_products"] for event in sample_logins(profile, 300, 2, at)]


def test_how_many_events_are_drawn_does_not_change_the_first_ones(
    profile: Profile, sampled: list[dict[str, Any]]
) -> None:
    assert list(sample_logins(profile, 1100, 1, at)) == sampled[:1100]
    assert list(itertools.islice(sample_logins(profile, 10**9, 1, at), 10)) == sampled[:10]


@pytest.mark.parametrize("n", [0, 1, 1024, 1025])
def test_as_many_events_are_drawn_as_are_asked_for(profile: Profile, n: int) -> None:
    assert sum(1 for _ in sample_logins(profile, n, 1, at)) == n


def test_sample_ids_are_unique_over_seeds_and_never_a_real_customers(profile: Profile) -> None:
    events = [event for seed in (1, 2) for event in sample_logins(profile, 1500, seed, at)]
    assert len({event["customer_id"] for event in events}) == len({event["event_id"] for event in events}) == 3000
    assert all(event["customer_id"].startswith("sample-") for event in events)


def test_sampled_events_are_timed_by_the_caller(profile: Profile) -> None:
    assert [event["occurred_at"] for event in sample_logins(profile, 3, 1, at)] == [at(1), at(2), at(3)]


def test_sampled_histories_are_as_long_as_real_ones_and_as_often_empty(sampled: list[dict[str, Any]]) -> None:
    lengths = [len(event["recent_products"]) for event in sampled]
    assert max(lengths) == PRODUCTS_MAX
    assert sum(lengths) / len(lengths) == pytest.approx(71.7, rel=0.05)
    assert lengths.count(0) / len(lengths) == pytest.approx(4334 / 18_402, rel=0.05)


def test_sampled_customers_buy_again_as_real_ones_do(sampled: list[dict[str, Any]]) -> None:
    distinct = [len(set(event["recent_products"])) for event in sampled]
    assert sum(distinct) / len(distinct) == pytest.approx(53.3, rel=0.05)
    most = [max(Counter(event["recent_products"]).values(), default=0) for event in sampled]
    assert sum(most) / len(most) == pytest.approx(2.47, rel=0.10)


def test_sampled_customers_are_where_real_ones_are(sampled: list[dict[str, Any]]) -> None:
    countries = Counter(event["country"] for event in sampled)
    assert countries["United Kingdom"] / len(sampled) == pytest.approx(0.90, abs=0.03)
    assert len(countries) > 15


def test_five_thousand_logins_a_second_can_be_drawn(profile: Profile) -> None:
    def seconds() -> float:
        before = time.process_time()
        drained(sample_logins(profile, 5000, 5, at))
        return time.process_time() - before

    assert min(seconds() for _ in range(3)) < 1.0


def drained(events: Iterator[dict[str, Any]]) -> None:
    for _ in events:
        pass


def test_the_profile_keeps_nothing_that_could_single_out_a_person() -> None:
    document = json.loads(PROFILE.read_text())
    counts = [*document["countries"].values(), *document["products"].values()]
    assert min(counts + [cell["logins"] for cell in document["histories"]]) >= 5
    shares = [share for cell in document["histories"] for share in cell["rebought"]]
    assert [round(share, 2) for share in shares] == shares


def test_the_profile_stays_small() -> None:
    assert PROFILE.stat().st_size < 400_000
