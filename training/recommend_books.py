"""The shop's books as the recommender's training reads them: popularity up to a cut, and whom to ask after it.

A cut is a moment: what happened before it may be learned from, and each customer's first invoice from it on is asked
for.
Guarantees: nothing about a cut depends on a row after it, but the answers themselves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from scorer.local.logins import Invoice

HOME, ABROAD, EVERYWHERE = 0, 1, 2
GROUPS = 3
HOME_COUNTRY = "United Kingdom"
DAY_MS = 86_400_000

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Books:
    """Invoices in time order, and their lines as columns: `lines` the product, `line_invoices` the invoice's place."""

    invoices: Sequence[Invoice]
    products: tuple[str, ...]
    place_of: dict[str, int]
    at_ms: Integers
    groups: Integers
    lines: Integers
    line_invoices: Integers


@dataclass(frozen=True, slots=True)
class Question:
    """What will this customer buy next? `earlier` are the customer's invoices before, newest first; none: cold."""

    earlier: tuple[Invoice, ...]
    answer: Invoice

    @property
    def bought(self) -> list[str]:
        """All products bought before, newest first."""
        return [product for invoice in self.earlier for product in invoice.products]


def group_of(country: str) -> int:
    return HOME if country == HOME_COUNTRY else ABROAD


def moment(date: str) -> int:
    """Unix milliseconds of a date such as 2011-10-01, at midnight UTC."""
    return int(datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp()) * 1000


def books_of(invoices: Sequence[Invoice]) -> Books:
    """Products come most often bought first, which is also how the model breaks ties."""
    counts: dict[str, int] = defaultdict(int)
    for invoice in invoices:
        for product in invoice.products:
            counts[product] += 1
    products = tuple(sorted(counts, key=lambda product: (-counts[product], product)))
    place_of = {product: place for place, product in enumerate(products)}
    return Books(
        invoices=invoices,
        products=products,
        place_of=place_of,
        at_ms=np.array([invoice.occurred_at_ms for invoice in invoices], dtype=np.int64),
        groups=np.array([group_of(invoice.country) for invoice in invoices], dtype=np.int64),
        lines=np.array([place_of[product] for invoice in invoices for product in invoice.products], dtype=np.int64),
        line_invoices=np.repeat(np.arange(len(invoices)), [len(invoice.products) for invoice in invoices]),
    )


def before(books: Books, cut_ms: int) -> Books:
    """The books as they stood at the cut."""
    return books_of(books.invoices[: int(np.searchsorted(books.at_ms, cut_ms))])


def questions(books: Books, cut_ms: int, until_ms: int) -> list[Question]:
    """Each customer's first invoice from the cut on and before `until_ms`, with the invoices before the cut."""
    earlier: dict[str, list[Invoice]] = defaultdict(list)
    asked: dict[str, Question] = {}
    for invoice in books.invoices:
        customer = invoice.customer_id
        if invoice.occurred_at_ms < cut_ms:
            earlier[customer].append(invoice)
        elif invoice.occurred_at_ms < until_ms and customer not in asked:
            asked[customer] = Question(tuple(reversed(earlier.get(customer, []))), invoice)
    return list(asked.values())


def bought_since(books: Books, since_ms: int) -> tuple[Integers, Integers]:
    """Invoices since then that hold each product [GROUPS, products], and invoices in all [GROUPS]."""
    recent = books.at_ms >= since_ms
    lines = recent[books.line_invoices]
    keys = books.groups[books.line_invoices[lines]] * len(books.products) + books.lines[lines]
    by_group = np.bincount(keys, minlength=EVERYWHERE * len(books.products)).reshape(EVERYWHERE, -1)
    totals = np.bincount(books.groups[recent], minlength=EVERYWHERE)
    return np.vstack([by_group, by_group.sum(0)]), np.append(totals, totals.sum())


def own_first_then_popular(books: Books, asked: Sequence[Question], recent: Integers) -> list[list[str]]:
    """The usual baseline: own products by times bought, then all others; ties by `recent`, invoices [products]."""
    popularity = recent / (recent.max() + 1)
    tops = []
    for question in asked:
        scores = popularity.copy()
        np.add.at(scores, [books.place_of[product] for product in question.bought], 1.0)
        tops.append([books.products[place] for place in np.argsort(-scores, kind="stable")[:10]])
    return tops


def quality(tops: Sequence[Sequence[str]], asked: Sequence[Question]) -> tuple[float, float]:
    """hit@10 (was any of the ten bought?) and precision@10 (how many of the ten), means over the questions."""
    hits = [len(set(top) & set(question.answer.products)) for top, question in zip(tops, asked, strict=True)]
    return float(np.mean([hit > 0 for hit in hits])), float(np.mean(hits)) / 10
