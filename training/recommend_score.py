"""The recommender's score and how its weights are found.

    score = popularity + (bought + times * ln(1 + n) if the customer bought the product n > 0 times)
    popularity = ln(1 + p(30 days) / RARE) + trend * ln of how p(trend_days) compares with p(30 days)

where p is the share of the country group's latest invoices that hold the product, drawn towards everybody's by
EVERYBODY_INVOICES. Weights are tuned on cuts before the ones that judge them. Hits jump from rank to rank, so a smooth
stand-in is maximised: an answer counts by the logistic of its distance from the tenth place.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from recommend_books import DAY_MS, GROUPS, Books, Floats, Integers, Question, before, bought_since, group_of, questions

from scorer.local.logins import PRODUCTS_MAX

TOP = 10
POPULAR_DAYS = 30
TREND_DAYS = (7, 10, 14)
RARE = 0.001
EVERYBODY_INVOICES = 50.0
COLD_WEIGHT = 0.4
BLUR = 0.3
STEPS = (0.4, 0.2, 0.1, 0.05)
CANDIDATES = 100
NEVER = -1e9


@dataclass(frozen=True, slots=True)
class Weights:
    """What tuning finds; `trend_days` is one of TREND_DAYS."""

    trend_days: int = POPULAR_DAYS
    trend: float = 0.0
    bought: float = 1.0
    times: float = 2.5


@dataclass(frozen=True, slots=True)
class Exam:
    """A cut's questions over candidates [questions, width]: the customer's own products, then popular ones.

    `places` is the product, or -1 for no candidate, `bought` how many times, `answers` whether it came to be bought.
    `shares` [days][GROUPS, products] are the popularities, `known` whether the customer is.
    """

    shares: dict[int, Floats]
    groups: Integers
    known: NDArray[np.bool_]
    places: Integers
    bought: Integers
    answers: NDArray[np.bool_]


def shares_of(books: Books, now_ms: int) -> dict[int, Floats]:
    """For each span of days that ends now, the share of invoices that hold each product [GROUPS, products]."""
    shares = {}
    for days in (POPULAR_DAYS, *TREND_DAYS):
        counts, totals = bought_since(books, now_ms - days * DAY_MS)
        everybody = counts[-1] / max(1, totals[-1])
        shares[days] = (counts + EVERYBODY_INVOICES * everybody) / (totals[:, None] + EVERYBODY_INVOICES)
    return shares


def popularity(shares: dict[int, Floats], weights: Weights) -> Floats:
    """The score of each product that the customer never bought [GROUPS, products]; 0 if nobody bought it of late."""
    month = np.log1p(shares[POPULAR_DAYS] / RARE)
    return month + weights.trend * (np.log1p(shares[weights.trend_days] / RARE) - month)


def bonus(weights: Weights, times_max: int) -> Floats:
    """What is added for having been bought 0 to `times_max` times."""
    added = weights.bought + weights.times * np.log1p(np.arange(times_max + 1))
    added[0] = 0.0
    return added


def exam_of(books: Books, cut_ms: int, until_ms: int) -> Exam:
    past = before(books, cut_ms)
    asked = questions(books, cut_ms, until_ms)
    shares = shares_of(past, cut_ms)
    popular = [_popular(shares, group) for group in range(GROUPS)]
    width = PRODUCTS_MAX + max(map(len, popular))
    places = np.full((len(asked), width), -1)
    bought = np.zeros((len(asked), width), dtype=np.int64)
    answers = np.zeros((len(asked), width), dtype=bool)
    for row, question in enumerate(asked):
        own, times = _counted(past, question)
        others = np.setdiff1d(popular[group_of(question.answer.country)], own)
        end = len(own) + len(others)
        places[row, :end] = np.concatenate([own, others])
        bought[row, : len(own)] = times
        answers[row, :end] = np.isin(places[row, :end], _places(past, question.answer.products))
    groups = np.array([group_of(question.answer.country) for question in asked])
    return Exam(shares, groups, bought.any(axis=1), places, bought, answers)


def _popular(shares: dict[int, Floats], group: int) -> Integers:
    """The products that can be among the ten without having been bought: far fewer than all, and tuning is as fast."""
    most = [np.argsort(-share[group], kind="stable")[:CANDIDATES] for share in shares.values()]
    return np.unique(np.concatenate(most))


def _counted(books: Books, question: Question) -> tuple[Integers, Integers]:
    return np.unique(_places(books, question.bought[:PRODUCTS_MAX]), return_counts=True)


def _places(books: Books, products: Sequence[str]) -> Integers:
    return np.array([books.place_of[product] for product in products if product in books.place_of], dtype=np.int64)


def value(exam: Exam, weights: Weights) -> float:
    """The smooth stand-in for hit@10 + 2 precision@10 of known customers, and COLD_WEIGHT times that of cold ones."""
    base = popularity(exam.shares, weights)
    scores = base[exam.groups[:, None], exam.places] + bonus(weights, PRODUCTS_MAX)[exam.bought]
    scores[exam.places < 0] = NEVER
    ranked = np.partition(scores, (-TOP - 1, -TOP), axis=1)
    bar = ranked[:, -TOP - 1 : -TOP + 1].mean(axis=1)
    rows, columns = np.nonzero(exam.answers)
    chance = 1 / (1 + np.exp((bar[rows] - scores[rows, columns]) / BLUR))
    precision = np.bincount(rows, chance, len(scores)) / TOP
    hit = 1 - np.exp(np.bincount(rows, np.log1p(-np.minimum(chance, 1 - 1e-12)), len(scores)))
    worth = hit + 2 * precision
    return float(worth[exam.known].mean() + COLD_WEIGHT * worth[~exam.known].mean())


def tune(books: Books, cuts_ms: Sequence[int], until_ms: int) -> Weights:
    """The best weights on these cuts, with answers before `until_ms` alone. Compass search: no gradient, no chance."""
    exams = [exam_of(books, cut_ms, until_ms) for cut_ms in cuts_ms]
    found = [_climb(exams, Weights(trend_days=days)) for days in TREND_DAYS]
    best, worth = max(found, key=lambda pair: pair[1])
    print(f"tuned on {len(exams)} cuts: {best}, worth {worth:.4f}", file=sys.stderr)
    return best


def _climb(exams: Sequence[Exam], start: Weights) -> tuple[Weights, float]:
    best, worth = start, _mean_value(exams, start)
    for step in STEPS:
        better = True
        while better:
            better = False
            for tried in _neighbours(best, step):
                tried_worth = _mean_value(exams, tried)
                if tried_worth > worth:
                    best, worth, better = tried, tried_worth, True
    print(f"trend of {best.trend_days} days: {best}, worth {worth:.4f}", file=sys.stderr)
    return best, worth


def _neighbours(weights: Weights, step: float) -> list[Weights]:
    return [
        replace(weights, **{name: round(getattr(weights, name) + change, 2)})
        for name in ("trend", "bought", "times")
        for change in (step, -step)
    ]


def _mean_value(exams: Sequence[Exam], weights: Weights) -> float:
    return float(np.mean([value(exam, weights) for exam in exams]))
