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
from scorer.local.logins import load_profile, sample_logins

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "models/recommend/1"
CONTRACT = tomllib.loads((FOLDER / "model.toml").read_text())
CARD = (FOLDER / "MODEL_CARD.md").read_text()
GOLDEN = [json.loads(line) for line in (FOLDER / "golden.jsonl").read_text().splitlines()]
EVENT = GOLDEN[0]["event"]


@cache
def session() -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(FOLDER / "model.onnx"), options, providers=["CPUExecutionProvider"])


def feeds(events: Iterable[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """The contract read as plainly as can be, without the scorer."""
    rows = list(events)
    rule = CONTRACT["inputs"]["codes"]
    codes = [list(row[rule["field"]])[: rule["length"]] for row in rows]
    padded = [[*some, *[rule["pad"]] * (rule["length"] - len(some))] for some in codes]
    countries = [[row[CONTRACT["inputs"]["country"]["field"]]] for row in rows]
    return {"codes": np.array(padded, dtype=object), "country": np.array(countries, dtype=object)}


def run(tensors: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    each = CONTRACT["outputs"]["items"]["each"]
    items, scores = session().run([each["product_code"], each["score"]], dict(tensors))
    return items, scores


def top(**changes: Any) -> list[str]:
    items, _ = run(feeds([EVENT | changes]))
    return list(items[0])


def schema(name: str) -> WriterSchema:
    return writer_schema(1, (ROOT / "schemas" / name).read_text())


def test_golden_rows_come_out_of_plain_onnxruntime_bit_for_bit() -> None:
    items, scores = run(feeds(row["event"] for row in GOLDEN))
    assert scores.dtype == np.float32
    for row, codes, values in zip(GOLDEN, items.tolist(), scores.tolist(), strict=True):
        pairs = zip(codes, values, strict=True)
        assert [{"product_code": code, "score": value} for code, value in pairs] == row["expect"]["items"]


def test_golden_scores_are_written_as_float32_exactly() -> None:
    for item in (item for row in GOLDEN for item in row["expect"]["items"]):
        assert float(np.float32(item["score"])) == item["score"]


def test_golden_rows_reach_the_edges() -> None:
    assert 24 <= len(GOLDEN) <= 32
    histories = [row["event"]["recent_products"] for row in GOLDEN]
    assert {0, 200} < set(map(len, histories))
    assert max(map(len, histories)) > 200
    assert max(history.count(history[0]) for history in histories if history) == 200
    assert any("no such code" in history and len(history) == 1 for history in histories)
    assert {"", "Atlantis", "United Kingdom", "France"} < {row["event"]["country"] for row in GOLDEN}


def test_golden_rows_are_generated_and_never_a_data_sets() -> None:
    assert all(row["event"]["customer_id"].startswith(("sample-", "edge-")) for row in GOLDEN)


def test_the_graph_takes_padded_codes_and_a_country_and_gives_ten_items_with_scores() -> None:
    ends = {end.name: (end.type, end.shape[1:]) for end in (*session().get_inputs(), *session().get_outputs())}
    assert ends == {
        "codes": ("tensor(string)", [200]),
        "country": ("tensor(string)", [1]),
        "items": ("tensor(string)", [10]),
        "scores": ("tensor(float)", [10]),
    }


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 64, 1000])
def test_a_login_has_the_same_bits_whatever_its_batch_mates(rows: int) -> None:
    sampled = sample_logins(load_profile(), 1000 - len(GOLDEN), 11, lambda number: number)
    tensors = feeds([*(row["event"] for row in GOLDEN), *sampled])
    items, scores = run(tensors)
    order = np.random.default_rng(rows).permutation(1000)
    for start in range(0, 1000, rows):
        batch = order[start : start + rows]
        some_items, some_scores = run({name: tensor[batch] for name, tensor in tensors.items()})
        assert some_items.tolist() == items[batch].tolist()
        assert some_scores.tobytes() == scores[batch].tobytes()


def test_ten_different_products_come_best_first_and_none_is_padding() -> None:
    items, scores = run(feeds(sample_logins(load_profile(), 2000, 12, lambda number: number)))
    assert all(len(set(row)) == 10 and "" not in row for row in items.tolist())
    assert (np.diff(scores, axis=1) <= 0).all()
    assert (scores >= 0).all()


def test_an_empty_history_gives_the_popular_list_of_the_country_group() -> None:
    home, france, germany = (top(recent_products=[], country=name) for name in ("United Kingdom", "France", "Germany"))
    assert france == germany != home


def test_an_unknown_country_gets_everybodys_popular_list() -> None:
    unknown = [top(recent_products=[], country=name) for name in ("Atlantis", "", "united kingdom")]
    assert unknown[0] == unknown[1] == unknown[2] != top(recent_products=[], country="France")


@pytest.mark.parametrize("codes", [["no such code"], ["no such code"] * 200, [""], ["", "été-雪", "85123a"]])
def test_unknown_codes_change_nothing(codes: list[str]) -> None:
    assert top(recent_products=codes, country="France") == top(recent_products=[], country="France")


def test_order_and_padding_do_not_matter_but_times_bought_do() -> None:
    popular = top(recent_products=[], country="France")
    less, more = popular[8], popular[9]
    bought = [less, more, more]
    assert top(recent_products=bought, country="France")[:2] == [more, less]
    assert run(feeds([EVENT | {"recent_products": bought}]))[1].tobytes() == (
        run(feeds([EVENT | {"recent_products": ["", *bought[::-1]]}]))[1].tobytes()
    )


def test_what_comes_after_two_hundred_codes_is_not_read() -> None:
    popular = top(recent_products=[], country="France")
    codes = [popular[0]] * 200
    assert top(recent_products=[*codes, *[popular[5]] * 50]) == top(recent_products=codes)


def test_the_core_finds_nothing_wrong_with_the_bundle() -> None:
    model = load_model(read_bundle(FOLDER))
    event = schema("events.login.avsc")
    assert signature_problems(model.interface) == []
    assert event_problems(model.interface, [("version 1", event)]) == []
    assert prediction_problems(model.interface, schema("predictions.recommendation.avsc")) == []
    assert golden_problems(model, event, exact=True) == []
    assert invariance_problems(model, event, rows_max=1000) == []


@pytest.mark.parametrize("seed", [1, 6])
def test_the_sample_stream_has_the_real_streams_mean_scores_within_a_tenth(seed: int) -> None:
    real = json.loads(card_front_matter(CARD)["real_stream"])
    _, scores = run(feeds(sample_logins(load_profile(), 5000, seed, lambda number: number)))
    sampled = {"mean_top_score": float(scores[:, 0].mean()), "mean_score": float(scores.mean())}
    assert sampled == pytest.approx(real, rel=0.10)


def test_the_card_names_licence_authors_and_source() -> None:
    front = card_front_matter(CARD)
    assert front["license"] == "cc0-1.0"
    assert front["runtime"].startswith("onnxruntime ")
    assert front["cpu_class"]
    for words in ("CC0", "D. Chen", "S. L. Sain", "K. Guo", "UCI Machine Learning", "10.24432/C5BW33"):
        assert words in CARD


def test_the_card_says_how_to_make_the_bundle_again_and_that_it_beats_the_baseline() -> None:
    for words in ("python training/recommend.py --data", "Data sha256", "onnx ", "numpy", "396,337 rows", "18,402"):
        assert words in CARD
    for cut in ("2011-10-01", "2011-11-01"):
        cells = [line.strip("| ").split(" | ") for line in CARD.splitlines() if line.startswith(f"| {cut} |")]
        baseline, model, cold = [(float(row[3]), float(row[4])) for row in cells]
        assert model[0] > baseline[0]
        assert model[1] > baseline[1]
        assert cold[0] >= 0.45
