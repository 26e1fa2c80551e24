"""A batch from raw records to encoded predictions, against a plain loop over fastavro and ONNX Runtime."""

from __future__ import annotations

import gc
import hashlib
import json
import random
import weakref
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import onnxruntime as ort
import pytest

from scorer.core.model import Model
from scorer.core.records import RecordBatch, Scored
from scorer.core.schema import WriterSchema, writer_schema
from scorer.core.scoring import Recipe, score_batch
from scorer.core.wire import prefix, split_frames
from tests.unit.core.batches import batch_of, reasons
from tests.unit.core.graphs import graph, model_of
from tests.unit.core.predictions import ORIGIN

SCHEMAS = Path(__file__).parents[3] / "schemas"
NOW = 1_800_000_000_000
TOML = """
[inputs.job]
field = "job"
[inputs.age]
field = "age"
range = [0, 130]
[inputs.days]
field = "days_since_contact"
missing = 999
[inputs.economy]
fields = ["euribor_3m", "employees"]
[outputs.score]
from = "probabilities"
column = 1
[outputs.bucket]
of = "score"
bins = { A = 0.5, B = 0.2, C = 0.08, D = 0.0 }
"""


def schema_of(name: str, schema_id: int) -> WriterSchema:
    return writer_schema(schema_id, (SCHEMAS / f"{name}.avsc").read_text())


EVENTS = schema_of("events.new-lead", 1)
WRITER = schema_of("predictions.lead-score", 3)
SYMBOLS = {name: node.symbols for name, node in EVENTS.root.fields if node.kind == "enum"}


def lead_model(toml: str = TOML) -> Model:
    """A logistic regression over a job's weight, two numbers and a matrix of two."""
    jobs = SYMBOLS["job"]
    nodes = [
        (
            "ml.LabelEncoder",
            ["job"],
            ["weight"],
            {"keys_strings": list(jobs), "values_floats": [0.1 * at for at in range(len(jobs))]},
        ),
        ("Concat", ["weight", "age", "days", "economy"], ["x"], {"axis": 1}),
        ("MatMul", ["x", "w"], ["z"], {}),
        ("Sigmoid", ["z"], ["p"], {}),
        ("Sub", ["one", "p"], ["q"], {}),
        ("Concat", ["q", "p"], ["probabilities"], {"axis": 1}),
    ]
    ends = {
        "job": ("string", (None, 1)),
        "age": ("float", (None, 1)),
        "days": ("float", (None, 1)),
        "economy": ("float", (None, 2)),
    }
    weights = np.array([[0.3], [-0.01], [0.0005], [-0.2], [0.0001]], dtype=np.float32)
    constants = {"w": weights, "one": np.ones((1, 1), dtype=np.float32)}
    return model_of(graph(nodes, ends, {"probabilities": ("float", (None, 2))}, constants), toml)


MODEL = lead_model()
RECIPE = Recipe(MODEL, WRITER, "predictions.lead-score", ORIGIN)


def lead(number: int) -> dict[str, Any]:
    """A lead made of its number alone."""
    chance = random.Random(number)
    symbols = {name: chance.choice(of) for name, of in SYMBOLS.items()}
    rates = (
        "employment_variation_rate",
        "consumer_price_index",
        "consumer_confidence_index",
        "euribor_3m",
        "employees",
    )
    return {
        **symbols,
        **{name: chance.uniform(-10, 10) for name in rates},
        "event_id": f"event-{number}",
        "lead_id": f"leäd-{number}",
        "occurred_at": NOW - number,
        "age": chance.randint(17, 98),
        "campaign": 1,
        "days_since_contact": chance.choice([None, 3, 12]),
        "previous_contacts": 0,
    }


def value_of(event: dict[str, Any]) -> bytes:
    out = BytesIO()
    out.write(prefix(1))
    fastavro.schemaless_writer(out, EVENTS.parsed, event)
    return out.getvalue()


def batch_with(values: list[bytes | None]) -> RecordBatch:
    n = len(values)
    return batch_of(values, partitions=[at % 3 for at in range(n)], timestamps=[NOW + at for at in range(n)])


def scored(batch: RecordBatch, recipe: Recipe = RECIPE) -> Scored:
    return score_batch(batch, split_frames(batch.values, 10_000), {1: EVENTS, 3: "inadmissible_schema"}, recipe, NOW)


def plainly(batch: RecordBatch, row: int, session: Any) -> bytes:
    """The prediction of one row, as somebody would write it by hand."""
    value = batch.values[row]
    assert value is not None
    event = fastavro.schemaless_reader(BytesIO(value[5:]), json.loads((SCHEMAS / "events.new-lead.avsc").read_text()))
    days = event["days_since_contact"]
    feed = {
        "job": np.array([[event["job"]]], dtype=object),
        "age": np.array([[event["age"]]], dtype=np.float32),
        "days": np.array([[999 if days is None else days]], dtype=np.float32),
        "economy": np.array([[event["euribor_3m"], event["employees"]]], dtype=np.float32),
    }
    score = float(session.run(["probabilities"], feed)[0][0, 1])
    partition, offset = int(batch.partitions[row]), int(batch.offsets[row])
    files = MODEL.bundle.files
    identity = b"".join(
        b"%s\0%d\0%s" % (name.encode(), len(files[name]), files[name])
        for name in ("model.onnx", "model.toml", "golden.jsonl")
    )
    prediction = {
        "prediction_id": f"lead/1/events/{partition}/{offset}",
        "event_id": event["event_id"],
        "lead_id": event["lead_id"],
        "score": score,
        "bucket": "A" if score >= 0.5 else "B" if score >= 0.2 else "C" if score >= 0.08 else "D",
        "model_name": "lead",
        "model_version": "1",
        "model_sha256": hashlib.sha256(identity).hexdigest(),
        "source_topic": "events",
        "source_partition": partition,
        "source_offset": offset,
        "source_timestamp": int(batch.timestamps[row]),
        "source_schema_id": 1,
        "event_digest": hashlib.blake2b(value, digest_size=8).hexdigest(),
        "lane": "live",
        "scorer_version": "0.1.0",
        "runtime": "onnxruntime 1",
        "cpu_class": "avx512",
        "occurred_at": int(event["occurred_at"].timestamp() * 1000 + 0.5),
        "scored_at": NOW,
    }
    out = BytesIO(b"\x00\x00\x00\x00\x03")
    out.seek(5)
    fastavro.schemaless_writer(out, json.loads((SCHEMAS / "predictions.lead-score.avsc").read_text()), prediction)
    return out.getvalue()


@pytest.fixture(scope="module")
def session() -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(MODEL.bundle.files["model.onnx"], options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("n", [1, 11, 12, 15, 16, 300])
def test_predictions_have_the_bits_of_a_plain_loop_in_a_batch_of_any_size(n: int, session: Any) -> None:
    batch = batch_with([value_of(lead(number)) for number in range(n)])
    found = scored(batch)
    assert (found.rejections, found.tombstones) == ([], 0)
    assert found.outbound.rows.tolist() == list(range(n))
    assert found.outbound.keys == [f"leäd-{number}".encode() for number in range(n)]
    assert found.outbound.values == [plainly(batch, row, session) for row in range(n)]
    assert (found.outbound.topic, found.outbound.headers) == ("predictions.lead-score", None)


def poisoned(number: int) -> tuple[bytes | None, str | None]:
    """A value and the reason of its rejection; "" for a tombstone, None for a good one."""
    good = value_of(lead(number))
    enum_at = good.index(lead(number)["lead_id"].encode()) + len(lead(number)["lead_id"].encode())
    kinds: list[tuple[bytes | None, str | None]] = [
        (good, None),
        (None, ""),
        (b"{}", "bad_frame"),
        (good, None),
        (good[:-1], "malformed"),
        (good + b"\x00", "trailing_bytes"),
        (prefix(3) + good[5:], "inadmissible_schema"),
        (good + b"x" * 10_000, "too_large"),
        (good[:enum_at] + b"\xff" * 12 + good[enum_at:], "malformed"),
        (good, None),
        (value_of(lead(number) | {"age": 131}), "out_of_range"),
        (value_of(lead(number) | {"euribor_3m": float("nan")}), "non_finite"),
        (value_of(lead(number) | {"occurred_at": NOW + 2 * 86_400_000}), "in_future"),
    ]
    return kinds[number % len(kinds)]


@pytest.mark.parametrize("n", [13, 15, 200])
def test_every_bad_record_is_rejected_with_its_reason_and_every_good_one_scored(n: int, session: Any) -> None:
    values, wanted = zip(*map(poisoned, range(n)), strict=True)
    batch = batch_with(list(values))
    found = scored(batch)
    assert reasons(found.rejections) == {row: reason for row, reason in enumerate(wanted) if reason}
    assert [rejection.row for rejection in found.rejections] == sorted(rejection.row for rejection in found.rejections)
    assert found.tombstones == wanted.count("")
    good = [row for row, reason in enumerate(wanted) if reason is None]
    assert found.outbound.rows.tolist() == good
    assert found.outbound.values == [plainly(batch, row, session) for row in good]


def test_a_batch_scored_twice_gives_the_same_bytes() -> None:
    batch = batch_with([value_of(lead(number)) for number in range(40)])
    assert scored(batch).outbound.values == scored(batch).outbound.values


def test_a_model_that_scored_and_is_served_no_more_goes_from_memory() -> None:
    model = lead_model()
    batch = batch_with([value_of(lead(number)) for number in range(40)])
    scored(batch, Recipe(model, WRITER, "predictions.lead-score", ORIGIN))
    session = weakref.ref(model.session)
    del model
    gc.collect()
    assert session() is None


@pytest.mark.parametrize("values", [[], [None], [None] * 20, [b"garbage"], [prefix(1)] * 20])
def test_a_batch_without_a_good_record_gives_no_predictions(values: list[bytes | None]) -> None:
    found = scored(batch_with(values))
    assert len(found.outbound) == 0
    assert found.tombstones + len(found.rejections) == len(values)


@pytest.mark.parametrize("n", [3, 50])
def test_rows_that_the_model_or_the_prediction_schema_refuses_are_rejected_alone(n: int) -> None:
    low = {"type": "record", "name": "Low", "fields": json.loads(WRITER.text)["fields"]}
    low["fields"] = [
        field
        | ({"type": {"type": "enum", "name": "B", "symbols": ["B", "C", "D"]}} if field["name"] == "bucket" else {})
        for field in low["fields"]
    ]
    recipe = Recipe(MODEL, writer_schema(3, json.dumps(low)), "out", ORIGIN)
    events = [lead(number) | {"euribor_3m": 5.0} for number in range(n)]
    events[1] |= {"euribor_3m": -50.0}
    events[2] |= {"euribor_3m": 3e38, "employees": 3e38}
    found = scored(batch_with([value_of(event) for event in events]), recipe)
    assert reasons(found.rejections) == {1: "unencodable"}
    assert found.rejections[0].detail == "bucket does not fit enum"
    assert found.outbound.rows.tolist() == [0, *range(2, n)]


@pytest.mark.parametrize("n", [3, 50])
def test_rows_whose_score_is_not_finite_are_rejected_alone(n: int) -> None:
    nodes = [("Log", ["x"], ["score"], {})]
    onnx = graph(nodes, {"x": ("float", (None, 1))}, {"score": ("float", (None, 1))})
    bins = "bins = { A = 1, B = 0 }\n"
    toml = '[inputs.x]\nfield = "age"\n[outputs.score]\nfrom = "score"\n[outputs.bucket]\nof = "score"\n' + bins
    events = [lead(number) | {"age": number} for number in range(n)]
    found = scored(
        batch_with([value_of(event) for event in events]), Recipe(model_of(onnx, toml), WRITER, "out", ORIGIN)
    )
    assert reasons(found.rejections) == {0: "non_finite"}
    assert found.outbound.rows.tolist() == list(range(1, n))


def test_trace_headers_go_along_when_the_recipe_says_so() -> None:
    batch = batch_of([value_of(lead(0))], timestamps=[NOW], headers=[[("traceparent", b"00-1"), ("other", b"x")]])
    assert scored(batch, Recipe(MODEL, WRITER, "out", ORIGIN, trace=True)).outbound.headers == [
        [("traceparent", b"00-1")]
    ]
