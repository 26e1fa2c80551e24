"""MODEL_CARD.md of the lead bundle: what the model is, how good, on what it was trained, and whose data that is.

No measured time goes in, so that the same data and seed give the same card on the same kind of machine.
"""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from lead_bundle import BINS
from numpy.typing import NDArray

LIBRARIES = ("scikit-learn", "numpy", "onnx", "onnxruntime")
DECILES = 10


@dataclass(frozen=True, slots=True)
class Figures:
    """What training measured; `unseen` [rows] are the scores by the fold's model that did not see the lead."""

    success: NDArray[np.int64]
    unseen: NDArray[np.float64]
    boosted: list[float]
    logistic: list[float]
    log_loss: float
    forward_auc: float
    distinct: int
    real: dict[str, float]
    sampled: list[dict[str, float]]


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)


def fold_table(figures: Figures) -> str:
    head = ["AUC", *(f"fold {fold}" for fold in range(1, len(figures.boosted) + 1)), "mean", "sd"]
    rows = []
    for name, aucs in (("this model", figures.boosted), ("logistic regression", figures.logistic)):
        cells = [f"{auc:.4f}" for auc in (*aucs, float(np.mean(aucs)), float(np.std(aucs)))]
        rows.append([name, *cells])
    return table(head, rows)


def calibration_table(figures: Figures) -> str:
    order = np.argsort(figures.unseen, kind="stable")
    rows = []
    for tenth, part in enumerate(np.array_split(order, DECILES), start=1):
        scores, success = figures.unseen[part], figures.success[part]
        rows.append([str(tenth), f"{len(part):,}", f"{scores.mean():.4f}", f"{success.mean():.4f}"])
    return table(["tenth by score", "leads", "mean score", "rate of success"], rows)


def bucket_table(figures: Figures) -> str:
    rows = []
    upper = np.inf
    base = figures.success.mean()
    for name, bound in BINS.items():
        inside = (figures.unseen >= bound) & (figures.unseen < upper)
        rate = figures.success[inside].mean()
        reached = figures.success[figures.unseen >= bound].sum() / figures.success.sum()
        rows.append([name, f"{bound}", f"{inside.mean():.1%}", f"{rate:.1%}", f"{rate / base:.2f}", f"{reached:.1%}"])
        upper = bound
    head = ["bucket", "score from", "share of leads", "rate of success", "lift", "of all successes, down to here"]
    return table(head, rows)


def stream_table(figures: Figures) -> str:
    rows = []
    for name, real in figures.real.items():
        ratios = [shape[name] / real - 1 for shape in figures.sampled]
        mean = float(np.mean([shape[name] for shape in figures.sampled]))
        worst = max(ratios, key=abs)
        label = "mean score" if name == "mean_score" else f"share of {name}"
        rows.append([label, f"{real:.4f}", f"{mean:.4f}", f"{worst:+.1%}"])
    return table(["stream", "real", f"sampled, mean of {len(figures.sampled)} seeds", "worst seed"], rows)


def front_matter(figures: Figures, cpu_class: str) -> str:
    auc = round(float(np.mean(figures.boosted)), 4)
    real = {name: round(value, 6) for name, value in figures.real.items()}
    return f"""---
license: cc-by-4.0
library_name: onnx
pipeline_tag: tabular-classification
tags: [lead-scoring, gradient-boosting, onnx]
datasets: [bank-marketing]
runtime: onnxruntime {version("onnxruntime")}
cpu_class: {cpu_class}
real_stream: {json.dumps(real)}
model-index:
  - name: lead
    results:
      - task: {{ type: tabular-classification }}
        dataset: {{ name: Bank Marketing, type: bank-marketing }}
        metrics:
          - {{ type: roc_auc, name: mean AUC of five folds with duplicates grouped, value: {auc} }}
---"""


def card_text(figures: Figures, cpu_class: str, data_sha256: str, command: str) -> str:
    """The whole card."""
    versions = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return f"""{front_matter(figures, cpu_class)}

# lead 1

The chance that a lead subscribes to a term deposit when called, from what is known before the call; and a bucket from
A (call first) to D. 40 boosted trees of 16 leaves over 19 event fields; strings enter as their category's smoothed rate
of success. A category that was never seen counts as the base rate.

## Data, licence, attribution

Bank Marketing (`bank-additional-full.csv`, {len(figures.success):,} contacts of a Portuguese bank, May 2008 to November
2010, {figures.success.mean():.2%} successes), UCI Machine Learning Repository, doi 10.24432/C5K306, licence CC BY 4.0.
The trained model and the golden rows are derived from it and come under the same licence. Please cite:
S. Moro, P. Cortez and P. Rita. A Data-Driven Approach to Predict the Success of Bank Telemarketing. Decision Support
Systems, 2014, doi 10.1016/j.dss.2014.03.001.

Changes made: `duration` is dropped, since it is known only after the call; `pdays` 999 became null; symbols were
renamed to Avro names. The golden rows are drawn from a profile of counts, none of them below 5, and are no one's data.

## Quality

Five folds, stratified, identical leads ({figures.distinct:,} distinct) in the same fold; category rates fitted within
each fold. Log loss {figures.log_loss:.4f}.

{fold_table(figures)}

Calibration, each lead scored by the model that did not see it:

{calibration_table(figures)}

Buckets, likewise:

{bucket_table(figures)}

## Limits

- Folds mix the years. Trained on the first four fifths of the file and asked about the last, AUC is
  {figures.forward_auc:.3f}: much of what the model knows is how willing people were under an economy that it has seen.
  Score drift is to be expected when the indicators move; retrain, and compare by replay.
- One bank, one country, one product, 2008 to 2010. Age, marital status and job are inputs: check what the law where
  you are says of their use before people are treated by this score.
- A null `days_since_contact` counts as 999. Months January and February and weekends do not occur in the data.

## Sample stream

Leads drawn from `scorer/local/profiles/lead.json` against the real file, both scored by this model,
{len(figures.success):,} each:

{stream_table(figures)}

## Made by

- Command: `{command}` (Python {platform.python_version()}; {versions})
- Data sha256, of the uncompressed file: `{data_sha256}`
- Bit for bit on the runtime and CPU class named at the top; elsewhere golden rows hold within 1e-6, relative.
"""
