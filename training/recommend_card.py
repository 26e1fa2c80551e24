"""MODEL_CARD.md of the recommender: what it is, how good, on what it was trained, and whose data that is.

No measured time goes in, so that the same data and seed give the same card on the same kind of machine.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from recommend_graph import SCORE_UNIT, SHELF_DAYS
from recommend_score import POPULAR_DAYS, RARE, Weights

LIBRARIES = ("numpy", "onnx", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Verdict:
    """One cut: (hit@10, precision@10) of known customers by the baseline and the model, of cold ones by the model."""

    cut: str
    known: int
    cold: int
    baseline: tuple[float, float]
    model: tuple[float, float]
    new: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Figures:
    """What training measured; a stream is mean top score and mean score by name, `sampled` one for each seed."""

    rows: int
    invoices: int
    customers: int
    products: int
    on_shelf: int
    tuned_on: Sequence[str]
    answers_until: str
    weights: Weights
    verdicts: Sequence[Verdict]
    real: Mapping[str, float]
    sampled: Sequence[Mapping[str, float]]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))


def quality_table(figures: Figures) -> str:
    rows = []
    for verdict in figures.verdicts:
        known, cold = f"{verdict.known:,} known", f"{verdict.cold:,} cold"
        rows.append([verdict.cut, known, "baseline", *(f"{value:.4f}" for value in verdict.baseline)])
        rows.append([verdict.cut, known, "this model", *(f"{value:.4f}" for value in verdict.model)])
        rows.append([verdict.cut, cold, "this model", *(f"{value:.4f}" for value in verdict.new)])
    return table(["cut", "customers", "", "hit@10", "precision@10"], rows)


def stream_table(figures: Figures) -> str:
    rows = []
    for name, real in figures.real.items():
        sampled = [stream[name] for stream in figures.sampled]
        worst = max((value / real - 1 for value in sampled), key=abs)
        rows.append([name.replace("_", " "), f"{real:.4f}", f"{sum(sampled) / len(sampled):.4f}", f"{worst:+.1%}"])
    return table(["stream", "real", f"sampled, mean of {len(figures.sampled)} seeds", "worst seed"], rows)


def front_matter(figures: Figures, cpu_class: str) -> str:
    real = {name: round(value, 6) for name, value in figures.real.items()}
    metrics = []
    for verdict in figures.verdicts:
        for name, value in zip(("hit@10", "precision@10"), verdict.model, strict=True):
            metrics.append(
                f"          - {{ type: {name}, name: known customers at {verdict.cut}, value: {value:.4f} }}"
            )
        metrics.append(
            f"          - {{ type: hit@10, name: cold customers at {verdict.cut}, value: {verdict.new[0]:.4f} }}"
        )
    listed = "\n".join(metrics)
    return f"""---
license: cc0-1.0
library_name: onnx
tags: [recommendation, next-basket, onnx]
datasets: [online-retail]
runtime: onnxruntime {version("onnxruntime")}
cpu_class: {cpu_class}
real_stream: {json.dumps(real)}
model-index:
  - name: recommend
    results:
      - task: {{ type: recommendation }}
        dataset: {{ name: Online Retail, type: online-retail }}
        metrics:
{listed}
---"""


def data_section(figures: Figures) -> str:
    return f"""## Data, licence, attribution

Online Retail: all sales of a British online wholesaler of gifts, December 2010 to 9 December 2011. Taken under
CC0 1.0, as which the R package onlineretail also publishes it with its donor's permission; the UCI Machine Learning
Repository (doi 10.24432/C5BW33) lists it under CC BY 4.0. Model and golden rows come under CC0 1.0. Attribution:
D. Chen, Online Retail, UCI Machine Learning Repository, 2015; D. Chen, S. L. Sain and K. Guo, Data mining for the
online retail industry, Journal of Database Marketing and Customer Strategy Management 19(3), 2012,
doi 10.1057/dbm.2012.17.

Cleaned: customer known, invoice not starting with C, quantity and price above 0, code starting with five digits.
{figures.rows:,} rows, {figures.invoices:,} invoices, {figures.customers:,} customers, {figures.products:,} products.
At the end of the data {figures.on_shelf:,} of these are on the shelf. A code counts once an invoice.

Golden rows are drawn from a profile that leaves out what fewer than five customers share; they are no one's data.
"""


def quality_section(figures: Figures) -> str:
    return f"""## Quality

Trained on what came before the cut; asked for each customer's first invoice after it. Baseline: own products by times
bought, then all others, ties by how many invoices of the last {POPULAR_DAYS} days held them. Figures of the model are
those of its ONNX graph, built at the cut. hit@10: was any of the ten bought; precision@10: how many of the ten were.

{quality_table(figures)}

The three weights and the trend's days were tuned on the cuts {", ".join(figures.tuned_on)}, with
answers before {figures.answers_until} alone. The form of the score and the way of tuning were chosen with the
two judging cuts in sight, so expect a little less elsewhere. The bundle is the same score at the end of the data, with
the same weights.

## Limits

- Popularity stands still when the data ends: retrain often. In autumn two weeks tell more than a month does.
- One shop, one year, mostly one country; abroad is one group.
- The model says what will be bought, not what a recommendation would add to it.
"""


def card_text(figures: Figures, cpu_class: str, data_sha256: str, command: str) -> str:
    """The whole card."""
    versions = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    weights = figures.weights
    return f"""{front_matter(figures, cpu_class)}

# recommend 1

The ten products that a customer who logs in is likeliest to put into the next basket, from the last 200 product codes
bought and the country. Buying again counts: many customers are wholesalers.

    score = (popularity + own) / {SCORE_UNIT:g}
    own = {weights.bought:g} + {weights.times:g} ln(1 + n) for a product bought n > 0 times, else 0
    popularity = month + {weights.trend:.2f} (weeks - month)
    month = ln(1 + p / {RARE:g}), p the product's share of the country group's invoices of the last {POPULAR_DAYS} days
    weeks = the same of the last {weights.trend_days} days

Country groups are the United Kingdom and abroad; a country that was never seen gets everybody's popularity.

0 is a product that nobody bought of late; scores rank one customer's products, and are no probabilities. A product that
nobody bought for {SHELF_DAYS} days is off the shelf: it is not recommended, and changes nothing, like an unknown code.
An empty history gives the country group's popular list. Ties go to the product that sold more over the whole time.

{data_section(figures)}
{quality_section(figures)}
## Sample stream

Logins drawn from `scorer/local/profiles/login.json` against the real file's, both scored by this model,
{figures.invoices:,} each. Top is the first of ten, mean score that of all ten:

{stream_table(figures)}

## Made by

- Command: `{command}` (Python {platform.python_version()}; {versions})
- Data sha256, of the uncompressed file: `{data_sha256}`
- Bit for bit on the runtime and CPU class named at the top; elsewhere golden rows hold within 1e-6, relative. All
  numbers of the graph are multiples of 2^-16 that float32 adds exactly, so other machines should give the same bits.
"""
