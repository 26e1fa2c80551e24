"""Login events (schemas/events.login.avsc) on one machine: out of the Online Retail file, or a fitted profile.

Guarantees: the same file, or the same profile and seed, always gives the same events; nothing here reads a clock.
A customer logs in to buy: there is one login an invoice, at the invoice's time, and it carries what the customer bought
before. What the shop's books do not hold is made up and says so: the channel comes from a hash of the customer's id,
`event_id` is "login-" and the invoice's number, and the books' times count as UTC.

Source: Online Retail; D. Chen, 2015, UCI Machine Learning Repository; given to us under CC0.
"""

from __future__ import annotations

import csv
import itertools
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scorer.edges.files import open_text

PROFILE = Path(__file__).parent / "profiles" / "login.json"
PRODUCTS_MAX = 200

Event = dict[str, Any]

_COLUMNS = ("InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
_PRODUCT = re.compile(r"[0-9]{5}")
_CHUNK_ROWS = 1024


@dataclass(frozen=True, slots=True)
class Purchase:
    """One row of the file that is left after cleaning: a line of an invoice."""

    invoice: str
    customer_id: str
    occurred_at_ms: int
    country: str
    product: str


@dataclass(frozen=True, slots=True)
class Invoice:
    """What a customer bought at once. `products` holds each product code once, in the order of the invoice's lines."""

    number: str
    customer_id: str
    occurred_at_ms: int
    country: str
    products: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """How logins are distributed; all counts run up (cumulative), so that a draw is one binary search.

    A cell is a range of histories: `invoices` and `products` [cells, 2] are its lowest and highest number of invoices
    and of products over all of them, `rebought` [cells, quantiles] the shares of its later products bought before.
    """

    cell_ends: NDArray[np.int64]
    invoices: NDArray[np.int64]
    products: NDArray[np.int64]
    rebought: NDArray[np.float64]
    countries: tuple[str, ...]
    country_ends: NDArray[np.int64]
    codes: tuple[str, ...]
    code_ends: NDArray[np.int64]


def read_logins(path: Path) -> Iterator[Event]:
    """Events of an Online Retail file (comma-separated, plain or .gz), in time order. Raises as read_purchases does."""
    return logins_of(invoices_of(read_purchases(path)))


def read_purchases(path: Path) -> Iterator[Purchase]:
    """The file's rows, in its order, cleaned of all that is no purchase of a product by a known customer.

    Kept are rows with a customer whose invoice is no cancellation (its number starts with C), whose quantity and price
    are above 0, and whose code starts with five digits (postage, samples and fees do not). Raises ValueError for a file
    that lacks a column and for a row that does not parse, with the row's number.
    """
    with open_text(path) as lines:
        rows = csv.reader(lines)
        header = next(rows, [])
        lacking = [column for column in _COLUMNS if column not in header]
        if lacking:
            raise ValueError(f"{path.name} has no column {', '.join(lacking)}: is it the file online_retail.csv?")
        places = [header.index(column) for column in _COLUMNS]
        for number, row in enumerate(rows, start=1):
            try:
                invoice, product, quantity, date, price, customer, country = [row[place] for place in places]
                if not customer or invoice.startswith("C") or not _PRODUCT.match(product):
                    continue
                if float(quantity) > 0 and float(price) > 0:
                    at_ms = int(datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp()) * 1000
                    yield Purchase(invoice, customer, at_ms, country, product)
            except (IndexError, ValueError) as error:
                raise ValueError(f"{path.name} row {number} is not a line of an invoice: {error}") from error


def invoices_of(purchases: Iterable[Purchase]) -> list[Invoice]:
    """The invoices of these rows, in time order. An invoice has its first row's time."""
    products: dict[str, dict[str, None]] = {}
    first: dict[str, Purchase] = {}
    for purchase in purchases:
        first.setdefault(purchase.invoice, purchase)
        products.setdefault(purchase.invoice, {})[purchase.product] = None
    invoices = [
        Invoice(number, row.customer_id, row.occurred_at_ms, row.country, tuple(products[number]))
        for number, row in first.items()
    ]
    return sorted(invoices, key=lambda invoice: invoice.occurred_at_ms)


def logins_of(invoices: Iterable[Invoice]) -> Iterator[Event]:
    """One login for each invoice, in the order given, with what its customer bought on the earlier ones."""
    history: dict[str, list[str]] = {}
    for invoice in invoices:
        bought = history.get(invoice.customer_id, [])
        yield _event(
            f"login-{invoice.number}", invoice.customer_id, invoice.occurred_at_ms, invoice.country, list(bought)
        )
        history[invoice.customer_id] = [*invoice.products, *bought][:PRODUCTS_MAX]


def load_profile(path: Path = PROFILE) -> Profile:
    """The profile in a JSON file written by training/login_profile.py; by default the one fitted on Online Retail.

    Raises ValueError or KeyError for a file that is no such profile.
    """
    document = json.loads(path.read_text(encoding="utf-8"))
    cells, countries, products = document["histories"], document["countries"], document["products"]
    return Profile(
        cell_ends=np.cumsum([cell["logins"] for cell in cells]),
        invoices=np.array([cell["invoices"] for cell in cells], dtype=np.int64),
        products=np.array([cell["products"] for cell in cells], dtype=np.int64),
        rebought=np.array([cell["rebought"] for cell in cells], dtype=np.float64),
        countries=tuple(countries),
        country_ends=np.cumsum(list(countries.values())),
        codes=tuple(products),
        code_ends=np.cumsum(list(products.values())),
    )


def sample_logins(profile: Profile, n: int, seed: int, occurred_at_ms: Callable[[int], int]) -> Iterator[Event]:
    """`n` logins of as many customers, drawn from the profile, independent of each other; no data file needed.

    `customer_id` is "sample-", the seed and the number from 1 on, so no id is a real customer's. The first events of a
    seed are the same whatever `n` is. `occurred_at_ms` maps the number to Unix milliseconds.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    numbers = iter(range(1, n + 1))
    while chunk := list(itertools.islice(numbers, _CHUNK_ROWS)):
        # A whole chunk even where n ends before: a seed's stream does not depend on n.
        cells = _drawn(profile.cell_ends, random.random(_CHUNK_ROWS))
        invoices = _between(profile.invoices[cells], random).tolist()
        products = _between(profile.products[cells], random).tolist()
        quantiles = random.integers(profile.rebought.shape[1], size=_CHUNK_ROWS)
        rebought = profile.rebought[cells, quantiles].tolist()
        countries = _drawn(profile.country_ends, random.random(_CHUNK_ROWS)).tolist()
        for at, number in enumerate(chunk):
            places = _history(profile.code_ends, invoices[at], products[at], rebought[at], random)
            customer_id = f"sample-{seed}-{number:06d}"
            country = profile.countries[countries[at]]
            bought = [profile.codes[place] for place in places]
            yield _event(f"login-{customer_id}", customer_id, occurred_at_ms(number), country, bought)


def _history(
    ends: NDArray[np.int64], invoices: int, products: int, rebought: float, random: np.random.Generator
) -> list[int]:
    """Products bought on that many invoices of about equal size, as places in the profile, newest invoice first.

    From the second invoice on, a product was bought before with probability `rebought`; what was bought more often
    is likelier. The others are new ones, drawn by popularity.
    """
    fresh = iter(dict.fromkeys(_drawn(ends, random.random(2 * products + 8)).tolist()))
    chances = iter(random.random(2 * products).tolist())
    bought: list[int] = []
    baskets: list[list[int]] = []
    for invoice in range(invoices):
        size = products * (invoice + 1) // invoices - products * invoice // invoices
        basket: dict[int, None] = {}
        while len(basket) < size:
            chance = next(chances, 1.0)
            again = bool(bought) and chance < rebought
            place = bought[int(chance / rebought * len(bought)) % len(bought)] if again else next(fresh, None)
            if place is None:
                break
            basket[place] = None
        bought += basket
        baskets.append(list(basket))
    return [place for basket in reversed(baskets) for place in basket][:PRODUCTS_MAX]


def _drawn(ends: NDArray[np.int64], chances: NDArray[np.float64]) -> NDArray[np.int64]:
    """States by their cumulative counts. Whole counts: the draw is exact, and what was never counted never comes."""
    states: NDArray[np.int64] = np.searchsorted(ends, (chances * ends[-1]).astype(np.int64), side="right")
    return states


def _between(bounds: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
    """Whole numbers drawn uniformly from the lowest to the highest, both included, of each row."""
    return random.integers(bounds[:, 0], bounds[:, 1] + 1)


def _event(event_id: str, customer_id: str, occurred_at_ms: int, country: str, bought: Sequence[str]) -> Event:
    return {
        "event_id": event_id,
        "customer_id": customer_id,
        "occurred_at": occurred_at_ms,
        "channel": "mobile" if zlib.crc32(customer_id.encode()) % 5 < 2 else "web",
        "country": country,
        "recent_products": bought,
    }
