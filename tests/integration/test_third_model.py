"""A model that no code here knows is served by adding a folder and ten lines of toml, from `model init` on.

Another event, one matrix input out of nested, nullable and boolean fields, a classifier with texts for classes, and a
prediction schema of the user's own.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper

from scorer.local.ports import free_ports
from tests.harness.claims import in_order, scored_once, scored_right
from tests.harness.events import SEED, encoder, messages
from tests.harness.plain_scorer import PlainScorer
from tests.harness.topics import Raw, ask, delete_topics, fresh_group, read_raw, register, send
from tests.harness.workers import scorer, worker
from tests.oracle import java_reader, python_reader
from tests.oracle.record import Record

pytestmark = pytest.mark.timeout(180)

COUNT = 3_000
WAIT_S_MAX = 60.0
TOML_LINES_MAX = 10

VISIT = {
    "type": "record",
    "name": "Visit",
    "namespace": "shop",
    "fields": [
        {"name": "event_id", "type": "string"},
        {"name": "account_id", "type": "string"},
        {"name": "occurred_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "plan", "type": "string"},
        {"name": "premium", "type": "boolean"},
        {"name": "tenure_months", "type": ["null", "int"], "default": None},
        {
            "name": "usage",
            "type": {
                "type": "record",
                "name": "Usage",
                "fields": [{"name": "minutes", "type": "double"}, {"name": "complaints", "type": "long"}],
            },
        },
    ],
}
CLASSES = ["stays", "leaves", "upgrades"]
WEIGHTS = [[0.04, -0.002, -0.05, 0.9], [-0.03, 0.001, 0.08, -0.4], [0.01, 0.003, -0.01, 0.2]]


@dataclass(frozen=True, slots=True)
class Shop:
    """A user's folder, and what came of each command."""

    folder: Path
    bundle: Path
    checked: str
    settings: str
    topics: tuple[str, str]
    sources: list[Raw]
    predictions: list[Record]
    letters: list[Raw]


@pytest.fixture(scope="module")
def shop(kafka: str, registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder, mark = tmp_path_factory.mktemp("shop"), uuid.uuid4().hex[:12]
    visits, churn = f"events.visit.{mark}", f"predictions.churn.{mark}"
    (folder / "churn.onnx").write_bytes(_classifier())
    (folder / "schemas").mkdir()
    event, prediction = folder / "schemas" / f"{visits}.avsc", folder / "schemas" / "predictions.churn.avsc"
    event.write_text(json.dumps(VISIT))

    _run(folder, "model", "init", "churn.onnx", "--schema", str(event))
    bundle = folder / "models" / "churn" / "1"
    _edit_contract(bundle / "model.toml")
    _edit_prediction_schema(prediction)
    (folder / "made-up.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in _visits(24, SEED)))
    _run(folder, "model", "golden", str(bundle), "--events", "made-up.jsonl", "--schema", str(event))
    checked = _run(folder, "model", "check", str(bundle), "--schema", str(event), "--prediction", str(prediction))
    settings = _settings(kafka, registry, visits, churn)
    (folder / "scorer.toml").write_text(settings)
    _run(folder, "setup", "--schemas", "schemas", "--set", f"registry.cache={folder / 'cache'}")
    try:
        yield _serve(kafka, registry, Shop(folder, bundle, checked, settings, (visits, churn), [], [], []))
    finally:
        delete_topics(kafka, visits, churn, f"{visits}.dead-letter")


def test_a_new_model_is_served_right_and_once(shop: Shop, registry: str) -> None:
    assert len(shop.sources) == COUNT
    assert shop.letters == []
    scored_once(shop.predictions, shop.sources)
    scored_right(shop.predictions, shop.sources, PlainScorer(shop.bundle), registry, note=None)
    in_order(shop.predictions)


def test_its_predictions_are_the_user_s_own_record(kafka: str, registry: str, shop: Shop) -> None:
    values = [record["value"] or {} for record in shop.predictions]
    assert {value["outcome"] for value in values} == set(CLASSES)
    assert {value["risk"] for value in values} == {"HIGH", "LOW"}
    assert {value["note"] for value in values} == {None}
    assert all(record["key"] == (record["value"] or {})["account_id"].encode() for record in shop.predictions)
    assert java_reader.read_all(kafka, shop.topics[1], registry, at_least=COUNT) == shop.predictions


def test_serving_it_took_ten_lines_of_toml(shop: Shop) -> None:
    assert len([line for line in shop.settings.splitlines() if line]) <= TOML_LINES_MAX


def test_the_check_says_how_it_will_be_decoded_and_what_a_row_costs(shop: Shop) -> None:
    assert re.search(r"^churn/1 can serve\.  sha256 [0-9a-f]{64}$", shop.checked, re.MULTILINE)
    assert re.search(r"event schema .*: decoded by column", shop.checked)
    assert re.search(r"batches of +512: model [0-9.]+ us a row", shop.checked)


def test_setup_tells_the_registry_how_schemas_may_change(shop: Shop, registry: str) -> None:
    found = [ask(f"{registry}/config/{topic}-value")["compatibilityLevel"] for topic in shop.topics]
    assert found == ["BACKWARD", "FULL_TRANSITIVE"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"usage.minutes"', '"plan"', "plan is a text"),
        ("[inputs.features]", "[inputs.feature]", "did you mean features"),
        ("[outputs.outcome]", "[outputs.result]", "[outputs.result] is no field of the prediction schema"),
        (
            "missing = 12.0",
            'missing = "reject"\n[inputs.extra]\nfield = "usage.hours"',
            "[inputs.extra] is no ONNX input",
        ),
    ],
)
def test_the_check_refuses_a_wrong_contract_and_names_what_is_wrong(
    shop: Shop, tmp_path: Path, old: str, new: str, says: str
) -> None:
    event, prediction = (f"schemas/{name}.avsc" for name in (shop.topics[0], "predictions.churn"))
    wrong = _spoilt(shop.bundle, tmp_path, (old, new))
    check = scorer("model", "check", str(wrong), "--schema", event, "--prediction", prediction, cwd=shop.folder)
    assert check.returncode == 3
    assert says in check.stderr


def test_a_worker_refuses_to_start_on_the_same_grounds(shop: Shop, tmp_path: Path) -> None:
    wrong = _spoilt(shop.bundle, tmp_path, ('"usage.minutes"', '"plan"'))
    own = ("group=another", "metrics.port=-1")  # a group without deployments begins with the bundle of the settings
    more = (*own, f"registry.cache={shop.folder / 'cache'}", f"streams.churn.bundle={wrong}")
    refused = scorer("worker", *(word for each in more for word in ("--set", each)), cwd=shop.folder)
    assert refused.returncode == 3
    assert "plan is a text, the model takes float32" in refused.stderr


def _spoilt(bundle: Path, folder: Path, *changes: tuple[str, str]) -> Path:
    """A copy of a bundle with another contract."""
    wrong = folder / "1"
    wrong.mkdir()
    for path in bundle.iterdir():
        (wrong / path.name).write_bytes(path.read_bytes())
    _replace(wrong / "model.toml", *changes)
    return wrong


def _classifier() -> bytes:
    """A softmax classifier over four numbers. No LinearClassifier: its last bits depend on the size of the batch."""
    nodes = [
        helper.make_node("Gemm", ["features", "weights", "intercepts"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["logits"], ["class"], axis=1, keepdims=0),
        helper.make_node(
            "LabelEncoder",
            ["class"],
            ["outcome"],
            domain="ai.onnx.ml",
            keys_int64s=list(range(len(CLASSES))),
            values_strings=CLASSES,
        ),
    ]
    weights = [weight for row in WEIGHTS for weight in row]
    constants = [
        helper.make_tensor("weights", TensorProto.FLOAT, [3, 4], weights),
        helper.make_tensor("intercepts", TensorProto.FLOAT, [3], [0.3, -0.2, -1.0]),
    ]
    inputs = [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, 4])]
    outputs = [
        helper.make_tensor_value_info("outcome", TensorProto.STRING, [None]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 3]),
    ]
    graph = helper.make_graph(nodes, "churn", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]
    content: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    return content


def _edit_contract(path: Path) -> None:
    """What a person changes in the draft: which fields, a default, which class is the score, a bucket."""
    fields = '["tenure_months", "usage.minutes", "usage.complaints", "premium"]'
    text = path.read_text()
    text = re.sub(r"fields = \[.*?\]", f"fields = {fields}", text)
    text = re.sub(r'missing = "reject"', "missing = 12.0", text)
    text = re.sub(r"column = \d", "column = 1", text)
    text += '\n[outputs.risk]\nof = "score"\nbins = { HIGH = 0.5, LOW = 0.0 }\n'
    path.write_text(text)
    _replace(path, ('entity = "account_id"', 'entity = "account_id"'), (fields, fields), ("= 12.0", "= 12.0"))


def _edit_prediction_schema(path: Path) -> None:
    """Two fields of the user's own: a bucket as an enum, and a note that nobody fills yet."""
    schema = json.loads(path.read_text())
    risk = {"type": "enum", "name": "Risk", "symbols": ["LOW", "HIGH"]}
    own = [{"name": "risk", "type": risk}, {"name": "note", "type": ["null", "string"], "default": None}]
    schema["fields"] = [*own, *schema["fields"]]
    path.write_text(json.dumps(schema))


def _settings(kafka: str, registry: str, visits: str, churn: str) -> str:
    return f"""group = "{fresh_group()}"
[kafka]
"bootstrap.servers" = "{kafka}"
[registry]
url = "{registry}"
[[streams]]
name = "churn"
bundle = "models/churn/1"
from = "{visits}"
to = "{churn}"
"""


def _serve(kafka: str, registry: str, shop: Shop) -> Shop:
    (port,) = free_ports(1)
    visits, churn = shop.topics
    sets = ("--set", f"metrics.port={port}", "--set", f"registry.cache={shop.folder / 'cache'}")
    with worker(shop.folder / "scorer.toml", "churn", *sets, ports=[port]) as running:
        running.wait_ready()
        encode = encoder(register(registry, visits, VISIT), VISIT)
        send(kafka, visits, messages(_visits(COUNT, SEED + 1), "account_id", encode))
        predictions = python_reader.read_all(kafka, churn, registry, at_least=COUNT, wait_s_max=WAIT_S_MAX)
    sources, letters = read_raw(kafka, visits, COUNT), read_raw(kafka, f"{visits}.dead-letter")
    return Shop(shop.folder, shop.bundle, shop.checked, shop.settings, shop.topics, sources, predictions, letters)


def _visits(count: int, seed: int) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    now_ms = int(time.time() * 1000)
    return [
        {
            "event_id": f"visit-{seed}-{number}",
            "account_id": f"account-{rng.randrange(500)}",
            "occurred_at": now_ms - rng.randrange(10_000_000),
            "plan": rng.choice(["basic", "größer", ""]),
            "premium": rng.random() < 0.3,
            "tenure_months": rng.choice([None, 0, 1, rng.randrange(240)]),
            "usage": {"minutes": rng.expovariate(0.001), "complaints": rng.choice([0, 0, 0, 1, 40])},
        }
        for number in range(count)
    ]


def _run(folder: Path, *arguments: str) -> str:
    ended: subprocess.CompletedProcess[str] = scorer(*arguments, cwd=folder)
    assert ended.returncode == 0, f"scorer {' '.join(arguments)} ends with {ended.returncode}:\n{ended.stderr}"
    return ended.stdout


def _replace(path: Path, *changes: tuple[str, str]) -> None:
    text = path.read_text()
    for old, new in changes:
        assert text.count(old) == 1, f"{old} is in the contract {text.count(old)} times:\n{text}"
        text = text.replace(old, new)
    path.write_text(text)
