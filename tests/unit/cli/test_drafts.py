"""Drafts for a new model, from whatever names exporters and people give to things."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from scorer.cli.drafts import draft_bundle, golden_lines, write_golden
from scorer.core.contract import parse_contract
from scorer.core.errors import ConfigError, ContractError
from scorer.core.proof import event_problems, prediction_problems, signature_problems
from scorer.core.schema import writer_schema
from scorer.core.signature import Interface
from scorer.edges.bundles import card_front_matter
from tests.unit.cli.visits import SCHEMA, visit, write_files
from tests.unit.core.graphs import graph

KINDS = {"float": TensorProto.FLOAT, "double": TensorProto.DOUBLE, "int64": TensorProto.INT64}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def draft(
    onnx_file: str = "churn.onnx", event: str = "events.visit.avsc", name: str = "churn", told: list[str] | None = None
) -> tuple[Path, Path]:
    tell = print if told is None else told.append
    return draft_bundle(Path(onnx_file), Path(event), name, Path("models"), Path(), tell)


def drafted(folder: Path, prediction: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The contract and the prediction's schema, both read back; each must be what its reader takes."""
    text = (folder / "model.toml").read_text()
    parse_contract(text)
    writer_schema(1, prediction.read_text())
    return tomllib.loads(text), json.loads(prediction.read_text())


def identities(inputs: Mapping[str, tuple[str, tuple[int | None, ...]]], outputs: Mapping[str, str]) -> None:
    """Writes model.onnx whose outputs are copies of inputs."""
    nodes = [("Identity", (source,), (name,), {}) for name, source in outputs.items()]
    made = graph(nodes, inputs, {name: inputs[source] for name, source in outputs.items()})
    Path("model.onnx").write_bytes(made)


def test_a_draft_of_a_model_whose_inputs_have_the_fields_names_needs_no_correction() -> None:
    folder, prediction = draft()
    contract, schema = drafted(folder, prediction)
    assert (str(folder), str(prediction)) == ("models/churn/1", "predictions.churn.avsc")
    assert (contract["name"], contract["version"], contract["entity"]) == ("churn", "1", "customer_id")
    assert {name: rule["field"] for name, rule in contract["inputs"].items()} == {
        "age": "age",
        "spent": "spent",
        "country": "country",
    }
    assert contract["outputs"] == {"score": {"from": "probabilities", "column": 1}}
    assert "[inputs.age]  # float32 [N, 1]\n" in (folder / "model.toml").read_text()
    assert schema["name"] == "ChurnPrediction"
    assert (folder / "model.onnx").read_bytes() == Path("churn.onnx").read_bytes()
    assert card_front_matter((folder / "MODEL_CARD.md").read_text()).keys() == {"runtime", "cpu_class"}


def test_what_is_drafted_is_proved_but_for_golden_rows() -> None:
    from scorer.core.model import signature

    folder, prediction = draft()
    inputs, outputs = signature((folder / "model.onnx").read_bytes(), "m")
    interface = Interface(parse_contract((folder / "model.toml").read_text()), inputs, outputs)
    assert signature_problems(interface) == []
    assert event_problems(interface, [("v1", writer_schema(1, json.dumps(SCHEMA)))]) == []
    assert prediction_problems(interface, writer_schema(2, prediction.read_text())) == []


def test_names_that_exporters_give_become_keys_and_fields_that_can_be_read() -> None:
    one = ("float", (None, 1))
    inputs = {"onnx::Gemm_0": one, "float_input.1": one, 'quoted "x"': one}
    identities(inputs, {"serving/Sigmoid:0": "onnx::Gemm_0", "17": "float_input.1", "a b": 'quoted "x"'})
    contract, schema = drafted(*draft("model.onnx"))
    assert contract["inputs"].keys() == inputs.keys()
    assert {name: rule["from"] for name, rule in contract["outputs"].items()} == {
        "Sigmoid": "serving/Sigmoid:0",
        "output_17": "17",
        "a_b": "a b",
    }
    assert {"Sigmoid", "output_17", "a_b"} < {field["name"] for field in schema["fields"]}


def test_outputs_of_one_name_or_of_a_provenance_fields_name_are_kept_apart() -> None:
    one = ("float", (None, 1))
    identities({"x": one}, {"a:0": "x", "a:1": "x", "lane": "x", "customer_id": "x"})
    contract, schema = drafted(*draft("model.onnx"))
    assert list(contract["outputs"]) == ["a", "a_", "lane_", "customer_id_"]
    names = [field["name"] for field in schema["fields"]]
    assert len(names) == len(set(names))


def test_of_a_wide_output_the_last_column_is_the_score_and_no_output_is_lost() -> None:
    three, one = ("float", (None, 3)), ("double", (None,))
    identities({"p": three, "q": three, "s": one}, {"probabilities": "p", "others": "q", "score": "s"})
    contract, schema = drafted(*draft("model.onnx"))
    assert contract["outputs"] == {
        "score": {"from": "probabilities", "column": 2},
        "others": {"from": "others", "column": 2},
        "score_": {"from": "score"},
    }
    kinds = {field["name"]: field["type"] for field in schema["fields"]}
    assert (kinds["score"], kinds["score_"]) == ("float", "double")


def test_wide_inputs_are_fed_by_an_array_where_there_is_one_and_by_columns_otherwise() -> None:
    items = {"name": "codes", "type": {"type": "array", "items": "string"}}
    Path("events.visit.avsc").write_text(json.dumps({**SCHEMA, "fields": [*SCHEMA["fields"], items]}))
    identities({"texts": ("string", (None, 5)), "numbers": ("float", (None, 2))}, {"y": "numbers"})
    contract, _ = drafted(*draft("model.onnx"))
    assert contract["inputs"] == {
        "texts": {"field": "codes", "length": 5, "pad": ""},
        "numbers": {"fields": ["age", "spent"], "missing": "reject"},
    }


def test_an_event_without_the_usual_identity_is_drafted_with_a_place_to_name_it() -> None:
    plain = {"type": "record", "name": "R", "fields": [{"name": "age", "type": "int"}]}
    Path("plain.avsc").write_text(json.dumps(plain))
    folder, prediction = draft(event="plain.avsc")
    contract, _ = drafted(folder, prediction)
    assert contract["entity"] == "age"
    text = (folder / "model.toml").read_text()
    for key in ("event_id", "occurred_at"):
        assert f'{key} = "{key}"  # the event has no such field: say which one it is' in text


@pytest.mark.parametrize(
    ("names", "entity"),
    [
        (["event_id", "order_id", "lead_id"], "lead_id"),
        (["event_id", "order_id"], "order_id"),
        (["when", "who"], "when"),
        (["event_id"], "event_id"),
    ],
)
def test_the_entity_is_guessed_by_name(names: list[str], entity: str) -> None:
    fields = [{"name": name, "type": "string"} for name in names]
    Path("e.avsc").write_text(json.dumps({"type": "record", "name": "R", "fields": fields}))
    contract, _ = drafted(*draft(event="e.avsc"))
    assert contract["entity"] == entity


@pytest.mark.parametrize("name", ["2024-churn", "churn.v2", "CHURN_2", "a"])
def test_any_name_that_a_topic_can_have_will_do(name: str) -> None:
    contract, schema = drafted(*draft(name=name))
    assert contract["prediction"] == f"predictions.{name}"
    assert re.fullmatch(r"[A-Za-z]\w*Prediction", schema["name"])


@pytest.mark.parametrize("name", ["my model", "a/b", "..", "", "é", 'a"b', "x" * 101])
def test_a_name_that_no_topic_can_have_is_refused_and_nothing_is_written(name: str, folder: Path) -> None:
    with pytest.raises(ConfigError, match="give --name with letters"):
        draft(name=name)
    assert sorted(path.name for path in folder.iterdir()) == ["churn.onnx", "events.visit.avsc", "visits.jsonl"]


@pytest.mark.parametrize("there", ["models/churn/1", "predictions.churn.avsc"])
def test_what_is_there_already_is_never_overwritten(there: str) -> None:
    Path(there).mkdir(parents=True)
    with pytest.raises(ConfigError, match=rf"{there} is there already; give another --name, or remove it"):
        draft()


def test_a_place_that_cannot_be_written_is_the_operators() -> None:
    Path("models").write_text("a file")
    with pytest.raises(ConfigError, match=r"models/churn/1/model.onnx cannot be written: "):
        draft()


@pytest.mark.parametrize(
    ("onnx_file", "event", "error", "said"),
    [
        ("none.onnx", "events.visit.avsc", ConfigError, "none.onnx cannot be read: No such file or directory"),
        (".", "events.visit.avsc", ConfigError, r"\. cannot be read: Is a directory"),
        ("visits.jsonl", "events.visit.avsc", ContractError, "visits.jsonl is no valid ONNX file"),
        ("churn.onnx", "none.avsc", ConfigError, "none.avsc cannot be read: No such file or directory"),
        ("churn.onnx", "visits.jsonl", ContractError, "visits.jsonl: schema 1 is no valid Avro schema"),
        ("churn.onnx", "churn.onnx", ConfigError, "churn.onnx cannot be read: .*codec can't decode"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_named_and_nothing_is_written(
    onnx_file: str, event: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        draft(onnx_file, event)
    assert not Path("models").exists()


def test_a_model_that_keeps_its_data_elsewhere_is_refused() -> None:
    model = onnx.load("churn.onnx")
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="weights.bin")
    Path("outside.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ContractError, match="keeps its data in another file"):
        draft("outside.onnx")


def _maps(*more: str) -> None:
    """Writes maps.onnx: its input as maps, as classifiers are exported by default, and `more` copies of it."""
    node = helper.make_node("ZipMap", ["x"], ["maps"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
    copies = [helper.make_node("Identity", ["x"], [name]) for name in more]
    maps = helper.make_sequence_type_proto(
        helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    )
    matrix = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 2]) for name in ("x", *more)]
    made = helper.make_graph([node, *copies], "g", matrix[:1], [*matrix[1:], helper.make_value_info("maps", maps)])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    Path("maps.onnx").write_bytes(helper.make_model(made, opset_imports=opsets, ir_version=9).SerializeToString())


def test_a_classifier_that_gives_only_maps_is_refused_with_what_to_export() -> None:
    _maps()
    with pytest.raises(ContractError, match=r"maps.onnx has no output of a served type: .* \(no ZipMap\)"):
        draft("maps.onnx")


def test_each_output_that_a_draft_leaves_out_is_named_with_what_to_export() -> None:
    told: list[str] = []
    draft(told=told)
    assert told == []
    _maps("label")
    folder, prediction = draft("maps.onnx", name="maps", told=told)
    assert drafted(folder, prediction)[0]["outputs"].keys() == {"score"}
    (line,) = told
    assert line.startswith("left out: output maps is seq(map(int64,tensor(float))): export probabilities as a tensor")


def test_an_output_of_more_axes_than_are_served_is_left_out_and_named() -> None:
    identities({"x": ("float", (None, 1)), "cube": ("float", (None, 2, 3))}, {"y": "x", "z": "cube"})
    told: list[str] = []
    draft("model.onnx", name="cube", told=told)
    assert told == ["left out: output z has 3 axes: served are 2 at most"]


def test_golden_lines_hold_floats_that_are_bit_exact() -> None:
    import numpy as np

    folder, _ = draft()
    rows = [json.loads(line) for line in golden_lines(folder, Path("visits.jsonl"), Path("events.visit.avsc"), print)]
    assert [row["event"] for row in rows] == [visit(number) for number in range(6)]
    for row in rows:
        assert float(np.float32(row["expect"]["score"])) == row["expect"]["score"]


def test_making_golden_lines_leaves_no_file_behind() -> None:
    folder, _ = draft()
    before = sorted(path.name for path in folder.iterdir())
    golden_lines(folder, Path("visits.jsonl"), Path("events.visit.avsc"), print)
    assert sorted(path.name for path in folder.iterdir()) == before


def test_golden_rows_that_are_there_stay_until_new_ones_are_written_whole() -> None:
    folder, _ = draft()
    assert write_golden(folder, ["1", "2"]) == 0
    with pytest.raises(ConfigError):
        golden_lines(folder, Path("none.jsonl"), Path("events.visit.avsc"), print)
    assert (folder / "golden.jsonl").read_text() == "1\n2\n"
    assert write_golden(folder, ["3"]) == 2
    assert (folder / "golden.jsonl").read_text() == "3\n"
