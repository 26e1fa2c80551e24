"""Outputs and provenance as the columns of predictions."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from scorer.core.bundle import Bundle
from scorer.core.compose import PROVENANCE, Predictions, compose, digest
from scorer.core.features import nothing
from scorer.core.model import Model, load_model
from tests.unit.core.batches import batch_of
from tests.unit.core.graphs import graph, model_of
from tests.unit.core.predictions import ORIGIN, features_of, listed

BINS = "bins = { A = 0.5, B = 0.2, C = 0.1 }\n"


def model_with(outputs: str) -> Model:
    """A model whose graph does not matter, with this contract for its outputs."""
    onnx = graph([("Identity", ["x"], ["y"], {})], {"x": ("float", (None, 1))}, {"y": ("float", (None, 1))})
    return model_of(onnx, '[inputs.x]\nfield = "x"\n' + outputs)


def composed(outputs: dict[str, Any], toml: str, rows: list[int] | None = None) -> Predictions:
    n = len(next(iter(outputs.values())))
    batch = batch_of([b"value %d" % at for at in range(20)], partitions=[at % 2 for at in range(20)])
    model = model_with(toml)
    return compose(features_of(rows or list(range(n))), outputs, batch, model, origin=ORIGIN, now_ms=99)


def test_an_id_is_model_version_topic_partition_and_offset() -> None:
    found = composed({"y": np.zeros(2, np.float32)}, '[outputs.score]\nfrom = "y"\n', rows=[3, 6])
    assert listed(found.columns["prediction_id"]) == ["lead/1/events/1/103", "lead/1/events/0/106"]


def test_every_prediction_says_where_it_comes_from() -> None:
    found = composed({"y": np.zeros(2, np.float32)}, '[outputs.score]\nfrom = "y"\n', rows=[3, 6])
    columns = {name: listed(values) for name, values in found.columns.items()}
    assert columns == {
        "prediction_id": ["lead/1/events/1/103", "lead/1/events/0/106"],
        "event_id": ["e3", "e6"],
        "lead_id": ["l3", "l6"],
        "source_partition": [1, 0],
        "source_offset": [103, 106],
        "source_timestamp": [5003, 5006],
        "source_schema_id": [7, 7],
        "event_digest": [digest(b"value 3"), digest(b"value 6")],
        "occurred_at": [1003, 1006],
        "score": [0.0, 0.0],
    }
    assert found.constants == {
        "model_name": "lead",
        "model_version": "1",
        "model_sha256": model_with('[outputs.score]\nfrom = "y"\n').bundle.sha256,
        "source_topic": "events",
        "lane": "live",
        "scorer_version": "0.1.0",
        "runtime": "onnxruntime 1",
        "cpu_class": "avx512",
        "scored_at": 99,
    }
    assert (columns.keys() | found.constants.keys()) - {"lead_id", "score"} == PROVENANCE.keys()
    assert listed(found.keys) == ["l3", "l6"]
    assert found.rows.tolist() == [3, 6]
    assert len(found) == 2


def test_the_time_of_scoring_changes_nothing_else() -> None:
    model, outputs = model_with('[outputs.score]\nfrom = "y"\n'), {"y": np.zeros(1, np.float32)}
    batch = batch_of([b"x"])
    one, other = (compose(features_of([0]), outputs, batch, model, origin=ORIGIN, now_ms=now) for now in (1, 2))
    assert {name: listed(values) for name, values in one.columns.items()} == {
        name: listed(values) for name, values in other.columns.items()
    }
    assert {name for name in one.constants if one.constants[name] != other.constants[name]} == {"scored_at"}


def test_ids_and_digests_do_not_depend_on_the_batch_size() -> None:
    outputs = {"y": np.zeros(20, np.float32)}
    found = composed(outputs, '[outputs.score]\nfrom = "y"\n', rows=list(range(20)))
    assert listed(found.columns["event_digest"]) == [digest(b"value %d" % at) for at in range(20)]
    assert listed(found.columns["prediction_id"]) == [f"lead/1/events/{at % 2}/{100 + at}" for at in range(20)]


def test_a_digest_is_eight_bytes_of_blake2b_over_the_whole_value_in_hex() -> None:
    assert digest(b"\x00\x00\x00\x00\x01abc") == hashlib.blake2b(b"\x00\x00\x00\x00\x01abc", digest_size=8).hexdigest()
    assert len(digest(b"")) == 16


def test_the_entity_is_named_by_the_last_part_of_its_path() -> None:
    files = model_with('[outputs.score]\nfrom = "y"\n').bundle.files
    toml = files["model.toml"].replace(b"lead_id", b"who.lead_no")
    model = load_model(Bundle("bundle", files | {"model.toml": toml}))
    found = compose(features_of([0]), {"y": np.zeros(1)}, batch_of([b"x"]), model, origin=ORIGIN, now_ms=0)
    assert listed(found.columns["lead_no"]) == ["l0"]


@pytest.mark.parametrize(
    ("array", "rule", "expected"),
    [
        (np.array([0.5, 1.5], np.float32), "", [0.5, 1.5]),
        (np.array([[0.5], [1.5]], np.float32), "", [0.5, 1.5]),
        (np.array([[0.1, 0.5], [0.2, 1.5]], np.float32), "column = 1\n", [0.5, 1.5]),
        (np.array([[7], [8]], np.int64), "column = 0\n", [7, 8]),
        (np.array([["a"], ["b"]], object), "", ["a", "b"]),
        (np.array([True, False]), "", [True, False]),
    ],
)
def test_an_output_is_taken_whole_or_by_column(array: Any, rule: str, expected: list[Any]) -> None:
    found = composed({"y": array}, '[outputs.score]\nfrom = "y"\n' + rule).columns["score"]
    assert (found.tolist(), found.dtype) == (expected, array.dtype)


@pytest.mark.parametrize(
    ("score", "label"),
    [(1.0, "A"), (0.5, "A"), (0.49999997, "B"), (0.2000001, "B"), (0.1, "C"), (0.05, "C"), (-3.0, "C")],
)
def test_a_score_falls_into_the_bin_of_the_highest_bound_that_it_reaches(score: float, label: str) -> None:
    toml = '[outputs.score]\nfrom = "y"\n[outputs.bucket]\nof = "score"\n' + BINS
    assert listed(composed({"y": np.array([[score]], np.float32)}, toml).columns["bucket"]) == [label]


def test_bins_are_of_the_column_that_the_score_is_taken_from() -> None:
    toml = '[outputs.bucket]\nof = "score"\n' + BINS + '[outputs.score]\nfrom = "y"\ncolumn = 1\n'
    found = composed({"y": np.array([[0.9, 0.1], [0.1, 0.9]], np.float32)}, toml)
    assert listed(found.columns["bucket"]) == ["C", "A"]


def test_a_list_of_records_has_one_record_for_each_column_of_its_outputs() -> None:
    toml = '[outputs.items]\neach = { product_code = "codes", score = "scores" }\n'
    codes = np.array([["a", "b"], ["c", "d"]], object)
    scores = np.array([[2.0, 1.0], [4.0, 3.0]], np.float32)
    found = composed({"codes": codes, "scores": scores}, toml).columns["items"]
    assert found.to_pylist() == [
        [{"product_code": "a", "score": 2.0}, {"product_code": "b", "score": 1.0}],
        [{"product_code": "c", "score": 4.0}, {"product_code": "d", "score": 3.0}],
    ]


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (2, 0)])
def test_lists_of_records_may_be_empty_in_either_direction(shape: tuple[int, int]) -> None:
    toml = '[outputs.items]\neach = { score = "scores" }\n'
    found = composed({"scores": np.empty(shape, np.float32)}, toml, rows=[0] * shape[0]).columns["items"]
    assert found.to_pylist() == [[]] * shape[0]


def test_no_rows_make_no_predictions() -> None:
    toml = '[outputs.score]\nfrom = "y"\n[outputs.bucket]\nof = "score"\n' + BINS
    outputs = {"y": np.empty((0, 1), np.float32)}
    found = compose(nothing(), outputs, batch_of([None]), model_with(toml), origin=ORIGIN, now_ms=0)
    assert len(found) == 0
    assert all(len(values) == 0 for values in found.columns.values())
