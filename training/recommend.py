"""Trains the recommender: what will the customer who logs in buy next? Writes the bundle models/recommend/1.

    python training/recommend.py --data online_retail.csv.gz

Reads invoices through scorer.local.logins, so the model learns from the very histories that it will be served. Weights
are tuned on cuts before October 2011; quality is that of the ONNX graph on two later cuts, beside the usual baseline.
The bundle is written only if it beats that, and if a login's items do not depend on its batch. The same data and seed
give the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from login_profile import content_sha256
from onnxruntime import InferenceSession
from recommend_books import (
    DAY_MS,
    EVERYWHERE,
    Books,
    Question,
    before,
    books_of,
    bought_since,
    moment,
    own_first_then_popular,
    quality,
    questions,
)
from recommend_bundle import CONTRACT, golden_text
from recommend_card import Figures, Verdict, card_text
from recommend_graph import Tables, graph_of, recommended, session_of, tables_of
from recommend_score import POPULAR_DAYS, Weights, tune

from scorer.edges.machine import cpu_class
from scorer.local.logins import (
    PRODUCTS_MAX,
    Event,
    invoices_of,
    load_profile,
    logins_of,
    read_purchases,
    sample_logins,
)

TUNING_CUTS = ("2011-06-01", "2011-07-01", "2011-08-01", "2011-09-01")
JUDGING_CUTS = ("2011-10-01", "2011-11-01")
COLD_HIT_MIN = 0.45
STREAM_OFF_MAX = 0.10
STREAM_SEEDS = (1, 2, 3, 4, 5)
BATCH_ROWS = (1, 2, 3, 7, 64, 1000)
FOREVER_MS = 1 << 60


def session_at(tables: Tables) -> tuple[bytes, InferenceSession]:
    model = graph_of(tables).SerializeToString(deterministic=True)
    return model, session_of(model)


def judge(books: Books, cut: str, weights: Weights) -> Verdict:
    """The model as it would have stood at the cut, and the baseline, on each customer's first invoice after it."""
    cut_ms = moment(cut)
    past, asked = before(books, cut_ms), questions(books, cut_ms, FOREVER_MS)
    known = [question for question in asked if question.earlier]
    cold = [question for question in asked if not question.earlier]
    _, session = session_at(tables_of(past, cut_ms, weights))
    recent = bought_since(past, cut_ms - POPULAR_DAYS * DAY_MS)[0][EVERYWHERE]
    verdict = Verdict(
        cut=cut,
        known=len(known),
        cold=len(cold),
        baseline=quality(own_first_then_popular(past, known, recent), known),
        model=quality(_tops(session, known), known),
        new=quality(_tops(session, cold), cold),
    )
    print(
        f"{cut}, hit@10 / precision@10: {verdict.known:,} known customers {_pair(verdict.model)}, "
        f"baseline {_pair(verdict.baseline)}; {verdict.cold:,} cold customers {_pair(verdict.new)}",
        file=sys.stderr,
    )
    return verdict


def _pair(found: tuple[float, float]) -> str:
    return f"{found[0]:.4f} / {found[1]:.4f}"


def _tops(session: InferenceSession, asked: Sequence[Question]) -> list[list[str]]:
    """The ten items of the login at which each question is answered."""
    events = [
        {"recent_products": question.bought[:PRODUCTS_MAX], "country": question.answer.country} for question in asked
    ]
    tops: list[list[str]] = recommended(session, events)[0].tolist()
    return tops


def stream_of(session: InferenceSession, events: Sequence[Event]) -> dict[str, float]:
    scores = recommended(session, events)[1]
    return {"mean_top_score": float(scores[:, 0].mean()), "mean_score": float(scores.mean())}


def prove(session: InferenceSession, events: Sequence[Event], seed: int) -> None:
    """Ends the program if items or scores depend on the batch that a login is in."""
    order = np.random.default_rng(seed).permutation(len(events))[: max(BATCH_ROWS)].tolist()
    mixed = [events[place] for place in order]
    items, scores = recommended(session, mixed)
    for rows in BATCH_ROWS:
        same_items, same_scores = recommended(session, mixed, batch=rows)
        if not (np.array_equal(items, same_items) and np.array_equal(scores, same_scores)):
            raise SystemExit(f"items depend on the batch at {rows} rows")


def floors(figures: Figures) -> None:
    """Ends the program if the model or the sample stream is not good enough to be written."""
    for verdict in figures.verdicts:
        better = all(ours > theirs for ours, theirs in zip(verdict.model, verdict.baseline, strict=True))
        if not better or verdict.new[0] < COLD_HIT_MIN:
            raise SystemExit(f"{verdict} does not beat the baseline, or cold customers' hit@10 is below {COLD_HIT_MIN}")
    off = max(abs(stream[name] / real - 1) for stream in figures.sampled for name, real in figures.real.items())
    print(f"sample stream: at most {off:.1%} off the real one", file=sys.stderr)
    if off > STREAM_OFF_MAX:
        raise SystemExit("the sample stream is too far off: fit training/login_profile.py anew")


def train(data: Path, out: Path, seed: int) -> None:
    purchases = list(read_purchases(data))
    books = books_of(invoices_of(purchases))
    customers = len({invoice.customer_id for invoice in books.invoices})
    print(
        f"{len(purchases):,} rows, {len(books.invoices):,} invoices, {customers:,} customers, "
        f"{len(books.products):,} products",
        file=sys.stderr,
    )
    weights = tune(books, [moment(cut) for cut in TUNING_CUTS], moment(JUDGING_CUTS[0]))
    verdicts = [judge(books, cut, weights) for cut in JUDGING_CUTS]
    tables = tables_of(books, int(books.at_ms[-1]) + 1, weights)
    model, session = session_at(tables)
    events, profile = list(logins_of(books.invoices)), load_profile()
    prove(session, events, seed)
    figures = Figures(
        rows=len(purchases),
        invoices=len(events),
        customers=customers,
        products=len(books.products),
        on_shelf=len(tables.products),
        tuned_on=TUNING_CUTS,
        answers_until=JUDGING_CUTS[0],
        weights=weights,
        verdicts=verdicts,
        real=stream_of(session, events),
        sampled=[
            stream_of(session, list(sample_logins(profile, len(events), number, lambda _: 0)))
            for number in STREAM_SEEDS
        ],
    )
    floors(figures)
    command = f"python training/recommend.py --data {data.name} --seed {seed}"
    card = card_text(figures, cpu_class(), content_sha256(data), command)
    out.mkdir(parents=True, exist_ok=True)
    (out / "model.onnx").write_bytes(model)
    (out / "model.toml").write_text(CONTRACT, encoding="utf-8")
    (out / "golden.jsonl").write_text(golden_text(session, profile, seed), encoding="utf-8")
    (out / "MODEL_CARD.md").write_text(card, encoding="utf-8")
    for path in sorted(out.iterdir()):
        print(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains the recommender and writes its bundle.")
    parser.add_argument("--data", type=Path, required=True, help="online_retail.csv, plain or .gz")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "models" / "recommend" / "1")
    parser.add_argument("--seed", type=int, default=1, help="of the golden rows; the model itself takes no chances")
    options = parser.parse_args()
    train(options.data, options.out, options.seed)


if __name__ == "__main__":
    main()
