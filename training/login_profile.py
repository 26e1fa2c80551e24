"""Fits the profile that sample logins are drawn from (scorer/local/profiles/login.json) to Online Retail.

    python training/login_profile.py --data online_retail.csv.gz

A login's history is put into a cell by its number of invoices and of products; a cell keeps how many logins it had and
the deciles of how much was bought again. Products and countries are kept with how many histories and logins they have.
Nothing in the file singles a person out: a cell, product or country that fewer than PERSONS_MIN customers share is
dropped, and deciles are rounded. The same data gives the same file.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import sys
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scorer.local.logins import PRODUCTS_MAX, PROFILE, Invoice, invoices_of, read_purchases

PERSONS_MIN = 5
REBOUGHT_DECIMALS = 2

# Lowest number of each range; the last ones end at INVOICES_MAX and PRODUCTS_MAX.
INVOICES = (0, 1, 2, 3, 4, 5, 7, 10, 14, 20, 30, 45, 70)
PRODUCTS = (0, 1, 4, 8, 13, 20, 30, 45, 65, 90, 120, 160, PRODUCTS_MAX)
INVOICES_MAX = 100


def content_sha256(path: Path) -> str:
    """The sha256 of the file's text, alike for .csv and .csv.gz."""
    content = path.read_bytes()
    return hashlib.sha256(gzip.decompress(content) if path.suffix == ".gz" else content).hexdigest()


@dataclass(frozen=True, slots=True)
class History:
    """What a login's history is like: the part of it that an event carries, PRODUCTS_MAX products at most.

    `rebought` is the share of products after the first invoice that the customer had bought before.
    """

    customer_id: str
    invoices: int
    products: int
    rebought: float


def histories_of(invoices: Iterable[Invoice]) -> Iterator[History]:
    """The history that each invoice's login carries."""
    earlier: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for invoice in invoices:
        yield _history(invoice.customer_id, earlier[invoice.customer_id])
        earlier[invoice.customer_id].append(invoice.products)


def _history(customer_id: str, earlier: list[tuple[str, ...]]) -> History:
    kept: list[tuple[str, ...]] = []
    room = PRODUCTS_MAX
    for products in reversed(earlier):
        if not room:
            break
        kept.append(products[:room])
        room -= len(kept[-1])
    bought = [product for products in kept for product in products]
    later = len(bought) - len(kept[-1]) if kept else 0
    rebought = (len(bought) - len(set(bought))) / later if later else 0.0
    return History(customer_id, len(kept), len(bought), rebought)


def cells_of(histories: Iterable[History]) -> list[dict[str, Any]]:
    """Cells as scorer.local.logins.load_profile reads them, bounds included."""
    members: dict[tuple[int, int], list[History]] = defaultdict(list)
    for history in histories:
        place = bisect_right(INVOICES, min(history.invoices, INVOICES_MAX)) - 1
        members[place, bisect_right(PRODUCTS, history.products) - 1].append(history)
    cells = []
    for (invoices, products), inside in sorted(members.items()):
        if len({history.customer_id for history in inside}) < PERSONS_MIN:
            continue
        deciles = np.quantile([history.rebought for history in inside], np.arange(0.05, 1.0, 0.1))
        bounds = (_range(INVOICES, invoices, INVOICES_MAX), _range(PRODUCTS, products, PRODUCTS_MAX))
        rebought = [round(float(share), REBOUGHT_DECIMALS) for share in deciles]
        cells.append({"logins": len(inside), "invoices": bounds[0], "products": bounds[1], "rebought": rebought})
    return cells


def _range(lowest: tuple[int, ...], place: int, highest: int) -> list[int]:
    return [lowest[place], highest if place + 1 == len(lowest) else lowest[place + 1] - 1]


def shared(counts: Counter[str], customers: dict[str, set[str]]) -> dict[str, int]:
    """Counts of what PERSONS_MIN customers or more have in common, most frequent first."""
    kept = [(name, count) for name, count in counts.items() if len(customers[name]) >= PERSONS_MIN]
    return dict(sorted(kept, key=lambda pair: (-pair[1], pair[0])))


def fit(invoices: list[Invoice]) -> dict[str, Any]:
    """The profile's three tables. Products count once for each login whose customer had bought them before."""
    products: Counter[str] = Counter()
    countries: Counter[str] = Counter()
    customers: dict[str, set[str]] = defaultdict(set)
    owned: dict[str, set[str]] = defaultdict(set)
    for invoice in invoices:
        before = owned[invoice.customer_id]
        countries[invoice.country] += 1
        products.update(before)
        # Whoever is counted is a customer of it: one who never came back is not among a product's.
        for name in (invoice.country, *before):
            customers[name].add(invoice.customer_id)
        before.update(invoice.products)
    return {
        "histories": cells_of(histories_of(invoices)),
        "countries": shared(countries, customers),
        "products": shared(products, customers),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Fits the profile of sample logins to Online Retail.")
    parser.add_argument("--data", type=Path, required=True, help="online_retail.csv, plain or .gz")
    parser.add_argument("--out", type=Path, default=PROFILE)
    options = parser.parse_args()
    invoices = invoices_of(read_purchases(options.data))
    tables = fit(invoices)
    document = {
        "about": f"Counts fitted by training/login_profile.py; each is shared by {PERSONS_MIN} customers or more.",
        "source": "Online Retail, D. Chen 2015, UCI Machine Learning Repository; given to us under CC0",
        "data_sha256": content_sha256(options.data),
        "logins": len(invoices),
        **tables,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, separators=(",", ":")) + "\n", encoding="utf-8")
    kept = sum(cell["logins"] for cell in tables["histories"])
    print(
        f"{options.out}: {options.out.stat().st_size:,} bytes; cells for {kept:,} of {len(invoices):,} logins, "
        f"{len(tables['products']):,} products, {len(tables['countries'])} countries",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
