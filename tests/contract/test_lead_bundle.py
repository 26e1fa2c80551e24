from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from scorer.core.model import load_model
from scorer.core.proof import event_problems, prediction_problems, signature_problems
from scorer.core.rehearsal import golden_problems, invariance_problems
from scorer.core.schema import WriterSchema, writer_schema
from scorer.edges.bundles import card_front_matter, read_bundle
from scorer.edges.machine import cpu_class
from scorer.local.leads import load_profile, sample_leads

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "models/lead/1"
CONTRACT = tomllib.loads((FOLDER / "model.toml").read_text())
CARD = (FOLDER / "MODEL_CARD.md").read_text()
FIELDS = {field["name"]: field for field in json.loads((ROOT / "schemas/events.new-lead.avsc").read_text())["fields"]}
GOLDEN = [json.loads(line) for line in (FOLDER / "golden.jsonl").read_text().splitlines()]
BINS: dict[str, float] = CONTRACT["outputs"]["bucket"]["bins"]


@cache
def session() -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(FOLDER / "model.onnx"), options, providers=["CPUExecutionProvider"])


def feeds(events: Iterable[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """The contract read as plainly as can be, without the scorer."""
    rows = list(events)
    made = {}
    for end in session().get_inputs():
        rule = CONTRACT["inputs"][end.name]
        values = [rule["missing"] if row.get(rule["field"]) is None else row[rule["field"]] for row in rows]
        kind = object if end.type == "tensor(string)" else np.float32
        made[end.name] = np.array(values, dtype=kind).reshape(-1, 1)
    return made


def run(tensors: Mapping[str, np.ndarray]) -> np.ndarray:
    score = CONTRACT["outputs"]["score"]
    return session().run([score["from"]], dict(tensors))[0][:, score["column"]]


def bucket(score: float) -> str:
    return next(name for name, bound in BINS.items() if score >= bound)


def schema(name: str) -> WriterSchema:
    return writer_schema(1, (ROOT / "schemas" / name).read_text())


def test_golden_rows_come_out_of_plain_onnxruntime_bit_for_bit() -> None:
    scores = run(feeds(row["event"] for row in GOLDEN))
    expected = np.array([row["expect"]["score"] for row in GOLDEN])
    front = card_front_matter(CARD)
    if front["runtime"] == f"onnxruntime {onnxruntime.__version__}" and front["cpu_class"] == cpu_class():
        assert scores.astype(np.float64).tolist() == expected.tolist()
    else:
        np.testing.assert_allclose(scores, expected, rtol=1e-6)
    assert [bucket(float(score)) for score in scores] == [row["expect"]["bucket"] for row in GOLDEN]


def test_golden_scores_are_written_as_float32_exactly() -> None:
    for row in GOLDEN:
        assert float(np.float32(row["expect"]["score"])) == row["expect"]["score"]


def test_golden_rows_reach_every_bucket_and_the_edges() -> None:
    assert 24 <= len(GOLDEN) <= 32
    assert {row["expect"]["bucket"] for row in GOLDEN} == set(BINS)
    events = [row["event"] for row in GOLDEN]
    assert {None} < {event["days_since_contact"] for event in events}
    assert {"jan", "feb"} < {event["month"] for event in events}
    for name, rule in CONTRACT["inputs"].items():
        if rule["missing"] == "unknown":
            assert "unknown" in {event[name] for event in events}, name


def test_golden_rows_are_generated_and_never_a_data_sets() -> None:
    assert all(row["event"]["lead_id"].startswith(("sample-", "edge-")) for row in GOLDEN)


def test_each_input_of_the_graph_is_one_column_of_the_type_of_its_event_field() -> None:
    ends = {end.name: end for end in session().get_inputs()}
    assert ends.keys() == CONTRACT["inputs"].keys()
    for name, end in ends.items():
        field = FIELDS[CONTRACT["inputs"][name]["field"]]["type"]
        numeric = field in ("int", "double") or field == ["null", "int"]
        assert end.type == ("tensor(float)" if numeric else "tensor(string)"), name
        assert isinstance(end.shape[0], str | None)
        assert end.shape[1:] == [1]


def test_every_field_known_before_the_call_feeds_the_model() -> None:
    fed = {rule["field"] for rule in CONTRACT["inputs"].values()}
    assert fed == FIELDS.keys() - {"event_id", "lead_id", "occurred_at"}


def test_a_field_that_may_be_null_has_a_default() -> None:
    for rule in CONTRACT["inputs"].values():
        if isinstance(FIELDS[rule["field"]]["type"], list):
            assert rule["missing"] != "reject", rule["field"]


def test_bins_fall_to_zero_and_compare_alike_as_float32_and_as_double() -> None:
    bounds = list(BINS.values())
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[-1] == 0.0
    assert [float(np.float32(bound)) for bound in bounds] == bounds


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 64, 1000])
def test_a_score_has_the_same_bits_whatever_its_batch_mates(rows: int) -> None:
    tensors = feeds(sample_leads(load_profile(), 1000, 11, lambda number: number))
    together = run(tensors)
    order = np.random.default_rng(rows).permutation(1000)
    for start in range(0, 1000, rows):
        batch = order[start : start + rows]
        alone = run({name: tensor[batch] for name, tensor in tensors.items()})
        assert alone.tobytes() == together[batch].tobytes()


def test_a_category_that_was_never_seen_is_scored_like_any_other_unseen_one() -> None:
    event = GOLDEN[0]["event"]
    for name, end in ((end.name, end) for end in session().get_inputs()):
        if end.type == "tensor(string)":
            unseen = run(feeds([event | {name: "astronaut"}, event | {name: ""}, event | {name: "雇用"}]))
            assert 0.0 < unseen[0] < 1.0
            assert len(set(unseen.tolist())) == 1


def test_the_core_finds_nothing_wrong_with_the_bundle() -> None:
    model = load_model(read_bundle(FOLDER))
    event = schema("events.new-lead.avsc")
    assert signature_problems(model.interface) == []
    assert event_problems(model.interface, [("version 1", event)]) == []
    assert prediction_problems(model.interface, schema("predictions.lead-score.avsc")) == []
    assert golden_problems(model, event, exact=False) == []
    assert invariance_problems(model, event, rows_max=1000) == []


@pytest.mark.parametrize("seed", [1, 6])
def test_the_sample_stream_has_the_real_streams_mean_score_and_bucket_shares_within_a_tenth(seed: int) -> None:
    real = json.loads(card_front_matter(CARD)["real_stream"])
    scores = run(feeds(sample_leads(load_profile(), 41_188, seed, lambda number: number)))
    buckets = [bucket(score) for score in scores.tolist()]
    sampled = {"mean_score": scores.mean()} | {name: buckets.count(name) / len(buckets) for name in BINS}
    assert sampled == pytest.approx(real, rel=0.10)


def test_the_card_names_licence_authors_and_source() -> None:
    assert card_front_matter(CARD)["license"] == "cc-by-4.0"
    for words in (
        "CC BY 4.0",
        "Moro",
        "Cortez",
        "Rita",
        "UCI Machine Learning Repository",
        "10.1016/j.dss.2014.03.001",
    ):
        assert words in CARD


def test_the_card_says_how_to_make_the_bundle_again_and_that_it_is_good_enough() -> None:
    for words in ("python training/lead.py --data", "Data sha256", "scikit-learn", "onnx ", "numpy"):
        assert words in CARD
    mean = {}
    for name in ("this model", "logistic regression"):
        row = next(line for line in CARD.splitlines() if line.startswith(f"| {name} |"))
        *folds, mean[name], _ = map(float, row.strip("| ").split(" | ")[1:])
        assert mean[name] == pytest.approx(np.mean(folds), abs=1e-4)
    assert mean["this model"] >= 0.795
    assert mean["this model"] > mean["logistic regression"]
