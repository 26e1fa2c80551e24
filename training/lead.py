"""Trains the lead model: who will subscribe to a term deposit when called? Writes the bundle models/lead/1.

    python training/lead.py --data bank-additional-full.csv.gz

Reads leads through scorer.local.leads, so the model learns from the very values that it will be served. Quality is
measured in five folds that keep identical leads together, beside a logistic regression in the same folds. The bundle is
written only if it beats the floors below, computes what scikit-learn computes, and scores a lead alike in any batch.
The same data and seed give the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import sys
from pathlib import Path

import numpy as np
from lead_bundle import BINS, contract_text, golden_text, score, session_of
from lead_card import Figures, card_text
from lead_graph import Columns, Encoding, columns_of, encoding_of, fit_trees, graph_of, matrix_of, take
from lead_profile import content_sha256
from numpy.typing import NDArray
from onnxruntime import InferenceSession
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from scorer.edges.machine import cpu_class
from scorer.local.leads import Profile, load_profile, read_leads, sample_leads

FOLDS = 5
AUC_MIN = 0.795
STREAM_OFF_MAX = 0.10
GRAPH_OFF_MAX = 1e-6
STREAM_SEEDS = (1, 2, 3, 4, 5)
BATCH_ROWS = (1, 2, 3, 7, 64, 1000)
FORWARD_SHARE = 0.8

Integers = NDArray[np.int64]
Scores = NDArray[np.float64]


def read_success(path: Path) -> Integers:
    """Column y of the file as 0 and 1."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as lines:
        return np.array([row["y"] == "yes" for row in csv.DictReader(lines, delimiter=";")], dtype=np.int64)


def groups_of(columns: Columns) -> Integers:
    """One number per distinct lead: rows with the same values in every column share it."""
    number: dict[tuple[object, ...], int] = {}
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return np.array([number.setdefault(row, len(number)) for row in rows], dtype=np.int64)


def fitted(columns: Columns, success: Integers, seed: int) -> tuple[Encoding, HistGradientBoostingClassifier]:
    encoding = encoding_of(columns, success)
    return encoding, fit_trees(matrix_of(columns, encoding), success, seed)


def boosted_scores(train: Columns, success: Integers, test: Columns, seed: int) -> Scores:
    encoding, trees = fitted(train, success, seed)
    scores: Scores = trees.predict_proba(matrix_of(test, encoding))[:, 1]
    return scores


def logistic_scores(train: Columns, success: Integers, test: Columns) -> Scores:
    """The baseline: one-hot strings, scaled numbers."""
    strings = [name for name in train if train[name].dtype == object]
    numbers = [name for name in train if name not in strings]
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    scaler = StandardScaler()
    encoder.fit(np.column_stack([train[name] for name in strings]))
    scaler.fit(np.column_stack([train[name] for name in numbers]).astype(np.float64))

    def matrix(columns: Columns) -> NDArray[np.float64]:
        one_hot = encoder.transform(np.column_stack([columns[name] for name in strings]))
        return np.hstack([one_hot, scaler.transform(np.column_stack([columns[name] for name in numbers]))])

    model = make_pipeline(LogisticRegression(max_iter=2000)).fit(matrix(train), success)
    scores: Scores = model.predict_proba(matrix(test))[:, 1]
    return scores


def cross_validate(columns: Columns, success: Integers, seed: int) -> tuple[list[float], list[float], Scores]:
    """AUC per fold of the model and of the baseline, and every lead's score by the model that did not see it."""
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    unseen = np.zeros(len(success))
    boosted, logistic = [], []
    for fold, (train, test) in enumerate(folds.split(unseen, success, groups_of(columns)), start=1):
        known, new = take(columns, train), take(columns, test)
        unseen[test] = boosted_scores(known, success[train], new, seed)
        boosted.append(float(roc_auc_score(success[test], unseen[test])))
        logistic.append(float(roc_auc_score(success[test], logistic_scores(known, success[train], new))))
        print(f"fold {fold}: AUC {boosted[-1]:.4f}, logistic regression {logistic[-1]:.4f}", file=sys.stderr)
    return boosted, logistic, unseen


def forward_auc(columns: Columns, success: Integers, seed: int) -> float:
    """AUC on the last fifth of the file, which is ordered by date, of a model that saw the rest alone."""
    cut = int(len(success) * FORWARD_SHARE)
    early, late = np.arange(cut), np.arange(cut, len(success))
    scores = boosted_scores(take(columns, early), success[early], take(columns, late), seed)
    return float(roc_auc_score(success[late], scores))


def shape_of(scores: NDArray[np.floating]) -> dict[str, float]:
    """Mean score and each bucket's share."""
    bounds = [*BINS.values()]
    at_least = [float((scores >= bound).mean()) for bound in bounds]
    shares = np.diff(at_least, prepend=0.0)
    return {"mean_score": float(scores.mean())} | dict(zip(BINS, map(float, shares), strict=True))


def sampled_shapes(session: InferenceSession, profile: Profile, rows: int) -> list[dict[str, float]]:
    """The same of generated leads, for each of STREAM_SEEDS."""
    streams = (columns_of(sample_leads(profile, rows, seed, lambda number: number)) for seed in STREAM_SEEDS)
    return [shape_of(score(session, columns)) for columns in streams]


def prove(session: InferenceSession, columns: Columns, expected: Scores) -> NDArray[np.float32]:
    """Scores of all rows, once it is shown that the graph computes them and that batch-mates do not matter."""
    scores = score(session, columns)
    off = float(np.abs(scores - expected).max())
    if off > GRAPH_OFF_MAX:
        raise SystemExit(f"the graph is off by {off}")
    order = np.random.default_rng(0).permutation(len(scores))[: max(BATCH_ROWS)]
    for rows in BATCH_ROWS:
        batches = [order[start : start + rows] for start in range(0, len(order), rows)]
        alike = all(np.array_equal(score(session, take(columns, batch)), scores[batch]) for batch in batches)
        if not alike:
            raise SystemExit(f"scores depend on the batch at {rows} rows")
    return scores


def floors(
    boosted: list[float], logistic: list[float], real: dict[str, float], sampled: list[dict[str, float]]
) -> None:
    """Ends the program if the model or the sample stream is not good enough to be written."""
    if np.mean(boosted) < AUC_MIN or np.mean(boosted) <= np.mean(logistic):
        raise SystemExit(f"mean AUC {np.mean(boosted):.4f} is below {AUC_MIN} or logistic {np.mean(logistic):.4f}")
    off = max(abs(shape[name] / real[name] - 1) for shape in sampled for name in real)
    print(f"sample stream: at most {off:.1%} off the real one", file=sys.stderr)
    if off > STREAM_OFF_MAX:
        raise SystemExit("the sample stream is too far off: fit training/lead_profile.py anew")


def train(data: Path, out: Path, seed: int) -> None:
    columns, success = columns_of(read_leads(data, lambda number: number)), read_success(data)
    print(f"{len(success):,} leads, {success.mean():.2%} successes", file=sys.stderr)
    boosted, logistic, unseen = cross_validate(columns, success, seed)
    encoding, trees = fitted(columns, success, seed)
    model = graph_of(encoding, trees).SerializeToString(deterministic=True)
    session, profile = session_of(model), load_profile()
    scores = prove(session, columns, trees.predict_proba(matrix_of(columns, encoding))[:, 1])
    real, sampled = shape_of(scores), sampled_shapes(session, profile, len(success))
    floors(boosted, logistic, real, sampled)
    figures = Figures(
        success=success,
        unseen=unseen,
        boosted=boosted,
        logistic=logistic,
        log_loss=float(log_loss(success, unseen)),
        forward_auc=forward_auc(columns, success, seed),
        distinct=len(set(groups_of(columns).tolist())),
        real=real,
        sampled=sampled,
    )
    command = f"python training/lead.py --data {data.name} --seed {seed}"
    out.mkdir(parents=True, exist_ok=True)
    (out / "model.onnx").write_bytes(model)
    (out / "model.toml").write_text(contract_text(), encoding="utf-8")
    (out / "golden.jsonl").write_text(golden_text(session, profile), encoding="utf-8")
    card = card_text(figures, cpu_class(), content_sha256(data), command)
    (out / "MODEL_CARD.md").write_text(card, encoding="utf-8")
    for path in sorted(out.iterdir()):
        print(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains the lead model and writes its bundle.")
    parser.add_argument("--data", type=Path, required=True, help="bank-additional-full.csv, plain or .gz")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "models" / "lead" / "1")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    # One thread, because sums taken in another order are other bits.
    with threadpool_limits(1):
        train(options.data, options.out, options.seed)


if __name__ == "__main__":
    main()
