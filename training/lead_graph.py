"""The lead model itself: category rates, boosted trees, and the ONNX graph that computes both.

The graph has one input per event field ([N, 1], strings or float32): a LabelEncoder per string field, one Concat, one
TreeEnsembleClassifier. It is written by hand because skl2onnx 1.20 does not convert HistGradientBoostingClassifier of
scikit-learn 1.9, and its graph for GradientBoostingClassifier costs more per row (LEAD.md has the figures).
A string that was never seen gets the base rate, so new categories are scored, not refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from sklearn.ensemble import HistGradientBoostingClassifier

OPSET = 18
OPSET_ML = 3
IR_VERSION = 9
ML = "ai.onnx.ml"

MISSING_DAYS = 999
# As many rows of the base rate are added to each category, so that a rare one says little.
PRIOR_ROWS = 20

STRINGS = (
    "job",
    "marital",
    "education",
    "credit_default",
    "housing",
    "loan",
    "contact",
    "month",
    "day_of_week",
    "previous_outcome",
)
NUMBERS = (
    "age",
    "campaign",
    "days_since_contact",
    "previous_contacts",
    "employment_variation_rate",
    "consumer_price_index",
    "consumer_confidence_index",
    "euribor_3m",
    "employees",
)

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Encoding:
    """For each string field its categories' rates of success, and the base rate for all others."""

    rates: Mapping[str, Mapping[str, float]]
    base: float


def columns_of(events: Iterable[Mapping[str, Any]]) -> dict[str, NDArray[Any]]:
    """Events as the graph's inputs: strings as objects, numbers as float32, each [N]; no days means MISSING_DAYS."""
    rows = list(events)
    columns: dict[str, NDArray[Any]] = {name: np.array([row[name] for row in rows], dtype=object) for name in STRINGS}
    for name in NUMBERS:
        values = [MISSING_DAYS if row[name] is None else row[name] for row in rows]
        columns[name] = np.array(values, dtype=np.float32)
    return columns


def take(columns: Columns, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    return {name: column[rows] for name, column in columns.items()}


def encoding_of(columns: Columns, success: NDArray[np.int64]) -> Encoding:
    """Rates of success by category, drawn towards the base rate by PRIOR_ROWS rows."""
    base = float(success.mean())
    rates = {}
    for name in STRINGS:
        categories = sorted(set(columns[name].tolist()))
        rates[name] = {
            category: float((success[columns[name] == category].sum() + PRIOR_ROWS * base) / (count + PRIOR_ROWS))
            for category in categories
            if (count := int((columns[name] == category).sum()))
        }
    return Encoding(rates, base)


def matrix_of(columns: Columns, encoding: Encoding) -> NDArray[np.float32]:
    """What the graph's Concat makes: float32 [N, 19], strings as rates first, then numbers."""
    encoded = [
        np.array([encoding.rates[name].get(value, encoding.base) for value in columns[name]], dtype=np.float32)
        for name in STRINGS
    ]
    return np.column_stack([*encoded, *(columns[name] for name in NUMBERS)]).astype(np.float32)


def fit_trees(matrix: NDArray[np.float32], success: NDArray[np.int64], seed: int) -> HistGradientBoostingClassifier:
    """40 trees of 16 leaves; LEAD.md says how the size was chosen."""
    return HistGradientBoostingClassifier(
        max_iter=40,
        max_leaf_nodes=16,
        learning_rate=0.12,
        min_samples_leaf=60,
        l2_regularization=5.0,
        early_stopping=False,
        random_state=seed,
    ).fit(matrix, success)


def graph_of(encoding: Encoding, trees: HistGradientBoostingClassifier) -> onnx.ModelProto:
    """The ONNX model: output `probabilities`, float32 [N, 2], the second column the rate of success."""
    encoders = [
        helper.make_node(
            "LabelEncoder",
            [name],
            [f"{name}_rate"],
            domain=ML,
            keys_strings=list(encoding.rates[name]),
            values_floats=list(encoding.rates[name].values()),
            default_float=encoding.base,
        )
        for name in STRINGS
    ]
    concat = helper.make_node("Concat", [*(f"{name}_rate" for name in STRINGS), *NUMBERS], ["features"], axis=1)
    ensemble = helper.make_node(
        "TreeEnsembleClassifier",
        ["features"],
        ["label", "probabilities"],
        domain=ML,
        base_values=[float(trees._baseline_prediction[0, 0])],
        classlabels_int64s=[0, 1],
        post_transform="LOGISTIC",
        **_tree_attributes(trees),
    )
    inputs = [helper.make_tensor_value_info(name, TensorProto.STRING, [None, 1]) for name in STRINGS]
    inputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]) for name in NUMBERS]
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2])]
    graph = helper.make_graph([*encoders, concat, ensemble], "lead", inputs, outputs)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML, OPSET_ML)]
    model = helper.make_model(graph, producer_name="training/lead.py", opset_imports=opsets, ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model


def _tree_attributes(trees: HistGradientBoostingClassifier) -> dict[str, Any]:
    """Nodes and leaves of all trees; the weight of class 0 alone is stored and LOGISTIC makes both columns of it."""
    nodes: dict[str, list[Any]] = {
        f"nodes_{part}": []
        for part in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")
    }
    leaves: dict[str, list[Any]] = {f"class_{part}": [] for part in ("treeids", "nodeids", "ids", "weights")}
    for tree, (predictor,) in enumerate(trees._predictors):
        for place, node in enumerate(predictor.nodes):
            leaf = bool(node["is_leaf"])
            nodes["nodes_treeids"].append(tree)
            nodes["nodes_nodeids"].append(place)
            nodes["nodes_featureids"].append(0 if leaf else int(node["feature_idx"]))
            nodes["nodes_values"].append(0.0 if leaf else _largest_float32_up_to(node["num_threshold"]))
            nodes["nodes_modes"].append("LEAF" if leaf else "BRANCH_LEQ")
            nodes["nodes_truenodeids"].append(0 if leaf else int(node["left"]))
            nodes["nodes_falsenodeids"].append(0 if leaf else int(node["right"]))
            if leaf:
                leaves["class_treeids"].append(tree)
                leaves["class_nodeids"].append(place)
                leaves["class_ids"].append(0)
                leaves["class_weights"].append(float(node["value"]))
    return nodes | leaves


def _largest_float32_up_to(threshold: float) -> float:
    """For a float32 x, x <= threshold exactly when x <= this: rounding up would send a few leads the other way."""
    rounded = np.float32(threshold)
    return float(rounded if rounded <= threshold else np.nextafter(rounded, np.float32(-np.inf)))
